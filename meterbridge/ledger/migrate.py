"""Bring a database to the newest schema, by one process at a time."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, select, table, text
from sqlalchemy.sql import column

from meterbridge.errors import SetupError
from meterbridge.ledger.engine import Engines
from meterbridge.ledger.schema import HEAD, VERSION_TABLE

_LOCK = 6_173_920_518_334_771
"""Advisory lock number, the same for all versions: any number that no other program takes."""


def migrate(engines: Engines) -> None:
    """Upgrade to :data:`~meterbridge.ledger.schema.HEAD` in one transaction, under a lock.

    Raises:
        SetupError: MB-SCHEMA, the database is at a revision that this version does not know.
    """
    with engines.reader.connect() as database:
        if revision(database) == HEAD:
            return
    with engines.writer.begin() as database:
        if database.dialect.name == "postgresql":
            database.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        if revision(database) != HEAD:
            _upgrade(database)


def revision(database: Connection) -> str | None:
    """The revision the database is at; None before the first migration."""
    if not inspect(database).has_table(VERSION_TABLE):
        return None
    found: str | None = database.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
    return found


def _upgrade(database: Connection) -> None:
    # Alembic takes a fifth of a second to import: not for every command on a ledger that is up to date.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = database
    current = revision(database)
    try:
        if current is not None:
            ScriptDirectory.from_config(config).get_revision(current)
        command.upgrade(config, HEAD)
    except CommandError as failure:
        raise SetupError(
            "MB-SCHEMA",
            f"the ledger's schema is at revision {current}; this version of meterbridge knows up to {HEAD}",
        ) from failure
