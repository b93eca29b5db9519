"""The run's own DuckDB file: open it, land into it, run SQL on it, read rows back.

Nothing is interpreted here. Only one process may hold the file; each thread
takes its own cursor. Money never becomes a float: it lands as text or BIGINT and
is read with ``fetchmany``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pandas

from meterbridge.errors import RetriableError
from meterbridge.staging import shapes

_T = TypeVar("_T")

PAGES_PER_LOAD = 100
ROWS_PER_LOAD = 20_000
FEW_VALUES = 100
"""Up to so many are bound one by one: a frame costs 4 ms however few its rows (measured); small runs land twenty."""

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": "1GB",
    "threads": "2",
}
"""The same for everybody: DuckDB refuses a second connection of a process whose settings differ."""


class Staging:
    """One run's staging file.

    Opened by one task at a time; finished files may be opened read-only by anybody.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._connection = duckdb.connect(str(path), read_only=read_only, config=SETTINGS)
        self._connection.execute("SET GLOBAL TimeZone = 'UTC'")  # for all cursors

    def close(self) -> None:
        """Flush and release the file."""
        self._connection.close()

    def _run(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement to its end: DuckDB refuses the next one while a result is open."""
        return self._connection.execute(query, parameters).fetchall()

    def ensure_tables(self) -> None:
        """Create every landing table that is not there yet, so that SQL finds empty ones instead of none."""
        # Asked once: every task opens the file, and thirty statements that do nothing cost more than a small run's SQL.
        here = {name for (name,) in self._run("select table_name from duckdb_tables()")}
        wanted = {
            f"raw_chargebee__{name}": f"entry {entry}, origin VARCHAR" for name, entry in shapes.CHARGEBEE.items()
        }
        for table, columns in shapes.TEXT.items():
            wanted[table] = ", ".join(f'"{column}" VARCHAR' for column in columns)
        made = [f"create table {table} ({columns})" for table, columns in wanted.items() if table not in here]
        if made:
            self._run("; ".join(["begin", *made, "commit"]))  # in one transaction: each would be a flush

    def land_pages(self, resource: str, pages: Iterable[bytes], *, origin: str = "list") -> int:
        """Land Chargebee list pages as received; returns the number of entries.

        The page bodies are spliced into one JSON array per hundred pages in a
        temporary file, which is gone when this returns: it holds fields that must not stay.
        """
        landed = 0
        for chunk in _chunks(pages, PAGES_PER_LOAD):
            with tempfile.NamedTemporaryFile(dir=self.path.parent, suffix=".json") as spliced:
                spliced.write(b"[" + b",".join(chunk) + b"]")
                spliced.flush()
                landed += self._load_spliced(resource, spliced.name, origin)
        return landed

    def _load_spliced(self, resource: str, file: str, origin: str) -> int:
        columns = f"{{list: '{shapes.CHARGEBEE[resource]}[]'}}"
        query = (
            f"insert into raw_chargebee__{resource} select unnest(list), $origin from read_json("
            f"$file, format = 'array', columns = {columns}, maximum_object_size = 268435456)"
        )
        try:
            count = self._run(query, {"origin": origin, "file": file})
        except duckdb.InvalidInputException as failure:
            raise RetriableError(
                "MB-ANSWER", f"a page of Chargebee's {resource} has another shape than documented"
            ) from failure
        return int(count[0][0]) if count else 0

    def land_rows(self, table: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Land mappings into a text table of :data:`shapes.TEXT`; fields beyond its columns are left out."""
        columns = shapes.TEXT[table]
        landed = 0
        for chunk in _chunks(rows, ROWS_PER_LOAD):
            texts = [[_text(row.get(column)) for column in columns] for row in chunk]
            if len(texts) * len(columns) <= FEW_VALUES:
                marks = ", ".join([f"({', '.join('?' * len(columns))})"] * len(texts))
                self._connection.execute(f"insert into {table} values {marks}", [*chain(*texts)]).fetchall()
            else:
                self._connection.register("landing", pandas.DataFrame(texts, columns=list(columns), dtype="str"))
                self._run(f"insert into {table} select * from landing")
                self._connection.unregister("landing")
            landed += len(chunk)
        return landed

    def clear(self, *tables: str) -> None:
        """Empty tables, so that a repeated task lands once."""
        for table in tables:
            self._run(f"delete from {table}")

    def make(self, resource: str, table: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Run ``sql/<resource>/<table>.sql``, which makes that table; returns its number of rows."""
        text = statement(resource, table)
        bound = {name: value for name, value in (parameters or {}).items() if f"${name}" in text}
        return int(self._run(text, bound or None)[0][0])

    def count(self, table: str) -> int:
        """Number of rows."""
        return int(self._run(f"select count(*) from {table}")[0][0])

    def rows(
        self, query: str, parameters: Mapping[str, Any] | None = None, *, chunk: int = 2_000
    ) -> Iterator[dict[str, Any]]:
        """Stream a query's rows as dicts; memory holds one chunk."""
        with self._connection.cursor() as cursor:
            cursor.execute(query, parameters)
            names = [column[0] for column in cursor.description or ()]
            while batch := cursor.fetchmany(chunk):
                for row in batch:
                    yield dict(zip(names, row, strict=True))


@contextmanager
def opened(path: Path, *, read_only: bool = False) -> Iterator[Staging]:
    """Open a staging file for the length of a block, with every landing table there."""
    staging = Staging(path, read_only=read_only)
    try:
        if not read_only and path not in _kept:
            staging.ensure_tables()
        yield staging
    finally:
        staging.close()


_kept: set[Path] = set()
"""Files that :func:`kept_open` holds: their tables are there."""


@contextmanager
def kept_open(path: Path) -> Iterator[None]:
    """Let DuckDB hold the file for the length of a block, so that opening it again inside is cheap.

    A file opened anew costs 36 ms of CPU (measured), and every task of a run opens it: sixteen times in sync_bills.
    """
    with opened(path):
        _kept.add(path)
        try:
            yield
        finally:
            _kept.discard(path)


def statement(resource: str, table: str) -> str:
    """The text of ``sql/<resource>/<table>.sql``."""
    return resources.files("meterbridge.staging").joinpath("sql", resource, f"{table}.sql").read_text(encoding="utf-8")


def _text(value: Any) -> str | None:
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case dict() | list() | tuple():
            return json.dumps(value, ensure_ascii=False)
        case float():
            raise TypeError("a float would lose digits: land text or integers")
        case _:
            return str(value)


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    chunk: list[_T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
