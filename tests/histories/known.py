"""What the ledger says: which line is whose, what people settled, and what is not done yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from meterbridge.ledger import bills, intents, mappings, schema
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.gate import GATED
from tests.histories.bridge import Bridge

Portion = tuple[str, str]
"""A bill's id and a subscription's."""


@dataclass(frozen=True)
class Known:
    """The ledger's side of the books; amounts in minor units, ``settled`` and ``undone`` by bill and subscription."""

    charges: Sequence[mappings.Mapping]
    credits: Sequence[mappings.Mapping]
    open: Sequence[IntentRow]
    settled: Mapping[Portion, int]
    undone: Mapping[Portion, int]


def known(bridge: Bridge) -> Known:
    """Read it."""
    with bridge.ledger() as ledger, ledger.read() as rx:
        return Known(
            list(mappings.all(rx, "charge", active_only=True)),
            list(mappings.all(rx, "credit", active_only=True)),
            intents.open_rows(rx),
            settled(rx),
            _undone(rx),
        )


def settled(rx: Reader) -> Mapping[Portion, int]:
    """What people settled: what a portion's row says, and what was kept when the row moved on."""
    sums: Counter[Portion] = Counter()
    for portion in bills.portions(rx):
        if portion.state == "settled":
            sums[portion.bill_id, portion.subscription_id] += portion.wanted
    for row in mappings.all(rx, "settled", active_only=True):
        sums[row.key[0], row.key[1]] += row.state["amount"]
    return sums


def _undone(rx: Reader) -> Mapping[Portion, int]:
    sums: Counter[Portion] = Counter()
    for row in mappings.all(rx, "undone", active_only=True):
        sums[row.key[0], row.key[1]] += sum(row.state.get("amounts", {}).values())
    return sums


def sent_unapproved(bridge: Bridge, approved: Collection[str]) -> list[str]:
    """Writes that may have moved money although nobody approved their change set: what an approval must prevent.

    What an undo takes off, and a wrong line that is taken off again, are no matter of the gate.
    """
    with bridge.ledger() as ledger, ledger.read() as rx:
        names = rx.execute(
            select(schema.intents.c.id).where(
                schema.intents.c.kind.in_(GATED),
                schema.intents.c.action != "adopt",
                schema.intents.c.first_sent_at.is_not(None),
            )
        )
        rows = [row for (name,) in names if (row := intents.get(rx, name)) is not None]
    return [
        f"sent without an approval: {row.action} {row.kind} {row.amount} {row.key} of change set {row.approval}"
        for row in rows
        if (row.approval or "").split("/")[0] not in approved and "undo_of" not in row.payload
    ]
