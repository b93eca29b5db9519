"""What staging must know of a usage mapping: SQL expressions and codes, no file, no model.

Expressions are evaluated over the columns of the input; a quoted identifier for a
plain column, a quoted literal for a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

InputFormat = Literal["csv", "parquet", "ndjson"]


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One field of a meter. Its value is a number in the categories measure, cost and income, else a text.

    ``native`` is the column's own type where that is a number; such a value needs no reading.
    """

    category: str
    code: str
    sql: str
    numeric: bool
    required: bool
    native: str = ""


@dataclass(frozen=True, slots=True)
class MomentShape:
    """A point in time: ``format`` as in strptime, ``epoch_seconds``, ``epoch_ms`` or None for ISO 8601.

    ``native`` is the column's own type where the input has one (TIMESTAMP…, DATE); then no format counts.
    """

    sql: str
    format: str | None
    timezone: str
    native: str = ""


@dataclass(frozen=True, slots=True)
class MeterShape:
    """What each row becomes at one meter; ``when`` is an SQL condition."""

    meter_sql: str
    when: str | None
    fields: tuple[FieldShape, ...]


@dataclass(frozen=True, slots=True)
class InputShape:
    """Where the rows are: ``files`` in the order in which rows are counted, ``columns`` of NDJSON.

    ``missing`` are texts that stand for an empty value in CSV.
    """

    files: tuple[Path, ...]
    format: InputFormat
    columns: tuple[str, ...]
    delimiter: str = ","
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageShape:
    """A whole mapping over one input. Bounds are epoch seconds: ``oldest`` None lets any age pass.

    ``longest_codes`` are the characters that meter and account may have.
    """

    name: str
    source: InputShape
    account_sql: str
    ts: MomentShape
    ets: MomentShape | None
    key_sql: tuple[str, ...]
    meters: tuple[MeterShape, ...]
    oldest: float | None
    newest: float
    longest_codes: tuple[int, int] = (80, 80)


def identifier(name: str) -> str:
    """A column name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """A text as SQL writes it."""
    return "'" + str(text).replace("'", "''") + "'"
