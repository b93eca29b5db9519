"""What the ledger last saw of each m3ter bill, and where each portion of it (bill, subscription) stands."""

from __future__ import annotations

import builtins
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from sqlalchemy import case, select
from sqlalchemy import delete as delete_from

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import bill_states
from meterbridge.ledger.schema import portions as portion_rows
from meterbridge.ledger.transaction import Reader, Writer, insert_into, upsert

PortionState = Literal["waiting", "sent", "quarantined", "settled", "proposed", "not_ours"]
"""``not_ours``: of a bill whose account is billed elsewhere; it has no subscription, and ``wanted`` is its total."""


@dataclass(frozen=True, slots=True)
class BillState:
    """A bill as last decided.

    Instants and ``bill_date`` are m3ter's own texts, ``total`` is major units as
    text. ``finished``: locked, with nothing waiting, proposed or quarantined.
    """

    bill_id: str
    version: int
    dt_last_modified: str | None
    last_calculated: str | None
    status: str
    locked: bool
    bill_date: str
    account_id: str
    currency: str
    total: str | None
    finished: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Portion:
    """A bill's share of one subscription; ``wanted`` in minor units, ``since`` and ``until`` in epoch seconds.

    ``until``: when the draft that it is meant for closes by itself; None where none is known to.

    ``since`` tells since when it is in this state, None means now; a portion that
    already was in it keeps the earlier instant, so that the age of waiting money counts on.
    """

    bill_id: str
    subscription_id: str
    currency: str
    wanted: int
    state: PortionState
    reason: str = ""
    since: float | None = None
    invoice_id: str | None = None
    until: float | None = None


_BILL_COLUMNS = [bill_states.c[field.name] for field in fields(BillState)]
_PORTION_COLUMNS = [portion_rows.c[field.name] for field in fields(Portion)]


def get(rx: Reader, bill_id: str) -> BillState | None:
    """What is known of a bill; None if the ledger never saw it."""
    query = select(*_BILL_COLUMNS).where(bill_states.c.connection == rx.connection, bill_states.c.bill_id == bill_id)
    row = rx.execute(query).one_or_none()
    return None if row is None else BillState(*row)


def put(tx: Writer, *states: BillState) -> None:
    """Store or replace bill states."""
    rows = [{"connection": tx.connection, **asdict(state)} for state in states]
    upsert(tx, bill_states, rows)


def reopen(tx: Writer, bill_id: str) -> bool:
    """Make the next run decide the bill again, however old it is; False if the ledger never saw it."""
    known = get(tx, bill_id)
    if known is not None:
        put(tx, replace(known, version=-1, finished=False))
    return known is not None


def forget(tx: Writer, bill_id: str) -> bool:
    """A bill was never seen, as far as anybody knows; False if it was not."""
    gone = delete_from(bill_states).where(bill_states.c.connection == tx.connection, bill_states.c.bill_id == bill_id)
    return tx.execute(gone).rowcount == 1


def all(rx: Reader) -> builtins.list[BillState]:  # noqa: A001 -- read as bills.all
    """All known bills, ordered by bill date and id."""
    query = select(*_BILL_COLUMNS).where(bill_states.c.connection == rx.connection)
    return [BillState(*row) for row in rx.stream(query.order_by(bill_states.c.bill_date, bill_states.c.bill_id))]


def by_id(rx: Reader) -> dict[str, BillState]:
    """Every bill's state by the bill's id."""
    return {state.bill_id: state for state in all(rx)}


def put_portion(tx: Writer, portion: Portion) -> None:
    """Store or replace a portion; see :class:`Portion` for what becomes of ``since``."""
    row: dict[str, Any] = {**asdict(portion), "connection": tx.connection, "updated_at": EpochNow()}
    if portion.since is None:
        row["since"] = EpochNow()
    insert = insert_into(tx, portion_rows)
    keys = ("connection", "bill_id", "subscription_id")
    changed: dict[str, Any] = {name: insert.excluded[name] for name in row if name not in keys}
    earlier = (portion_rows.c.state == insert.excluded.state) & (portion_rows.c.since < insert.excluded.since)
    changed["since"] = case((earlier, portion_rows.c.since), else_=insert.excluded.since)
    tx.execute(insert.values(**row).on_conflict_do_update(index_elements=list(keys), set_=changed))


def get_portion(rx: Reader, bill_id: str, subscription_id: str) -> Portion | None:
    """One portion."""
    found = portions(rx, bill_id=bill_id)
    return next((portion for portion in found if portion.subscription_id == subscription_id), None)


def portions(rx: Reader, *, bill_id: str | None = None, state: PortionState | None = None) -> builtins.list[Portion]:
    """Portions, of one bill or in one state if so asked, ordered by bill and subscription."""
    query = select(*_PORTION_COLUMNS).where(portion_rows.c.connection == rx.connection)
    if bill_id is not None:
        query = query.where(portion_rows.c.bill_id == bill_id)
    if state is not None:
        query = query.where(portion_rows.c.state == state)
    query = query.order_by(portion_rows.c.bill_id, portion_rows.c.subscription_id)
    return [Portion(*row) for row in rx.stream(query)]


def settled_since(rx: Reader, instant: float) -> builtins.list[Portion]:
    """Portions that a person settled at or after an instant (epoch seconds, the database's clock)."""
    query = select(*_PORTION_COLUMNS).where(
        portion_rows.c.connection == rx.connection,
        portion_rows.c.state == "settled",
        portion_rows.c.updated_at >= instant,
    )
    return [Portion(*row) for row in rx.execute(query)]


def waiting(rx: Reader) -> builtins.list[Portion]:
    """Portions that wait for an invoice, the longest first."""
    return sorted(portions(rx, state="waiting"), key=lambda portion: portion.since or 0.0)


def delete_portion(tx: Writer, bill_id: str, subscription_id: str) -> bool:
    """Forget a portion that the bill no longer has; False if there is none."""
    gone = delete_from(portion_rows).where(
        portion_rows.c.connection == tx.connection,
        portion_rows.c.bill_id == bill_id,
        portion_rows.c.subscription_id == subscription_id,
    )
    return tx.execute(gone).rowcount == 1
