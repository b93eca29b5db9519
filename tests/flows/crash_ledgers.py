"""Ledgers that a case can copy, spoil and drop: a SQLite file, or a PostgreSQL database made from a template."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from meterbridge.ledger import facts, identity, inbox
from meterbridge.ledger.ledger import Ledger
from meterbridge.ledger.note import Note
from meterbridge.sandbox import Sandbox
from tests.flows.conftest import environment

ADMIN = "METERBRIDGE_TEST_POSTGRES"
"""URL of a PostgreSQL server's database ``postgres``, where the matrix may make databases of its own."""

EXPIRE = (
    "UPDATE intents SET lease_until = 1 WHERE lease_until IS NOT NULL",
    "UPDATE inbox SET try_after = 1 WHERE try_after IS NOT NULL",
)
"""What minutes do to the leases of a process that is gone, and to events that wait for their next try."""


class CaseLedger(Protocol):
    """One ledger with its home folder."""

    home: Path

    @property
    def url(self) -> str: ...
    def copy(self) -> CaseLedger: ...
    def drop(self) -> None: ...
    def delete(self) -> None: ...
    def restore(self) -> None: ...
    def expire_leases(self) -> None: ...
    def open(self) -> Ledger: ...
    def tell(self, events: Sequence[inbox.Event]) -> None: ...
    def environment(self, sandbox: Sandbox, **more: str) -> dict[str, str]: ...


class Ledgers(Protocol):
    """Makes empty ledgers of one kind."""

    def empty(self) -> CaseLedger: ...


class _Any:
    home: Path

    @property
    def url(self) -> str:
        raise NotImplementedError

    def environment(self, sandbox: Sandbox, **more: str) -> dict[str, str]:
        """All variables of a run on this ledger."""
        kept = {ADMIN: os.environ[ADMIN]} if ADMIN in os.environ else {}
        return environment(sandbox, self.home, METERBRIDGE_LEDGER_URL=self.url, **kept, **more)

    def open(self) -> Ledger:
        """The ledger, to look into."""
        return Ledger.open(self.url, home=self.home, connection="default")

    def tell(self, events: Sequence[inbox.Event]) -> None:
        """Events come to the inbox."""
        with closing(self.open()) as ledger, ledger.write() as tx:
            inbox.put_all(tx, events)
            tx.commit()


@dataclass
class SqliteLedger(_Any):
    """A file ``ledger.sqlite3`` in the home folder."""

    home: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.home}/ledger.sqlite3"

    def copy(self) -> SqliteLedger:
        home = _new_home()
        for file in self.home.glob("ledger.sqlite3*"):
            shutil.copy(file, home)
        return carried(self, SqliteLedger(home))

    def drop(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def delete(self) -> None:
        for file in self.home.glob("ledger.sqlite3*"):
            file.unlink()
        _note(self).path.unlink(missing_ok=True)

    def restore(self) -> None:
        """Its lock went with the process that held it."""

    def expire_leases(self) -> None:
        with sqlite3.connect(self.home / "ledger.sqlite3", timeout=10) as database:
            for statement in EXPIRE:
                database.execute(statement)
        database.close()


@dataclass
class PostgresLedger(_Any):
    """A database of a running server."""

    home: Path
    admin: str
    name: str

    @property
    def url(self) -> str:
        return make_url(self.admin).set(database=self.name).render_as_string(hide_password=False)

    def copy(self) -> PostgresLedger:
        name = f"c{uuid.uuid4().hex}"
        self._do("CREATE DATABASE {} TEMPLATE {}", name, self.name)
        return carried(self, PostgresLedger(_new_home(), self.admin, name))

    def drop(self) -> None:
        self._do("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)
        shutil.rmtree(self.home, ignore_errors=True)

    def delete(self) -> None:
        self._do("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)
        self._do("CREATE DATABASE {}", self.name)
        _note(self).path.unlink(missing_ok=True)

    def restore(self) -> None:
        self._do("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", self.name)

    def expire_leases(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as database:
            for statement in EXPIRE:
                database.execute(statement)

    def _do(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as admin:
            admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]


Kind = TypeVar("Kind", bound=_Any)


def carried(before: _Any, after: Kind) -> Kind:
    """The copy, with the note of the original's home: the same host goes on with it, as if it were the original."""
    noted = _note(before).read()
    if noted.home:
        with closing(after.open()) as ledger, ledger.write() as tx:
            facts.put(tx, identity.PLACE, identity.place(tx, ledger.path).text)
            here = identity.of(tx, ledger.path)
            tx.commit()
        _note(after).append("proven", "carried", here, home=noted.home, proven=noted.proven)
    return after


def _note(of: _Any) -> Note:
    return Note(of.home, "default")


def _new_home() -> Path:
    return Path(tempfile.mkdtemp(prefix="case-"))


@dataclass
class _Sqlite:
    def empty(self) -> CaseLedger:
        return SqliteLedger(_new_home())


@dataclass
class _Postgres:
    admin: str

    def empty(self) -> CaseLedger:
        name = f"p{uuid.uuid4().hex}"
        with psycopg.connect(self.admin, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return PostgresLedger(_new_home(), self.admin, name)


def open_ledgers(database: str) -> Ledgers:
    """``sqlite`` or ``postgresql``; the latter needs the server's URL in the environment."""
    return _Sqlite() if database == "sqlite" else _Postgres(os.environ[ADMIN])


_kept: list[Any] = []


def cut_off() -> None:
    """From now on this process cannot write to its ledger: the file is locked, or the server lets nobody in."""
    url = make_url(os.environ["METERBRIDGE_LEDGER_URL"])
    if url.get_backend_name() == "sqlite":
        lock = sqlite3.connect(str(url.database), timeout=10, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN IMMEDIATE")
        _kept.append(lock)
        return
    name = str(url.database)
    with psycopg.connect(os.environ[ADMIN], autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
