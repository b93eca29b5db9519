"""Rows of a database, by a query with a watermark, into a CSV file that is read like any other input."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ColumnClause, Engine, column, create_engine, func, make_url, select, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from meterbridge.errors import RetriableError, SetupError

ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class WatermarkQuery:
    """A SELECT, the column it is read along, and the columns that order equal watermarks."""

    sql: str
    watermark: str
    order: tuple[str, ...]


def spool_query(url: str, query: WatermarkQuery, since: datetime, until: datetime, path: Path) -> int:
    """Write the rows with since < watermark <= until, in a fixed order; returns how many rows have no watermark.

    These lie in no window and would never be read.

    Raises:
        SetupError: MB-USAGE-MAPPING, the database refuses the query; MB-SETTING, there is no driver for its URL.
        RetriableError: MB-UNAVAILABLE, the database is away, or there is no room for the rows.
    """
    mark: ColumnClause[datetime] = column(query.watermark)
    rows = text(f"({query.sql}) AS usage_rows")
    statement = (
        select(text("*"))
        .select_from(rows)
        .where(mark > since, mark <= until)
        .order_by(mark, *(column(name) for name in query.order))
    )
    unmarked = select(func.count()).select_from(rows).where(mark.is_(None))
    engine = _engine(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with engine.connect() as database, path.open("w", encoding="utf-8", newline="") as file:
            result = database.execution_options(stream_results=True, yield_per=ROWS_AT_ONCE).execute(statement)
            writer = csv.writer(file)
            writer.writerow(result.keys())
            for part in result.partitions():
                writer.writerows(_texts(row) for row in part)
            return int(database.execute(unmarked).scalar_one())
    except SQLAlchemyError as failure:
        words = str(getattr(failure, "orig", None) or failure).split("\n")[0][:300]
        if any(text in words for text in _POSTGRES_SAYS):
            raise SetupError("MB-SETTING", f"the usage database: {words}") from None
        if _is_lasting(failure, words):
            raise SetupError("MB-USAGE-MAPPING", f"the usage database: {words}", remedy=_QUERY) from None
        raise RetriableError("MB-UNAVAILABLE", f"the usage database: {words}") from None
    except OSError as failure:
        words = f"the copy of the input: Could not write file: {failure.strerror or failure}"
        raise RetriableError("MB-UNAVAILABLE", words) from failure
    finally:
        engine.dispose()


_QUERY = "Correct the mapping's query: it must run at the database as it stands."
_POSTGRES_SAYS = ("authentication failed", 'database "', 'role "')
_SQLITE_SAYS = ("no such ", "syntax error", "unrecognized token", "incomplete input", "ambiguous column")


def _is_lasting(failure: SQLAlchemyError, words: str) -> bool:
    """True if the same query will be refused again; SQLite tells of everything as if it were away."""
    if isinstance(failure, ProgrammingError | DataError | NotSupportedError):
        return True
    if isinstance(failure, OperationalError):
        return any(text in words for text in _SQLITE_SAYS)
    return not isinstance(failure, DBAPIError)


def _engine(url: str) -> Engine:
    """The database; its URL is in no message, for it may hold a password."""
    try:
        return create_engine(_with_driver(url))
    except (SQLAlchemyError, ImportError, ValueError) as failure:
        kind = type(failure).__name__
        raise SetupError("MB-SETTING", f"METERBRIDGE_USAGE_SOURCE_URL leads to no database ({kind})") from None


def _with_driver(url: str) -> URL:
    """PostgreSQL's own form of a URL names no driver; ours is psycopg."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername in ("postgresql", "postgres") else parsed


def _texts(row: Sequence[Any]) -> list[object]:
    return [value.isoformat() if isinstance(value, datetime | date) else value for value in row]
