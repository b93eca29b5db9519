"""Bills that a rebuilt ledger cannot answer for: what a person decided of them since the backup is lost.

Their charges are proposed, whatever the settings say, until somebody approves, dismisses or settles them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema_safety import doubts
from meterbridge.ledger.transaction import Reader, Writer, chunks, insert_into


@dataclass(frozen=True, slots=True)
class Doubt:
    """A bill that nobody can say of whether a person had decided about it; ``since`` in epoch seconds."""

    bill_id: str
    why: str
    run_id: str
    since: float


def put(tx: Writer, bills: Iterable[str], why: str, run_id: str) -> None:
    """Doubt these bills; one that is doubted already stays as it is."""
    for bill_id in bills:
        insert = insert_into(tx, doubts).values(
            connection=tx.connection, bill_id=bill_id, why=why, run_id=run_id, since=EpochNow()
        )
        tx.execute(insert.on_conflict_do_nothing(index_elements=["connection", "bill_id"]))


def all(rx: Reader) -> list[Doubt]:  # noqa: A001 -- read as doubts.all
    """The bills in doubt, by id."""
    columns = [doubts.c[name] for name in ("bill_id", "why", "run_id", "since")]
    query = select(*columns).where(doubts.c.connection == rx.connection).order_by(doubts.c.bill_id)
    return [Doubt(*row) for row in rx.execute(query)]


def clear(tx: Writer, bills: Iterable[str]) -> int:
    """A person answered for these bills, or nothing of them is open any more; returns how many were in doubt."""
    gone = 0
    for some in chunks(bills):
        ours = delete(doubts).where(doubts.c.connection == tx.connection, doubts.c.bill_id.in_(some))
        gone += tx.execute(ours).rowcount
    return gone
