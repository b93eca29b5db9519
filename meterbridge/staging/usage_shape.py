"""What staging must know of a usage mapping: SQL expressions and codes, no file, no model.

Expressions are evaluated over the columns of the input; a quoted identifier for a
plain column, a quoted literal for a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

InputFormat = Literal["csv", "parquet", "ndjson"]
Ambiguous = Literal["reject", "first", "second"]

ROW = "meterbridge:row"
BROKEN = "meterbridge:broken"
LINE = "meterbridge:line"
"""Columns of every input beside its own: the number of the row from 1, True for a row that is none, NDJSON's text."""

DOUBLED = "meterbridge:doubled"
"""A further one of NDJSON: a name of the mapping that the row has twice; NULL for none."""

SEPARATOR = "\x01"
"""Between the number and the text of an NDJSON row, where it must be escaped."""


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
    """A point in time: ``format`` as in strptime, a name such as ``epoch_ms``, or None for ISO 8601.

    ``timezone`` is a zone's name; where ``zone_sql`` is not empty, that expression gives it row by row.
    ``native`` is the column's own type where the input has one (TIMESTAMP…, DATE); then no format counts.
    """

    sql: str
    format: str | None
    timezone: str
    native: str = ""
    zone_sql: str = ""
    ambiguous: Ambiguous = "reject"


@dataclass(frozen=True, slots=True)
class MeterShape:
    """What each row becomes at one meter; ``when`` is an SQL condition."""

    meter_sql: str
    when: str | None
    fields: tuple[FieldShape, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read. ``columns`` are those of NDJSON; ``needed`` each file must have, ``bound`` at least one.

    ``mentions`` are SQL expressions that may name further columns. ``missing`` are texts that stand for an empty
    value in CSV.
    """

    format: InputFormat
    columns: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    delimiter: str = ","
    encoding: str = "utf-8"
    skip_lines: int = 0
    missing: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str = ""


@dataclass(frozen=True, slots=True)
class InputShape:
    """Where the rows are. Text files were copied into one, whose first column is the row's number.

    ``columns`` are those of the copy; of NDJSON, those that the mapping names. ``names`` are the files as people
    call them; ``bound`` are columns that Parquet must have. ``places`` and ``broken`` are CSV files: where rows lie
    in the files, and what is no row; ``rows`` is how many the copy has.
    """

    files: tuple[Path, ...]
    format: InputFormat
    columns: tuple[str, ...]
    names: tuple[str, ...]
    delimiter: str = ","
    missing: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str = ""
    bound: tuple[str, ...] = ()
    places: Path | None = None
    broken: Path | None = None
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Try:
    """An expression that is tried on each row, and the column of what it came to: a struct, NULL where it failed."""

    column: str
    sql: str

    @property
    def value(self) -> str:
        """SQL of the value."""
        return f"{identifier(self.column)}.value"

    @property
    def failed(self) -> str:
        """SQL: True on a row on which the expression fails."""
        return f"{identifier(self.column)} is null"


@dataclass(frozen=True, slots=True)
class UsageShape:
    """A whole mapping over one input. Bounds are epoch seconds: ``oldest`` None lets any age pass.

    ``longest_codes`` are the characters that meter and account may have. Without ``key_sql`` a row is known by
    everything in it, and by its place among equal ones. ``expressions`` are those that somebody wrote by hand,
    ``tries`` those of them that may fail on a row and cost that row alone.
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
    expressions: tuple[str, ...] = ()
    tries: tuple[Try, ...] = ()


def by_hand(sql: str) -> str:
    """An expression of a mapping within other SQL: a comment at its end ends there."""
    return f"({sql}\n)"


def identifier(name: str) -> str:
    """A column name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """A text as SQL writes it."""
    return "'" + str(text).replace("'", "''") + "'"
