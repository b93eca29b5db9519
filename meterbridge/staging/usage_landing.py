"""An input on its way into ``stg_usage``: each meter's rows judged by what they say, and all that is no row beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from meterbridge.errors import BrokenInvariant, SetupError
from meterbridge.staging.usage_headings import listed, missing_columns
from meterbridge.staging.usage_parquet import see_that_types_agree
from meterbridge.staging.usage_relation import relation
from meterbridge.staging.usage_room import check_expressions
from meterbridge.staging.usage_shape import BROKEN, LINE, ROW, FieldShape, MomentShape, UsageShape, literal
from meterbridge.staging.usage_sql import CREATE_USAGE, land_meter
from meterbridge.staging.usage_tries import sources, with_tries

_NUMBERS = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINY", "USMALL", "UINT", "UBIG", "UHUGE", "DEC", "DOUBLE",
    "FLOAT",
)  # fmt: skip
_NAMES = "(select unnest($names::VARCHAR[]) as name, generate_subscripts($names::VARCHAR[], 1) - 1 as file)"
_OUR_OWN = (
    duckdb.OutOfMemoryException, duckdb.TransactionException, duckdb.FatalException,
)  # fmt: skip
"""Troubles of the staging file, not of the input."""


@dataclass(frozen=True, slots=True)
class Landed:
    """``rows`` and ``measurements``, sound or not, with what is no row among both; ``read``: rows of the files."""

    shape: UsageShape
    rows: int
    measurements: int
    read: int


def land(connection: duckdb.DuckDBPyConnection, shape: UsageShape) -> Landed:
    """Read the input once a meter.

    Raises:
        SetupError: MB-USAGE-INPUT or MB-USAGE-MAPPING, the input cannot be read so, or has no such column.
    """
    landing = _Landing(connection, shape)
    try:
        return landing.all()
    except _OUR_OWN:
        raise
    except (
        duckdb.BinderException,
        duckdb.ParserException,
        duckdb.CatalogException,
        duckdb.PermissionException,
    ) as failure:
        words = f"{shape.name}: {first_line(failure)}; the columns are: {listed(landing.columns)}"
        raise SetupError("MB-USAGE-MAPPING", words, remedy="Correct the expression or the name.") from failure
    except duckdb.Error as failure:
        if isinstance(failure, duckdb.IOException) and "write" in str(
            failure
        ):  # the same kind tells of a source that cannot be read
            raise
        raise SetupError(
            "MB-USAGE-INPUT", f"{shape.name}: {first_line(failure)}",
            remedy="Correct the input, or the mapping's SQL where that fails on a row; nothing was sent.",
        ) from failure  # fmt: skip


def first_line(failure: duckdb.Error) -> str:
    """What DuckDB says, without its advice."""
    return " ".join(str(failure).split("\n")[:2]).partition(" Candidate bindings")[0][:400]


class _Landing:
    def __init__(self, connection: duckdb.DuckDBPyConnection, shape: UsageShape) -> None:
        self._connection = connection
        self._shape = shape
        self.columns: tuple[str, ...] = shape.source.columns

    def all(self) -> Landed:
        for table in ("reject_errors", "reject_scans"):
            self._connection.execute(f"drop table if exists {table}")
        self._connection.execute(CREATE_USAGE)
        self._connection.execute("create or replace table out_usage_resent (first BIGINT, last BIGINT)")
        check_expressions(self._connection, self._shape.name, self._shape.expressions)
        self._know_columns()
        self._shape = with_tries(self._connection, self._shape)
        self._know_types()
        zones = self._zones()
        for place in range(len(self._shape.meters)):
            self._connection.execute(land_meter(self._shape, place, zones))
        read = self._land_places()
        self._land_broken_lines()
        self._see_that_none_is_missing(read)
        broken = self._one("select coalesce(sum(lines), 0) from stg_usage_lines")
        measurements = self._one("select count(*) from stg_usage")
        rows = self._one("select count(distinct source_row) from stg_usage") if self._several else measurements
        return Landed(self._shape, rows + broken, measurements + broken, read)

    @property
    def _several(self) -> bool:
        return len(self._shape.meters) > 1

    def _know_columns(self) -> None:
        source = self._shape.source
        if source.format != "parquet":
            return
        described = self._rows(f"select column_name from (describe {relation(source)})")
        self.columns = tuple(name for (name,) in described if name not in (ROW, BROKEN, LINE))
        known = {name.casefold() for name in self.columns}
        if lacking := [name for name in source.bound if name.casefold() not in known]:
            raise missing_columns(source.names[0], lacking, self.columns)
        see_that_types_agree(self._connection, self._shape)
        self._shape = replace(self._shape, source=replace(source, columns=self.columns))

    def _know_types(self) -> None:
        """The types that the input's columns have themselves."""
        shape = self._shape
        fields = [field for meter in shape.meters for field in meter.fields if field.numeric]
        moments = [moment for moment in (shape.ts, shape.ets) if moment is not None]
        wanted = list(dict.fromkeys([*(field.sql for field in fields), *(moment.sql for moment in moments)]))
        selected = ", ".join(f"{sql} as c{n}" for n, sql in enumerate(wanted))
        given = sources(shape.source, shape.tries)
        types = self._rows(f"select column_type from (describe {given} select {selected} from tried as source)")
        known = {sql: str(kind) for sql, (kind,) in zip(wanted, types, strict=True)}
        meters = tuple(
            replace(meter, fields=tuple(_typed_field(field, known) for field in meter.fields)) for meter in shape.meters
        )
        ets = None if shape.ets is None else _typed_moment(shape.ets, known)
        self._shape = replace(shape, meters=meters, ts=_typed_moment(shape.ts, known), ets=ets)

    def _zones(self) -> list[str]:
        """The names of time zones that a row may say: places, for other names mean several things.

        Raises:
            SetupError: MB-USAGE-MAPPING, DuckDB does not know the mapping's own zone.
        """
        known = [str(zone) for (zone,) in self._rows("select name from pg_timezone_names()")]
        for moment in (self._shape.ts, self._shape.ets):
            if moment is not None and moment.timezone not in known:
                words = f"{self._shape.name}: no time zone {moment.timezone} is known"
                raise SetupError("MB-USAGE-MAPPING", words, remedy="Name a place, such as Europe/Berlin, or UTC.")
        return [zone for zone in known if "/" in zone]

    def _land_places(self) -> int:
        """Where rows lie in the files; returns how many rows these have."""
        source = self._shape.source
        self._connection.execute(
            "create or replace table ref_usage_places (first_row BIGINT, file VARCHAR, line BIGINT, unit VARCHAR)"
        )
        if source.format == "parquet":
            files = "[" + ", ".join(literal(path) for path in source.files) + "]"
            counts = [
                int(count) for _, count in self._rows(f"select file_name, num_rows from parquet_file_metadata({files})")
            ]
            firsts = [1 + sum(counts[:place]) for place in range(len(counts))]
            self._connection.execute(
                "insert into ref_usage_places select unnest($firsts::BIGINT[]), unnest($names::VARCHAR[]), 1, 'row'",
                {"firsts": firsts, "names": list(source.names)},
            )
            return sum(counts)
        assert source.places is not None
        types = "{'first_row': 'BIGINT', 'file': 'INTEGER', 'line': 'BIGINT'}"
        read = f"read_csv({literal(source.places)}, columns = {types}, header = false, auto_detect = false)"
        self._connection.execute(
            f"insert into ref_usage_places select first_row, name, line, 'line' from {read} join {_NAMES} using (file) "
            "order by first_row",
            {"names": list(source.names)},
        )
        return source.rows

    def _land_broken_lines(self) -> None:
        """What is no row by the copy's account, and what DuckDB's reader thinks none."""
        source = self._shape.source
        self._connection.execute(
            "create or replace table stg_usage_lines "
            "(file VARCHAR, line BIGINT, lines BIGINT, reason VARCHAR, subject VARCHAR)"
        )
        if source.broken is None:
            return
        types = "{'file': 'INTEGER', 'line': 'BIGINT', 'lines': 'BIGINT', 'reason': 'VARCHAR', 'subject': 'VARCHAR'}"
        self._connection.execute(
            f"insert into stg_usage_lines select name, line, lines, reason, subject from read_csv("
            f"{literal(source.broken)}, columns = {types}, header = false, auto_detect = false, quote = '\"') "
            f"join {_NAMES} using (file)",
            {"names": list(source.names)},
        )
        if self._one("select count(*) from duckdb_tables() where table_name = 'reject_errors'"):
            self._connection.execute(
                "insert into stg_usage_lines select file, line + number - first_row, 1, 'unreadable_line', message "
                "from (select try_cast(split_part(csv_line, $sign, 1) as BIGINT) as number, "
                "any_value(error_message) as message from reject_errors group by number) as refused "
                "asof join ref_usage_places on number >= first_row",
                {"sign": source.delimiter},
            )

    def _see_that_none_is_missing(self, read: int) -> None:
        """Raise BrokenInvariant if rows of the copy neither landed nor are told."""
        if self._several or self._shape.meters[0].when or self._shape.source.format == "parquet":
            return
        landed = self._one("select count(*) from stg_usage")
        refused = 0
        if self._one("select count(*) from duckdb_tables() where table_name = 'reject_errors'"):
            refused = self._one("select count(distinct line) from reject_errors")
        if landed + refused != read:
            raise BrokenInvariant("MB-INVARIANT", f"{read} rows were read, {landed} landed and {refused} were refused")

    def _one(self, query: str) -> int:
        return int(self._rows(query)[0][0])

    def _rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()


def _typed_field(field: FieldShape, known: dict[str, str]) -> FieldShape:
    native = known[field.sql] if field.numeric else ""
    return replace(field, native=native if native.startswith(_NUMBERS) else "")


def _typed_moment(moment: MomentShape, known: dict[str, str]) -> MomentShape:
    native = known[moment.sql]
    return replace(moment, native=native if native.startswith(("TIMESTAMP", "DATE")) else "")
