"""The usage mapping: which columns of a table become which m3ter measurements.

A YAML file that people edit, so that every mistake is told with its line number.
``docs/howto/usage.md`` explains it by example.
"""

from __future__ import annotations

import hashlib
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
    """A point in time. ``format`` as in strptime, or ``epoch_seconds``, ``epoch_ms``; without it ISO 8601.

    ``timezone`` is the zone of texts that name none.
    """

    format: str | None = None
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as unknown:
            raise ValueError(f"{name} is no IANA time zone, such as Europe/Berlin") from unknown
        return name


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


class UsageMapping(_Part):
    """The whole file, with ``account`` and ``meters`` for m3ter, ``chargebee`` for Chargebee, or both.

    ``name`` and ``key`` are part of every uid: do not change them once usage was sent.

    ``missing`` are texts that stand for an empty value in a CSV file, such as NA.
    """

    name: str = Field(max_length=80, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    format: Literal["csv", "parquet", "ndjson"] | None = None
    delimiter: str = Field(",", max_length=1)
    missing: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    query: Query | None = None
    account: Account = Account(constant="none")
    ts: Moment
    ets: Moment | None = None
    key: tuple[str, ...] = Field(min_length=1)
    meters: tuple[Meter, ...] = Field(default=(), max_length=MOST_METERS)
    chargebee: MeteredItem | None = None

    @model_validator(mode="after")
    def _has_target(self) -> UsageMapping:
        if not self.meters and self.chargebee is None:
            raise ValueError("name meters for m3ter, or chargebee")
        if self.meters and "account" not in self.model_fields_set:
            raise ValueError("meters need an account")
        return self

    def column_names(self) -> list[str]:
        """Every column that the file names, and those under ``columns``; SQL expressions may use these."""
        values: list[Value | None] = [self.account, self.ts, self.ets]
        for meter in self.meters:
            values += [meter.meter, *(value for _, _, value in meter.fields())]
        if self.chargebee is not None:
            values += [self.chargebee.subscription, self.chargebee.item_price, self.chargebee.quantity]
        named = [value.column for value in values if value is not None and value.column is not None]
        return list(dict.fromkeys([*named, *self.key, *self.columns]))

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
