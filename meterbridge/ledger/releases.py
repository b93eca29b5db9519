"""What a person allowed to be charged beyond a bill's total: entries, never overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, insert, select

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema_safety import releases
from meterbridge.ledger.transaction import Reader, Writer


@dataclass(frozen=True, slots=True)
class Release:
    """A person's word that a bill may be charged ``amount`` (minor units) beyond its total.

    ``released_at`` in epoch seconds, by the database's clock.
    """

    bill_id: str
    amount: int
    currency: str
    released_by: str
    note: str
    released_at: float = 0.0


def add(tx: Writer, release: Release) -> None:
    """Write a release down; several of one bill add up."""
    row = {
        "connection": tx.connection,
        "bill_id": release.bill_id,
        "amount": release.amount,
        "currency": release.currency,
        "released_by": release.released_by,
        "note": release.note,
        "released_at": EpochNow(),
    }
    tx.execute(insert(releases).values(**row))


def of(rx: Reader, bill_id: str) -> list[Release]:
    """Every release of a bill, the earliest first."""
    columns = [releases.c[name] for name in Release.__dataclass_fields__]
    query = select(*columns).where(releases.c.connection == rx.connection, releases.c.bill_id == bill_id)
    return [Release(*row) for row in rx.execute(query.order_by(releases.c.id))]


def sums(rx: Reader) -> Iterator[tuple[str, str, int]]:
    """Bill id, currency and sum (minor units) of every bill with a release."""
    query = select(releases.c.bill_id, releases.c.currency, func.sum(releases.c.amount)).where(
        releases.c.connection == rx.connection
    )
    for bill_id, currency, amount in rx.execute(query.group_by(releases.c.bill_id, releases.c.currency)):
        yield bill_id, currency, int(amount)
