"""A mapping's SQL tried row by row: where it fails on a row, that row is rejected, and no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import duckdb

from meterbridge.staging.usage_relation import relation
from meterbridge.staging.usage_shape import InputShape, MeterShape, MomentShape, Try, UsageShape, by_hand, identifier

_TRY = "meterbridge:try"


def with_tries(connection: duckdb.DuckDBPyConnection, shape: UsageShape) -> UsageShape:
    """The shape with each expression that somebody wrote replaced by what it came to when it was tried.

    DuckDB tries no subquery, window or volatile function; such an expression stays as it is and must hold on
    every row.
    """
    written = dict.fromkeys(map(by_hand, shape.expressions))
    used = [sql for sql in written if sql in _used(shape) and _can_be_tried(connection, shape.source, sql)]
    tries = tuple(Try(f"{_TRY}{n}", sql) for n, sql in enumerate(used))
    stand_ins = {one.sql: one.value for one in tries}
    return replace(_replaced(shape, lambda sql: stand_ins.get(sql, sql)), tries=tries)


def sources(source: InputShape, tries: Sequence[Try]) -> str:
    """``source``, the input's rows, and ``tried``, the same with a column for each try; for a statement's ``with``.

    A try is a struct, so that its NULL tells a failure from an expression that came to nothing.
    """
    columns = "".join(f", try({{'value': {one.sql}}}) as {identifier(one.column)}" for one in tries)
    return f"with source as ({relation(source)}), tried as (select *{columns} from source)"


def tries_of(shape: UsageShape, meter: MeterShape) -> list[Try]:
    """The tries that a meter's rows depend on."""
    used = _used(replace(shape, meters=(meter,)))
    return [one for one in shape.tries if one.value in used]


def _can_be_tried(connection: duckdb.DuckDBPyConnection, source: InputShape, sql: str) -> bool:
    """True if the expression can be tried; one that is wrong altogether cannot, and is told when it is used."""
    try:
        connection.execute(f"describe {sources(source, [Try(_TRY, sql)])} select * from tried")
    except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException, duckdb.PermissionException):
        return False
    return True


def _used(shape: UsageShape) -> set[str]:
    """Every expression of the shape."""
    found: set[str] = set()

    def seen(sql: str) -> str:
        found.add(sql)
        return sql

    _replaced(shape, seen)
    return found


def _replaced(shape: UsageShape, by: Callable[[str], str]) -> UsageShape:
    def moment(given: MomentShape) -> MomentShape:
        return replace(given, sql=by(given.sql), zone_sql=given.zone_sql and by(given.zone_sql))

    meters = tuple(
        replace(
            meter,
            meter_sql=by(meter.meter_sql),
            when=meter.when and by(meter.when),
            fields=tuple(replace(field, sql=by(field.sql)) for field in meter.fields),
        )
        for meter in shape.meters
    )
    return replace(
        shape,
        account_sql=by(shape.account_sql),
        ts=moment(shape.ts),
        ets=None if shape.ets is None else moment(shape.ets),
        key_sql=tuple(by(sql) for sql in shape.key_sql),
        meters=meters,
    )
