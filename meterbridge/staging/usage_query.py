"""Rows of a database, by a query with a watermark, into a CSV file that is read like any other input."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ColumnClause, column, create_engine, func, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from meterbridge.errors import RetriableError

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
        RetriableError: MB-UNAVAILABLE, the database is away or refuses the query.
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
    engine = create_engine(_with_driver(url))
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
        raise RetriableError("MB-UNAVAILABLE", f"the usage database: {words}") from None
    finally:
        engine.dispose()


def _with_driver(url: str) -> URL:
    """PostgreSQL's own form of a URL names no driver; ours is psycopg."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername in ("postgresql", "postgres") else parsed


def _texts(row: Sequence[Any]) -> list[object]:
    return [value.isoformat() if isinstance(value, datetime | date) else value for value in row]
