"""Who let which change set pass."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import approvals
from meterbridge.ledger.transaction import Reader, Writer, insert_new


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's approval of one change set, by its hash; ``approved_at`` in epoch seconds."""

    change_set: str
    flow: str
    approved_by: str
    note: str | None
    approved_at: float


def put(tx: Writer, change_set: str, flow: str, by: str, note: str | None = None) -> bool:
    """Write an approval down; False if the change set was approved before (the first approval stays)."""
    row = {
        "connection": tx.connection,
        "change_set": change_set,
        "flow": flow,
        "approved_by": by,
        "note": note,
        "approved_at": EpochNow(),
    }
    return insert_new(tx, approvals, row, ["connection", "change_set"])


def get(rx: Reader, change_set: str) -> Approval | None:
    """The approval of a change set, None if nobody approved it."""
    query = select(approvals).where(approvals.c.connection == rx.connection, approvals.c.change_set == change_set)
    row = rx.execute(query).one_or_none()
    if row is None:
        return None
    return Approval(row.change_set, row.flow, row.approved_by, row.note, row.approved_at)
