"""Records set aside, with the reason: what a person sees, retries or dismisses.

States: ``open`` → ``cleared`` (decided fine again) · ``retry`` (a person said the
cause is gone; decided again in the next run) · ``dismissed`` (closed by a person;
stays so while code, amount and source version are the same).
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import quarantine
from meterbridge.ledger.transaction import AnyRow, Reader, Writer, insert_into
from meterbridge.rules.keys import key_from_text, key_text
from meterbridge.rules.records import Key, Quarantined

State = Literal["open", "retry", "dismissed", "cleared"]


ROW_ID_BITS = 63
"""No database numbers a row higher, nor takes such a number as a question."""


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A record set aside; ``id`` is what a person types. ``amount`` in minor units, instants in epoch seconds.

    ``due_at`` is when an account plan should have ended or started. ``first_seen`` is when this trouble began: it
    starts anew if the record was cleared in between.
    """

    id: int
    kind: str
    key: Key
    flow: str
    state: State
    code: str
    message: str
    amount: int | None
    currency: str | None
    source_version: int | None
    run_id: str
    first_seen: float
    last_seen: float
    closed_by: str | None
    note: str | None
    due_at: float | None


def put(tx: Writer, flow: str, aside: Quarantined, run_id: str) -> None:
    """Set a record aside, or see it again; a dismissed one comes back only if code, amount or version changed."""
    row = {
        "connection": tx.connection,
        "kind": aside.kind,
        "natural_key": key_text(aside.key),
        "flow": flow,
        "state": "open",
        "code": aside.code,
        "message": aside.message,
        "amount": aside.amount,
        "currency": aside.currency,
        "source_version": aside.source_version,
        "due_at": aside.due.timestamp() if aside.due else None,
        "run_id": run_id,
        "closed_by": None,
        "note": None,
    }
    insert = insert_into(tx, quarantine).values(**row, first_seen=EpochNow(), last_seen=EpochNow())
    new, old = insert.excluded, quarantine.c
    keys = ["connection", "kind", "natural_key"]
    changed: dict[str, Any] = {name: new[name] for name in row if name not in keys}
    same = and_(old.code == new.code, *(_equal(old[name], new[name]) for name in ("amount", "source_version")))
    stays = and_(old.state == "dismissed", same)
    for name in ("state", "closed_by", "note"):
        changed[name] = case((stays, old[name]), else_=new[name])
    # Another trouble that comes to it says nothing of when the change took effect.
    changed["due_at"] = case((old.state == "cleared", new.due_at), else_=func.coalesce(new.due_at, old.due_at))
    changed["first_seen"] = case((old.state == "cleared", new.first_seen), else_=old.first_seen)
    changed["last_seen"] = new.last_seen
    tx.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed))


def clear(tx: Writer, kind: str, key: Key) -> bool:
    """The record was decided fine again; False if it is not set aside (or was dismissed)."""
    return _set(tx, _this(tx, kind, key), ("open", "retry"), state="cleared")


def retry(tx: Writer, kind: str, key: Key) -> bool:
    """The next decide takes the record again; False if it is not set aside."""
    return _set(tx, _this(tx, kind, key), ("open", "dismissed"), state="retry", closed_by=None, note=None)


def dismiss(tx: Writer, kind: str, key: Key, by: str, note: str) -> bool:
    """A person closes the record; False if it is not set aside."""
    return _set(tx, _this(tx, kind, key), ("open", "retry"), state="dismissed", closed_by=by, note=note)


def list(rx: Reader, state: State | None = None) -> builtins.list[QuarantineRow]:  # noqa: A001 -- read as quarantine.list
    """Records in one state; by default all that nobody has closed (open and retry). Oldest first."""
    wanted = ("open", "retry") if state is None else (state,)
    query = select(quarantine).where(quarantine.c.connection == rx.connection, quarantine.c.state.in_(wanted))
    return [_row(row) for row in rx.stream(query.order_by(quarantine.c.first_seen, quarantine.c.id))]


def to_decide(rx: Reader) -> builtins.list[QuarantineRow]:
    """Records that the next run decides again, whether they changed or not: open and retry."""
    return list(rx)


def due(rx: Reader) -> dict[Key, tuple[float, int | None]]:
    """When account plans that are set aside, dismissed ones too, should have ended or started, by which version."""
    c = quarantine.c
    query = select(c.natural_key, c.due_at, c.source_version).where(
        c.connection == rx.connection, c.state.in_(("open", "retry", "dismissed")), c.due_at.is_not(None)
    )
    return {key_from_text(row.natural_key): (row.due_at, row.source_version) for row in rx.stream(query)}


def get(rx: Reader, kind: str, key: Key) -> QuarantineRow | None:
    """One record by its natural key, in any state."""
    return _one(rx, _this(rx, kind, key))


def by_id(rx: Reader, row_id: int) -> QuarantineRow | None:
    """One record by the number that lists show."""
    if row_id.bit_length() > ROW_ID_BITS:
        return None
    return _one(rx, and_(quarantine.c.connection == rx.connection, quarantine.c.id == row_id))


def _equal(old: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(old == new, and_(old.is_(None), new.is_(None)))


def _this(rx: Reader, kind: str, key: Key) -> ColumnElement[bool]:
    ours = quarantine.c.connection == rx.connection
    return and_(ours, quarantine.c.kind == kind, quarantine.c.natural_key == key_text(key))


def _set(tx: Writer, this: ColumnElement[bool], states: tuple[State, ...], **values: Any) -> bool:
    return tx.execute(update(quarantine).where(this, quarantine.c.state.in_(states)).values(**values)).rowcount == 1


def _one(rx: Reader, this: ColumnElement[bool]) -> QuarantineRow | None:
    row = rx.execute(select(quarantine).where(this)).one_or_none()
    return None if row is None else _row(row)


def _row(row: AnyRow) -> QuarantineRow:
    return QuarantineRow(
        id=row.id,
        kind=row.kind,
        key=key_from_text(row.natural_key),
        flow=row.flow,
        state=row.state,
        code=row.code,
        message=row.message,
        amount=row.amount,
        currency=row.currency,
        source_version=row.source_version,
        due_at=row.due_at,
        run_id=row.run_id,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        closed_by=row.closed_by,
        note=row.note,
    )
