"""What SQLite and PostgreSQL each need so that the rest of the ledger need not know which one it is."""

from __future__ import annotations

import errno
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from meterbridge.errors import BrokenInvariant, Exhausted, MeterbridgeError, RetriableError, SetupError

FILE_NAME = "ledger.sqlite3"
HOME = "Set METERBRIDGE_HOME to a directory that can be written."
WAIT_SECONDS = 30
"""How long a writer waits for another one."""

_POSTGRES = {
    "connect_timeout": 10,
    # A frozen process must not hold others up for ever; 300 s leave room for reading staging within a transaction.
    "options": "-c statement_timeout=120s -c lock_timeout=30s -c idle_in_transaction_session_timeout=300s",
}
_TRANSIENT_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN")


@dataclass(frozen=True, slots=True)
class Engines:
    """The same database twice: one that reads only, one that writes."""

    reader: Engine
    writer: Engine

    def dispose(self) -> None:
        """Close all connections."""
        self.reader.dispose()
        self.writer.dispose()


def parse_url(url: str | None, home: Path) -> URL:
    """The database's URL; None means the file ``ledger.sqlite3`` under ``home``.

    ``postgresql://`` means the psycopg 3 driver; a relative SQLite path is relative to ``home``.

    Raises:
        SetupError: MB-SETTING, neither SQLite file nor PostgreSQL.
    """
    if not url:
        return URL.create("sqlite", database=str(home.absolute() / FILE_NAME))
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SetupError("MB-SETTING", "METERBRIDGE_LEDGER_URL is not a database URL") from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite", database=str(home.absolute() / str(parsed.database)))
    raise SetupError(
        "MB-SETTING",
        f"METERBRIDGE_LEDGER_URL names {parsed.drivername}: neither a SQLite file nor PostgreSQL (psycopg)",
    )


def masked(url: URL) -> str:
    """The URL as it may be shown: without its password, wherever it stands."""
    shown = {name: "hidden" if "password" in name.lower() else value for name, value in url.query.items()}
    return url.set(query=shown).render_as_string(hide_password=True)


def connect(url: URL) -> Engines:
    """Engines for a URL out of :func:`parse_url`; a SQLite file is made, private to its owner, if there is none."""
    return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)


def _postgresql(url: URL) -> Engines:
    # max_overflow -1: a thread inside a transaction may ask for the time on a second connection; with a
    # bound, threads that wait for its lock could keep it from ever getting one.
    engine = create_engine(
        url, pool_size=5, max_overflow=-1, pool_pre_ping=True, hide_parameters=True, connect_args=_POSTGRES
    )
    # READ COMMITTED suffices for writers: each guard is in the WHERE of the one statement that it guards,
    # or under an advisory lock. Readers get one snapshot for all their statements.
    reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return Engines(reader=reader, writer=engine.execution_options(isolation_level="READ COMMITTED"))


def _sqlite(url: URL) -> Engines:
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600, exist_ok=True)
    except OSError as failure:
        if failure.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Exhausted("MB-DISK", f"the ledger {path} cannot be written: {failure.strerror}") from failure
        raise SetupError(
            "MB-SETTING", f"the ledger {path} cannot be written: {failure.strerror}", remedy=HOME
        ) from failure
    return Engines(reader=_sqlite_engine(url, writes=False), writer=_sqlite_engine(url, writes=True))


def _sqlite_engine(url: URL, *, writes: bool) -> Engine:
    engine = create_engine(
        url,
        pool_size=5,
        max_overflow=-1,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": WAIT_SECONDS},
    )

    def prepare(database: sqlite3.Connection, _: object) -> None:
        database.isolation_level = None  # the driver must not begin transactions: we say which kind
        _write_ahead(database)
        # FULL: a row in `sending` must survive a power cut before its request leaves; NORMAL syncs at checkpoints only.
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        if not writes:
            database.execute("PRAGMA query_only = ON")

    def begin(database: Connection) -> None:
        # IMMEDIATE: two writers wait for each other at the start, where waiting is allowed; a transaction
        # that reads first and writes later is refused at once when another one wrote in between.
        database.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _write_ahead(database: sqlite3.Connection) -> None:
    """Let readers never wait for the writer. The mode stays in the file; changing it ignores the busy timeout."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if database.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                return
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def explained(failure: SQLAlchemyError, url_text: str, *, writes: bool = True) -> MeterbridgeError:
    """Our error for the database's: what passes by itself can be tried again, the rest is a bug."""
    reason = str(getattr(failure, "orig", None) or failure).strip().splitlines()[0]
    code = _sqlite_code(failure)
    if code == "SQLITE_FULL" or _postgresql_code(failure) == "53100":
        return Exhausted("MB-DISK", f"the ledger {url_text}: {reason}")
    if writes and code.startswith(("SQLITE_READONLY", "SQLITE_PERM")):  # a reader's connection is read-only by our will
        return SetupError("MB-SETTING", f"the ledger {url_text} cannot be written: {reason}", remedy=HOME)
    if _passes(failure):
        return RetriableError("MB-UNAVAILABLE", f"the ledger {url_text}: {reason}")
    if code == "SQLITE_NOTADB":
        return SetupError("MB-SETTING", f"the ledger {url_text}: {reason}", remedy="Set METERBRIDGE_LEDGER_URL.")
    return BrokenInvariant("MB-INVARIANT", f"the ledger refused a statement: {reason}")


def _passes(failure: SQLAlchemyError) -> bool:
    if isinstance(failure, PoolTimeout):
        return True
    if not isinstance(failure, DBAPIError):
        return False
    if isinstance(failure.orig, sqlite3.Error):
        return _sqlite_code(failure).startswith(_TRANSIENT_SQLITE)
    return failure.connection_invalidated or isinstance(failure, OperationalError | InterfaceError)


def _postgresql_code(failure: SQLAlchemyError) -> str:
    return str(getattr(getattr(failure, "orig", None), "sqlstate", None) or "")


def _sqlite_code(failure: SQLAlchemyError) -> str:
    return str(getattr(getattr(failure, "orig", None), "sqlite_errorname", ""))
