"""The usage mapping: which columns of a table become which m3ter measurements.

A YAML file that people edit, so that every mistake is told with its line number.
``docs/howto/usage.md`` explains it by example.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from meterbridge.checked_yaml import load_checked
from meterbridge.errors import SetupError

NUMBERS = ("measure", "cost", "income")
TEXTS = ("who", "what", "where", "other", "metadata")
MOST_METERS = 50
WHOLE_ROW = "whole_row"
"""As ``key``: a row is known by everything in it, and by its place among the rows that are equal in every column."""

NAMED_FORMATS = ("epoch_seconds", "epoch_ms", "epoch_us", "epoch_ns", "excel", "excel_1904")
_DIRECTIVES = "aAwudbBhmyYGVHIpMSfgnzZjUWcxX%"
_DAYS = frozenset("".join(sorted(parts)) for parts in ("Y", "Ym", "Ymd", "Yj", "GVu", "YUw", "YWw"))
"""The parts of a format that say a day (sorted letters): what another says beside them, nobody would read."""

_SAME = str.maketrans({"y": "Y", "b": "m", "B": "m", "h": "m", "I": "H", "A": "a", "g": "f", "n": "f", "Z": "z"})
"""Directives that say the same part in another way."""

_WHOLE = {"c": "YmdHMS", "x": "Ymd", "X": "HMS"}
"""Directives that stand for several."""

_TEXTUAL = "utf-8, utf-16, latin-1 or cp1252"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_min_length=1)


class Value(_Part):
    """Where a value comes from: a column, an SQL expression over the row, or a constant.

    ``empty`` says what becomes of a row that has none: it is rejected, or goes without the field.
    A plain text in the file is short for ``{column: that text}``.
    """

    column: str | None = None
    sql: str | None = None
    constant: str | int | None = None
    empty: Literal["reject", "leave_out"] = "reject"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_origin(self) -> Value:
        if [self.column, self.sql, self.constant].count(None) != 2:
            raise ValueError("name exactly one of column, sql and constant")
        return self


class Account(Value):
    """The account column; ``names`` says whether it holds m3ter account codes or Chargebee customer ids."""

    names: Literal["account", "customer"] = "account"


class Moment(Value):
    """A point in time. ``format`` as in strptime, or one of :data:`NAMED_FORMATS`; without it ISO 8601.

    ``timezone`` is the zone of texts that name none: an IANA name, or where each row says it. ``ambiguous``
    says which of both instants a local time is that clocks going back repeat.
    """

    format: str | None = None
    timezone: str | Value = "UTC"
    ambiguous: Literal["reject", "first", "second"] = "reject"

    @field_validator("timezone")
    @classmethod
    def _known(cls, zone: str | Value) -> str | Value:
        if isinstance(zone, Value):
            return zone
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as unknown:
            raise ValueError(f"{zone} is no IANA time zone, such as Europe/Berlin") from unknown
        return zone

    @field_validator("format")
    @classmethod
    def _understood(cls, given: str | None) -> str | None:
        if given is not None and given not in NAMED_FORMATS and (fault := _format_fault(given)):
            raise ValueError(f"{given} is no format: {fault}")
        return given


def _format_fault(text: str) -> str:
    """What is wrong with a strptime format; empty for a sound one."""
    if "%" not in text:
        return f"it is none of {', '.join(NAMED_FORMATS)}, and has no % as strptime's have"
    found = [name for _, name in re.findall(r"%(-?)(.?)", text, re.DOTALL)]
    strange = [name for name in found if not name or name not in _DIRECTIVES]
    if strange:
        return f"strptime knows no %{strange[0]}"
    if ("I" in found) != ("p" in found):
        return "%I and %p (AM, PM) go together; %H counts to 23"
    if found.count("z") + found.count("Z") > 1:
        return "it names the zone twice; keep %z or %Z, and write the other as a text"
    parts = "".join(_WHOLE.get(name, name).translate(_SAME) for name in found if name != "%")
    if twice := next((part for part in parts if parts.count(part) > 1), ""):
        said = [f"%{name}" for name in found if twice in _WHOLE.get(name, name).translate(_SAME)]
        return f"it says one thing twice, by {' and '.join(dict.fromkeys(said))}"
    if not set("YG") & set(parts):
        return "it has no year"
    days = "".join(sorted(set(parts) & set("YmdjGVuUWw")))
    if days not in _DAYS or ("a" in parts and days != "Ydm"):
        return "it says no day as %Y-%m-%d, %Y-%j, %G-W%V-%u, %Y-%U-%w or %Y-%W-%w do"
    times = "".join(part for part in "HMSf" if part in parts)
    return "" if "HMSf".startswith(times) else "it leaves out hours, minutes or seconds"


class Meter(_Part):
    """What each row becomes at one meter: field codes by category. ``when`` (SQL) says for which rows."""

    meter: Value
    when: str | None = None
    measure: dict[str, Value] = Field(default_factory=dict)
    cost: dict[str, Value] = Field(default_factory=dict)
    income: dict[str, Value] = Field(default_factory=dict)
    who: dict[str, Value] = Field(default_factory=dict)
    what: dict[str, Value] = Field(default_factory=dict)
    where: dict[str, Value] = Field(default_factory=dict)
    other: dict[str, Value] = Field(default_factory=dict)
    metadata: dict[str, Value] = Field(default_factory=dict)

    @field_validator("meter", mode="before")
    @classmethod
    def _code(cls, given: Any) -> Any:
        return {"constant": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _has_fields(self) -> Meter:
        codes = [code for category in (*NUMBERS, *TEXTS) for code in getattr(self, category)]
        if not codes:
            raise ValueError("a meter needs at least one field")
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise ValueError(f"the field {twice[0]} is in two categories")
        return self

    def fields(self) -> list[tuple[str, str, Value]]:
        """(category, code, value), in the order in which they are sent."""
        return [(part, code, value) for part in (*NUMBERS, *TEXTS) for code, value in getattr(self, part).items()]


class Query(_Part):
    """A SELECT on the database of METERBRIDGE_USAGE_SOURCE_URL, read from the last ``watermark`` on.

    The statement takes ``:since`` and ``:until``: rows with since < watermark <= until.
    """

    sql: str
    watermark: str
    start: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    hold_back_seconds: int = Field(300, ge=0)

    @field_validator("start")
    @classmethod
    def _zoned(cls, at: datetime) -> datetime:
        return at if at.tzinfo else at.replace(tzinfo=UTC)


class MeteredItem(_Part):
    """How rows become usage records of Chargebee's own metered billing.

    Rows of one subscription, item price and ``period`` (UTC) make one record, as the item's calculation says.
    """

    subscription: Value
    item_price: Value
    quantity: Value
    period: Literal["hour", "day", "month"] = "day"
    when: str | None = None

    @field_validator("item_price", mode="before")
    @classmethod
    def _id(cls, given: Any) -> Any:
        return {"constant": given} if isinstance(given, str) else given


class KeyPart(_Part):
    """A part of the key: a column, or an SQL expression over the row. A plain text in the file is a column."""

    column: str | None = None
    sql: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_origin(self) -> KeyPart:
        if (self.column is None) == (self.sql is None):
            raise ValueError("name exactly one of column and sql")
        return self


class UsageMapping(_Part):
    """The whole file, with ``account`` and ``meters`` for m3ter, ``chargebee`` for Chargebee, or both.

    ``name`` and ``key`` are part of every uid: do not change them once usage was sent.

    ``missing`` are texts that stand for an empty value in a CSV file, such as NA. ``encoding`` and ``skip_lines``
    are of text files, ``decimal`` and ``thousands`` of numbers that are texts.
    """

    name: str = Field(max_length=80, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    format: Literal["csv", "parquet", "ndjson"] | None = None
    delimiter: str = Field(",", max_length=1)
    encoding: str = "utf-8"
    skip_lines: int = Field(0, ge=0, le=1_000)
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'", "\u2019", "\u00a0", "\u202f", "_"] = ""
    missing: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    query: Query | None = None
    account: Account = Account(constant="none")
    ts: Moment
    ets: Moment | None = None
    key: Literal["whole_row"] | tuple[KeyPart, ...]
    meters: tuple[Meter, ...] = Field(default=(), max_length=MOST_METERS)
    chargebee: MeteredItem | None = None

    @field_validator("delimiter")
    @classmethod
    def _parts_fields(cls, sign: str) -> str:
        if sign in ('"', "\n", "\r", "\0"):
            raise ValueError("a quote or a line end cannot part fields")
        return sign

    @field_validator("encoding")
    @classmethod
    def _textual(cls, name: str) -> str:
        try:
            "a".encode(name)  # refuses codecs that make no text of bytes
            # Those that know no handling of errors but their own read names of hosts, not files.
            codecs.getincrementaldecoder(name)("surrogateescape").decode(b"a")
            return codecs.lookup(name).name
        except (LookupError, UnicodeError) as unknown:
            raise ValueError(f"{name} is no encoding of texts, such as {_TEXTUAL}") from unknown

    @field_validator("key", mode="before")
    @classmethod
    def _some(cls, given: Any) -> Any:
        if given == WHOLE_ROW or (isinstance(given, list | tuple) and given):
            return given
        raise ValueError(f"a key needs at least 1 column, or is {WHOLE_ROW}")

    @model_validator(mode="after")
    def _numbers_can_be_read(self) -> UsageMapping:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal}")
        return self

    @model_validator(mode="after")
    def _query_can_be_repeated(self) -> UsageMapping:
        if self.query is not None and (self.key == WHOLE_ROW or any(part.sql for part in self.key_parts())):
            raise ValueError("a query is read in the order of its key's columns: name columns, no sql, not whole_row")
        return self

    @model_validator(mode="after")
    def _has_target(self) -> UsageMapping:
        if not self.meters and self.chargebee is None:
            raise ValueError("name meters for m3ter, or chargebee")
        if self.meters and "account" not in self.model_fields_set:
            raise ValueError("meters need an account")
        return self

    def key_parts(self) -> tuple[KeyPart, ...]:
        """The parts that the file names; none for a key of the whole row."""
        return () if isinstance(self.key, str) else self.key

    def placing(self, to: str) -> list[Value]:
        """What says whose a row is, and of when: no row can go to ``to``, m3ter or chargebee, without it."""
        if to == "chargebee" and self.chargebee is not None:
            return [self.ts, self.chargebee.subscription, self.chargebee.item_price]
        return [self.account, self.ts]

    def measured(self, to: str) -> list[Value]:
        """What else is read from a row that goes to ``to``, but for the key."""
        if to == "chargebee" and self.chargebee is not None:
            found: list[Value | None] = [self.chargebee.quantity]
        else:
            found = [self.ets]
            for meter in self.meters:
                found += [meter.meter, *(value for _, _, value in meter.fields())]
        zones = [at.timezone for at in (self.ts, self.ets) if at is not None]
        return [value for value in (*found, *zones) if isinstance(value, Value)]

    def column_names(self) -> list[str]:
        """Every column that the file names, and those under ``columns``; SQL expressions may use these."""
        values = [value for to in ("m3ter", "chargebee") for value in (*self.placing(to), *self.measured(to))]
        named = [*(value.column for value in values), *(part.column for part in self.key_parts()), *self.columns]
        return list(dict.fromkeys(column for column in named if column is not None))

    def needed_columns(self, to: str) -> list[str]:
        """The columns without which no row can go."""
        found = [*(value.column for value in self.placing(to)), *(part.column for part in self.key_parts())]
        return list(dict.fromkeys(column for column in found if column is not None))

    def bound_columns(self, to: str) -> list[str]:
        """The columns of which at least one file must have each."""
        found = [value.column for value in self.measured(to)]
        return list(dict.fromkeys([*self.needed_columns(to), *(column for column in found if column is not None)]))

    def expressions(self) -> list[str]:
        """Every SQL expression of the file, that of the query aside."""
        values = [value for to in ("m3ter", "chargebee") for value in (*self.placing(to), *self.measured(to))]
        found = [*(value.sql for value in values), *(part.sql for part in self.key_parts())]
        found += [part.when for part in (*self.meters, self.chargebee) if part is not None]
        return [sql for sql in found if sql is not None]

    def widest(self) -> int:
        """How many fields the meter has that has most."""
        return max(len(meter.fields()) for meter in self.meters)

    def fingerprint(self) -> str:
        """Hash of what the file says, whatever its layout."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_usage_mapping(path: Path) -> UsageMapping:
    """Read and check the file.

    Raises:
        SetupError: MB-USAGE-MAPPING with file, line and what is wrong there.
    """
    missing = "Write one as docs/howto/usage.md shows, and name it with --mapping."
    mapping, _ = load_checked(path, UsageMapping, "MB-USAGE-MAPPING", missing=missing)
    if mapping is None:
        raise SetupError("MB-USAGE-MAPPING", f"{path} is empty", remedy=missing)
    return mapping
