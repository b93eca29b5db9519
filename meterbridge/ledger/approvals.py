"""Who let which change set pass."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema_safety import approvals
from meterbridge.ledger.transaction import AnyRow, Reader, Writer, insert_new


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


def put_again(tx: Writer, change_set: str, flow: str, by: str, note: str | None = None) -> str:
    """Write an approval down even if the change set was approved before; returns the name it is kept under.

    The same writes may be proposed once more: after `undo` and `quarantine retry`, for one. That is
    approved anew, as ``HASH/2``.
    """
    number = len(of(tx, change_set)) + 1
    name = change_set if number == 1 else f"{change_set}/{number}"
    put(tx, name, flow, by, note)
    return name


def of(rx: Reader, change_set: str) -> list[Approval]:
    """Every approval of a change set, the earliest first."""
    here = (approvals.c.change_set == change_set) | approvals.c.change_set.startswith(f"{change_set}/")
    query = select(approvals).where(approvals.c.connection == rx.connection, here).order_by(approvals.c.approved_at)
    return [_approval(row) for row in rx.execute(query)]


def get(rx: Reader, change_set: str) -> Approval | None:
    """The approval of a change set, None if nobody approved it."""
    query = select(approvals).where(approvals.c.connection == rx.connection, approvals.c.change_set == change_set)
    row = rx.execute(query).one_or_none()
    return None if row is None else _approval(row)


def _approval(row: AnyRow) -> Approval:
    return Approval(row.change_set, row.flow, row.approved_by, row.note, row.approved_at)
