"""The runs that wrote money, in the order in which they began to: what a note beside the ledger is compared with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema_safety import money_runs
from meterbridge.ledger.transaction import Reader, Writer, chunks, insert_into


@dataclass(frozen=True, slots=True)
class MoneyRun:
    """A run that wrote money, or was about to; ``home`` tells from which home folder, ``writes`` how many it intended.

    ``begun_at``: epoch seconds by the database's clock.
    """

    run_id: str
    home: str
    change_set: str
    writes: int
    begun_at: float


def put(tx: Writer, run_id: str, home: str, change_set: str, writes: int) -> None:
    """Note a run before its first money write leaves; a run that is there already stays as it is."""
    row = {"run_id": run_id, "home": home, "change_set": change_set, "writes": writes}
    insert = insert_into(tx, money_runs).values(connection=tx.connection, begun_at=EpochNow(), **row)
    tx.execute(insert.on_conflict_do_nothing(index_elements=["connection", "run_id"]))


def newest(rx: Reader) -> MoneyRun | None:
    """The run that was the last one to begin writing money."""
    query = (
        select(*(money_runs.c[name] for name in ("run_id", "home", "change_set", "writes", "begun_at")))
        .where(money_runs.c.connection == rx.connection)
        .order_by(money_runs.c.id.desc())
        .limit(1)
    )
    row = rx.execute(query).one_or_none()
    return None if row is None else MoneyRun(*row)


def missing(rx: Reader, run_ids: Collection[str]) -> list[str]:
    """Those of the runs that the ledger does not know, in the order given."""
    known: set[str] = set()
    for some in chunks(run_ids):
        query = select(money_runs.c.run_id).where(
            money_runs.c.connection == rx.connection, money_runs.c.run_id.in_(some)
        )
        known |= set(rx.execute(query).scalars())
    return [one for one in run_ids if one not in known]


def count(rx: Reader) -> int:
    """How many runs wrote money, by the ledger."""
    query = select(func.count()).select_from(money_runs).where(money_runs.c.connection == rx.connection)
    return int(rx.execute(query).scalar_one())
