"""Webhook bodies that are no event: their outline, so that a person can see what came. Never the values in them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import malformed
from meterbridge.ledger.transaction import Reader, Writer, insert_into

MOST_KEPT = 1_000
"""Different bodies kept per connection: whoever has the password cannot fill the disk."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A body that could not be read: its SHA-256, its names without values, its size in bytes."""

    source: str
    digest: str
    reason: str
    outline: str
    size: int


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A body as kept; ``times`` it came; instants in epoch seconds."""

    body: Malformed
    times: int
    first_seen: float
    last_seen: float


def put(tx: Writer, body: Malformed) -> bool:
    """Keep a body's outline, or count it once more; False if there are too many different ones."""
    columns = malformed.c
    key = {"connection": tx.connection, "source": body.source, "digest": body.digest}
    known = tx.execute(select(columns.times).filter_by(**key)).one_or_none() is not None
    kept = tx.execute(select(func.count()).where(columns.connection == tx.connection)).scalar_one()
    if kept >= MOST_KEPT and not known:
        return False
    insert = insert_into(tx, malformed).values(
        **key,
        reason=body.reason,
        outline=body.outline,
        bytes=body.size,
        times=1,
        first_seen=EpochNow(),
        last_seen=EpochNow(),
    )
    again = {"times": columns.times + 1, "last_seen": insert.excluded.last_seen}
    tx.execute(insert.on_conflict_do_update(index_elements=["connection", "source", "digest"], set_=again))
    return True


def all(rx: Reader, limit: int = 100) -> list[MalformedRow]:  # noqa: A001 -- read as malformed.all
    """Bodies that were kept, the latest first."""
    query = select(malformed).where(malformed.c.connection == rx.connection).order_by(malformed.c.last_seen.desc())
    return [
        MalformedRow(
            Malformed(row.source, row.digest, row.reason, row.outline, row.bytes),
            row.times,
            row.first_seen,
            row.last_seen,
        )
        for row in rx.execute(query.limit(limit))
    ]
