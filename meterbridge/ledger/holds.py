"""The stop switch: who said that nothing is sent any more, for everybody or for one customer, and who let it go on.

Every process asks right before it writes an attempt down, in the same transaction (``intent_customers``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select, update

from meterbridge.errors import OnHold
from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema_safety import holds
from meterbridge.ledger.transaction import AnyRow, Reader, Writer, insert_into

ALL = ""
"""The customer id of a hold that concerns everybody."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that is in force; ``customer_id`` is empty where everybody is held, ``held_at`` in epoch seconds."""

    customer_id: str
    by: str
    note: str
    held_at: float

    @property
    def words(self) -> str:
        """Whom it holds, by whom and why."""
        whom = f"customer {self.customer_id}" if self.customer_id else "everything"
        return f"{whom} is on hold by {self.by}: {self.note}"


def active(rx: Reader) -> list[Hold]:
    """The holds in force, the one for everybody first; one read of an index that holds nothing else."""
    query = select(holds.c.customer_id, holds.c.held_by, holds.c.note, holds.c.held_at).where(
        holds.c.connection == rx.connection, holds.c.released_at.is_(None)
    )
    return [_hold(row) for row in rx.execute(query.order_by(holds.c.customer_id))]


def refuse_all_held(rx: Reader) -> None:
    """Raise OnHold (MB-ON-HOLD) while the sending is stopped for everybody."""
    for one in active(rx):
        if one.customer_id == ALL:
            raise OnHold("MB-ON-HOLD", one.words)


def put(tx: Writer, customer_id: str, by: str, note: str) -> bool:
    """Hold a customer, or everybody with :data:`ALL`; False if that is held already."""
    row = {"customer_id": customer_id, "held_by": by, "note": note}
    insert = insert_into(tx, holds).values(connection=tx.connection, held_at=EpochNow(), **row)
    unless = insert.on_conflict_do_nothing(
        index_elements=["connection", "customer_id"], index_where=holds.c.released_at.is_(None)
    )
    return tx.execute(unless.returning(holds.c.id)).one_or_none() is not None


def release(tx: Writer, customer_id: str, by: str, note: str) -> bool:
    """Let the sending go on; False if that was not held. The hold stays in the ledger, with who ended it."""
    ended = (
        update(holds)
        .where(holds.c.connection == tx.connection, holds.c.customer_id == customer_id, holds.c.released_at.is_(None))
        .values(released_by=by, release_note=note, released_at=EpochNow())
    )
    return tx.execute(ended).rowcount == 1


def shown(found: Iterable[Hold]) -> list[dict[str, object]]:
    """Holds as JSON values."""
    return [
        {"customer_id": one.customer_id or None, "by": one.by, "note": one.note, "held_at": one.held_at}
        for one in found
    ]


def _hold(row: AnyRow) -> Hold:
    return Hold(row.customer_id, row.held_by, row.note, row.held_at)
