"""Single values worth keeping between runs: the kept first bill date, cached vendor configuration, proven canaries."""

from __future__ import annotations

from sqlalchemy import Text, cast, delete, literal, select

from meterbridge.ledger.schema import OPEN_STATES, facts, intents
from meterbridge.ledger.transaction import Reader, Writer, upsert


def get(rx: Reader, name: str) -> str | None:
    """The fact's text, None if it was never put."""
    query = select(facts.c.value).where(facts.c.connection == rx.connection, facts.c.name == name)
    found: str | None = rx.execute(query).scalar()
    return found


def put(tx: Writer, name: str, value: str) -> None:
    """Store or replace the fact."""
    upsert(tx, facts, [{"connection": tx.connection, "name": name, "value": value}])


def forget_looks(tx: Writer) -> int:
    """Delete when writes were first looked for (``looked:<intent id>``) whose intents are closed; returns how many."""
    still = select(literal("looked:") + cast(intents.c.id, Text)).where(
        intents.c.connection == tx.connection, intents.c.state.in_(OPEN_STATES)
    )
    done = delete(facts).where(
        facts.c.connection == tx.connection, facts.c.name.startswith("looked:"), facts.c.name.not_in(still)
    )
    return tx.execute(done).rowcount
