"""What ledger functions are given: a reader that cannot write, or a writer that must commit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Executable, Row, Select, Table, text
from sqlalchemy.dialects import postgresql, sqlite

from meterbridge.errors import BrokenInvariant
from meterbridge.ledger.expressions import EpochNow

_T = TypeVar("_T")

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]
AnyResult = CursorResult[*tuple[Any, ...]]

STREAM_ROWS = 1_000
"""Rows fetched at a time from a long answer."""

LIST_VALUES = 500
"""Values in one ``IN`` list; older SQLite takes 999 parameters a statement."""


class Reader:
    """One read-only transaction: one state of the whole ledger, however many statements.

    Attributes:
        connection: The connection whose rows are meant; every statement filters by it.
        dialect: ``sqlite`` or ``postgresql``.
    """

    def __init__(self, database: Connection, connection: str) -> None:
        self._database = database
        self.connection = connection
        self.dialect = database.dialect.name

    def execute(self, statement: AnySelect) -> AnyResult:
        """Run one query."""
        return self._database.execute(statement)

    def ask(self, question: str, **parameters: Any) -> AnyResult:
        """Run one query that only one of the databases understands; ``:name`` stands for a parameter."""
        return self._database.execute(text(question), parameters)

    def stream(self, statement: AnySelect) -> Iterator[AnyRow]:
        """Run one query and hand its rows out without holding them all; read it to the end inside the transaction."""
        # Per statement: options set on the connection would hold for every statement after this one.
        result = self._database.execute(statement, execution_options={"yield_per": STREAM_ROWS})
        for rows in result.partitions():
            yield from rows


class Writer(Reader):
    """One read-write transaction; leaving without :meth:`commit` rolls it back."""

    def __init__(self, database: Connection, connection: str) -> None:
        super().__init__(database, connection)
        self.committed = False

    def execute(self, statement: Executable, parameters: Sequence[Mapping[str, Any]] | None = None) -> AnyResult:
        """Run one statement, once or once per set of parameters.

        Raises:
            BrokenInvariant: The transaction is already committed.
        """
        if self.committed:
            raise BrokenInvariant("MB-INVARIANT", "a ledger transaction was used after its commit")
        return self._database.execute(statement, parameters)

    def commit(self) -> None:
        """Make everything written durable; ends the transaction."""
        if self.committed:
            raise BrokenInvariant("MB-INVARIANT", "a ledger transaction was committed twice")
        self._database.commit()
        self.committed = True

    def take_turn(self, name: str) -> None:
        """Let one transaction at a time go on, per connection and name, until it ends.

        SQLite has one writer at a time anyhow; PostgreSQL gets an advisory lock,
        because what these transactions check (no second write of a scope in flight,
        no second open intent) lies in rows that others may just be adding.
        """
        if self.dialect == "postgresql":
            digest = hashlib.sha256(f"meterbridge:{name}:{self.connection}".encode()).digest()
            number = int.from_bytes(digest[:8], "big", signed=True)
            self._database.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def upsert(
    tx: Writer,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    stamps: Sequence[str] = ("updated_at",),
    keep: Collection[str] = (),
) -> None:
    """Insert rows, or update those whose primary key is there.

    Args:
        stamps: Columns that take the database's time.
        keep: Columns that an existing row keeps as they are.
    """
    if not rows:
        return
    tx.execute(_upsert(tx.dialect, table, tuple(rows[0]), tuple(stamps), frozenset(keep)), list(rows))


@cache
def _upsert(
    dialect: str, table: Table, columns: tuple[str, ...], stamps: tuple[str, ...], keep: frozenset[str]
) -> sqlite.Insert:
    """Built once: making the statement costs more than running it."""
    keys = [column.name for column in table.primary_key]
    insert = _insert(dialect, table).values({name: EpochNow() for name in stamps})
    changed = {name: insert.excluded[name] for name in (*columns, *stamps) if name not in keys and name not in keep}
    return insert.on_conflict_do_update(index_elements=keys, set_=changed)


def insert_into(tx: Reader, table: Table) -> sqlite.Insert:
    """An INSERT with the ON CONFLICT clauses that both databases share."""
    return _insert(tx.dialect, table)


def _insert(dialect: str, table: Table) -> sqlite.Insert:
    # Both dialects' Insert offer the same methods used here; one name for both spares every caller the choice.
    return cast("sqlite.Insert", (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table))


def insert_new(tx: Writer, table: Table, row: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Insert a row unless its key is there; returns whether it was new."""
    insert = insert_into(tx, table).values(**row).on_conflict_do_nothing(index_elements=list(keys))
    # RETURNING and not rowcount: PostgreSQL's is -1 where the row's number is fetched along with the insert.
    return tx.execute(insert.returning(table.c[keys[0]])).one_or_none() is not None


def chunks(values: Iterable[_T], size: int = LIST_VALUES) -> Iterator[list[_T]]:
    """Lists of at most ``size`` values, in order."""
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
