"""Negative amounts inside a bill: Chargebee books no negative line, so they lower positive ones.

All in minor units; what one row loses another gains, so the sum never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One rounded charge, before netting; ``amount`` in minor units."""

    subscription_id: str
    product: str | None
    amount: int


@dataclass(frozen=True, slots=True)
class Move:
    """``amount`` (> 0) of the negative row ``credit`` taken off the positive row ``debit``; both are indexes."""

    credit: int
    debit: int
    amount: int


@dataclass(frozen=True, slots=True)
class Netted:
    """What is left of each row, in the order given, and how it came about."""

    amounts: tuple[int, ...]
    moves: tuple[Move, ...]


def net(rows: Sequence[Row], *, across_subscriptions: bool) -> Netted:
    """Net negative rows against positive ones, nearest first.

    First within a subscription's product, then within the subscription, and
    across subscriptions only when allowed. Earlier rows pay first. A
    subscription that still has a negative row has no positive one left.
    """
    amounts = [row.amount for row in rows]
    moves: list[Move] = []
    for bucket in _buckets((row.subscription_id, row.product) for row in rows):
        _settle(amounts, bucket, moves)
    for bucket in _buckets((row.subscription_id,) for row in rows):
        _settle(amounts, bucket, moves)
    if across_subscriptions:
        _settle(amounts, range(len(rows)), moves)
    return Netted(tuple(amounts), tuple(moves))


def _buckets(names: Iterable[tuple[str | None, ...]]) -> list[list[int]]:
    found: dict[tuple[str | None, ...], list[int]] = {}
    for index, name in enumerate(names):
        found.setdefault(name, []).append(index)
    return list(found.values())


def _settle(amounts: list[int], bucket: Iterable[int], moves: list[Move]) -> None:
    members = list(bucket)
    debits = [index for index in members if amounts[index] > 0]
    for credit in (index for index in members if amounts[index] < 0):
        for debit in debits:
            moved = min(-amounts[credit], amounts[debit])
            if moved > 0:
                amounts[credit] += moved
                amounts[debit] -= moved
                moves.append(Move(credit, debit, moved))
