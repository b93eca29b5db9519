"""Single values worth keeping between runs: the kept first bill date, cached vendor configuration, proven canaries."""

from __future__ import annotations

from sqlalchemy import select

from meterbridge.ledger.schema import facts
from meterbridge.ledger.transaction import Reader, Writer, upsert


def get(rx: Reader, name: str) -> str | None:
    """The fact's text, None if it was never put."""
    query = select(facts.c.value).where(facts.c.connection == rx.connection, facts.c.name == name)
    found: str | None = rx.execute(query).scalar()
    return found


def put(tx: Writer, name: str, value: str) -> None:
    """Store or replace the fact."""
    upsert(tx, facts, [{"connection": tx.connection, "name": name, "value": value}])
