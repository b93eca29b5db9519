"""The ledger as callers see it: open it, read it, write it.

with ledger.write() as tx:
    watermarks.advance(tx, "subscriptions", position, fingerprint, run_id)
    tx.commit()                  # leaving without it rolls back
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from meterbridge.errors import RetriableError, SetupError
from meterbridge.ledger import engine
from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.migrate import migrate
from meterbridge.ledger.transaction import Reader, Writer

__all__ = ["Ledger", "Reader", "Writer", "moment"]


class Ledger:
    """One connection's view of the shared state. Thread-safe; close it at the end.

    Attributes:
        connection: Whose rows are read and written.
        url_text: The database's URL without its password.
        path: The file of a SQLite ledger; None for PostgreSQL.
        waited_seconds: How long writers waited for their turn so far, summed over threads; in PostgreSQL their
            statements wait, which is not counted here.
    """

    def __init__(self, engines: engine.Engines, connection: str, url_text: str) -> None:
        self._engines = engines
        # SQLite's own waiting polls with growing pauses; threads of one process queue here instead.
        self._queue = threading.Lock() if engines.writer.dialect.name == "sqlite" else None
        self.connection = connection
        self.url_text = url_text
        file = engines.writer.url.database if engines.writer.dialect.name == "sqlite" else None
        self.path = None if file is None else Path(file)
        self.waited_seconds = 0.0

    @classmethod
    def open(cls, url: str | None, *, home: Path, connection: str) -> Ledger:
        """Connect and bring the schema up to date; safe when several processes start at once.

        Args:
            url: ``postgresql://…`` or ``sqlite:///…``; None is the file ``ledger.sqlite3`` under ``home``.
            home: Made if it is not there.
            connection: Name of the pair of Chargebee site and m3ter organisation.

        Raises:
            SetupError: MB-SCHEMA, the ledger was written by a newer version; MB-SETTING, no such kind of database.
            RetriableError: MB-UNAVAILABLE, the database cannot be reached.
        """
        if not connection:
            raise SetupError("MB-SETTING", "METERBRIDGE_CONNECTION is empty")
        parsed = engine.parse_url(url, home)
        url_text = engine.masked(parsed)
        engines = engine.connect(parsed)
        try:
            migrate(engines)
        except SQLAlchemyError as failure:
            engines.dispose()
            raise engine.explained(failure, url_text) from failure
        except BaseException:
            engines.dispose()
            raise
        return cls(engines, connection, url_text)

    def close(self) -> None:
        """Close all database connections."""
        self._engines.dispose()

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """A read-only transaction over one state of the ledger.

        Raises:
            RetriableError: MB-UNAVAILABLE, the database is away.
            BrokenInvariant: MB-INVARIANT, it refused the statement (a write, for one).
        """
        try:
            with self._engines.reader.connect() as database:
                yield Reader(database, self.connection)
        except SQLAlchemyError as failure:
            raise engine.explained(failure, self.url_text, writes=False) from failure

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """A read-write transaction, rolled back unless it is committed. Do not nest; keep it short.

        Raises:
            RetriableError: MB-UNAVAILABLE, the database is away or another writer holds it for too long.
            BrokenInvariant: MB-INVARIANT, a constraint refused the write.
        """
        asked = time.monotonic()
        if self._queue is not None and not self._queue.acquire(timeout=engine.WAIT_SECONDS):
            raise RetriableError("MB-UNAVAILABLE", f"the ledger {self.url_text}: another thread is writing")
        try:
            with self._engines.writer.connect() as database:
                # Begun here and not at the first statement: the wait for the lock is over before anything is read.
                database.begin()
                self.waited_seconds += time.monotonic() - asked
                yield Writer(database, self.connection)
        except SQLAlchemyError as failure:
            raise engine.explained(failure, self.url_text) from failure
        finally:
            if self._queue is not None:
                self._queue.release()

    def now(self) -> float:
        """The database's clock, epoch seconds."""
        with self.read() as rx:
            return moment(rx)


def moment(rx: Reader) -> float:
    """The database's clock inside a transaction, epoch seconds."""
    return float(rx.execute(select(EpochNow())).scalar_one())
