"""Which intents belong to which proposed change set.

A later run may propose more: its change set has another hash, and the rows that are
still the same belong to both. Whoever approves the earlier one approves what he saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import delete, exists, select

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.intent_rows import IntentRow, decode, open_rows
from meterbridge.ledger.schema import intents, proposals
from meterbridge.ledger.transaction import Reader, Writer, upsert
from meterbridge.rules.records import Proposal

KEPT_DAYS = 90
"""So long it is remembered of a row that is no longer proposed, so that a late approval gets a clear answer."""


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A proposed row and the newest change set that it belongs to; ``proposed_at`` in epoch seconds."""

    change_set: str
    why: str
    words: str
    run_id: str
    proposed_at: float
    intent: IntentRow


def put(tx: Writer, change_set: str, run_id: str, why: Mapping[int, Proposal]) -> None:
    """Make rows, by number, members of a change set; proposed once more they keep their place with the newer reason."""
    here = {"connection": tx.connection, "change_set": change_set, "run_id": run_id}
    rows = [{**here, "intent_id": row, "why": one.why, "words": one.words} for row, one in sorted(why.items())]
    upsert(tx, proposals, rows, stamps=("proposed_at",))


def members(rx: Reader, change_set: str) -> list[IntentRow]:
    """All rows that were ever proposed under a hash, whatever became of them, by number."""
    ours = select(proposals.c.intent_id).where(
        proposals.c.connection == rx.connection, proposals.c.change_set == change_set
    )
    query = select(intents).where(intents.c.connection == rx.connection, intents.c.id.in_(ours)).order_by(intents.c.id)
    return [decode(row) for row in rx.stream(query)]


def current(rx: Reader, change_set: str) -> list[IntentRow]:
    """The members that are proposed still, by number; not those that build on a proposed row outside the set."""
    rows = [row for row in members(rx, change_set) if row.state == "proposed"]
    inside = {row.id for row in rows}
    waiting = {(row.kind, row.key) for row in open_rows(rx) if row.state == "proposed" and row.id not in inside}
    while True:
        stuck = {row.id for row in rows if any((ref.kind, ref.key) in waiting for ref in row.depends_on)}
        if not stuck:
            return rows
        waiting |= {(row.kind, row.key) for row in rows if row.id in stuck}
        rows = [row for row in rows if row.id not in stuck]


def awaiting(rx: Reader) -> list[Awaiting]:
    """Every row that is proposed now, under its newest change set, by number."""
    query = (
        select(
            intents,
            *(proposals.c[name].label(f"p_{name}") for name in ("change_set", "why", "words", "run_id", "proposed_at")),
        )
        .join(intents, (intents.c.id == proposals.c.intent_id) & (intents.c.connection == proposals.c.connection))
        .where(proposals.c.connection == rx.connection, intents.c.state == "proposed")
        .order_by(proposals.c.proposed_at, proposals.c.change_set)
    )
    newest: dict[int, Awaiting] = {}
    for row in rx.stream(query):
        newest[row.id] = Awaiting(
            row.p_change_set, row.p_why, row.p_words, row.p_run_id, row.p_proposed_at, decode(row)
        )
    return [newest[row_id] for row_id in sorted(newest)]


def prune(tx: Writer) -> int:
    """Forget what was proposed long ago and is proposed no more; returns how many rows."""
    still = exists(select(intents.c.id).where(intents.c.id == proposals.c.intent_id, intents.c.state == "proposed"))
    old = delete(proposals).where(
        proposals.c.connection == tx.connection, proposals.c.proposed_at < EpochNow() - KEPT_DAYS * 86_400, ~still
    )
    return tx.execute(old).rowcount
