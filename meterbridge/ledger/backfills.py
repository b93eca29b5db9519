"""Days of usage that were declared as backfilled: once complete, they are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from sqlalchemy import select, update

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import usage_backfills
from meterbridge.ledger.transaction import Reader, Writer, chunks, insert_into


class BackfillDay(NamedTuple):
    """One meter and account on one UTC day (``YYYY-MM-DD``)."""

    meter: str
    account: str
    day: str


def declare(tx: Writer, mapping: str, input_hash: str, days: Iterable[BackfillDay], run_id: str) -> None:
    """Say that an input backfills these days; a day that is known stays whose it is."""
    insert = insert_into(tx, usage_backfills).values(updated_at=EpochNow())
    insert = insert.on_conflict_do_nothing(index_elements=["connection", "mapping", "meter", "account", "day"])
    given = {"connection": tx.connection, "mapping": mapping, "input_hash": input_hash, "run_id": run_id}
    for chunk in chunks(days):
        tx.execute(insert, [{**given, **day._asdict(), "state": "open"} for day in chunk])


def complete(tx: Writer, mapping: str, input_hash: str) -> int:
    """Every row of the input was sent: its days are closed for good. Returns their number."""
    ours = update(usage_backfills).where(
        usage_backfills.c.connection == tx.connection,
        usage_backfills.c.mapping == mapping,
        usage_backfills.c.input_hash == input_hash,
        usage_backfills.c.state == "open",
    )
    return tx.execute(ours.values(state="complete", updated_at=EpochNow())).rowcount


def closed(rx: Reader, mapping: str, input_hash: str) -> Iterator[tuple[BackfillDay, Literal["open", "complete"]]]:
    """Days that this input may not backfill: complete ones, and those that another input has begun."""
    query = select(
        usage_backfills.c.meter, usage_backfills.c.account, usage_backfills.c.day, usage_backfills.c.state
    ).where(
        usage_backfills.c.connection == rx.connection,
        usage_backfills.c.mapping == mapping,
        (usage_backfills.c.state == "complete") | (usage_backfills.c.input_hash != input_hash),
    )
    for row in rx.stream(query):
        yield BackfillDay(row.meter, row.account, row.day), row.state
