"""Fresh ledgers in milliseconds: what the migrations did to the first empty database is said to the next ones again.

Alembic takes a tenth of a second of CPU for each ledger, and the tests make thousands. The first empty database of a
kind in this process is migrated by the product; the statements that it was told are kept and told to each further one,
in the same transaction and under the same lock. Tests of the migrations themselves run in ``real_migrations()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from meterbridge.ledger import migrate

Upgrade = Callable[[Connection], None]

_by_alembic: Upgrade = migrate._upgrade
_statements: dict[str, list[str]] = {}


def _upgrade(database: Connection) -> None:
    kind = database.dialect.name
    if migrate.revision(database) is not None:
        _by_alembic(database)
    elif kind in _statements:
        cursor = database.connection.cursor()
        for statement in _statements[kind]:
            cursor.execute(statement)
        cursor.close()
    else:
        _statements[kind] = _noted(database)


def _noted(database: Connection) -> list[str]:
    """Migrate by the product; returns the statements that changed something."""
    found: list[str] = []

    def note(_one: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            assert not parameters, f"{statement} takes parameters: an empty ledger has none to fill in"
            assert not many
            found.append(statement)

    event.listen(database, "before_cursor_execute", note)
    try:
        _by_alembic(database)
    finally:
        event.remove(database, "before_cursor_execute", note)
    return found


def install() -> None:
    """From now on this process makes fresh ledgers this way."""
    migrate._upgrade = _upgrade


@contextmanager
def real_migrations() -> Iterator[None]:
    """Inside the block each ledger is migrated by the product alone."""
    before, migrate._upgrade = migrate._upgrade, _by_alembic
    try:
        yield
    finally:
        migrate._upgrade = before
