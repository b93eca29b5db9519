"""Parquet files of one input: a column that is of several types in them has one for all of them when it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from meterbridge.errors import SetupError
from meterbridge.staging.usage_shape import InputShape, UsageShape, identifier, literal

_WHOLE_NUMBERS = frozenset(
    f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
)
_LOCAL_TIMES = frozenset(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"))


def see_that_types_agree(connection: duckdb.DuckDBPyConnection, shape: UsageShape) -> None:
    """Refuse files that differ in the type of a column whose text or instant would be another for it.

    Read together, a local time beside an instant would count as UTC, and the key 1 beside the key 1.5 be 1.0.

    Raises:
        SetupError: MB-USAGE-INPUT with the column, both files and both types.
    """
    source = shape.source
    if len(source.files) == 1:
        return
    said = _said_as_they_are(shape)
    first: dict[str, tuple[str, str]] = {}
    others: dict[str, tuple[str, str]] = {}
    texts: set[str] = set()
    for file, name, kind in _columns(connection, source):
        column = name.casefold()
        if shape.key_sql and identifier(column) not in said:
            continue
        if kind == "VARCHAR":
            texts.add(column)  # then each file's value is written as a text by its own type
        found = first.setdefault(column, (file, kind))
        if _group(found[1]) != _group(kind):
            others.setdefault(column, (file, kind))
    for column, (file, kind) in others.items():
        if column not in texts:
            one, its = first[column]
            words = f"column {column} is {its} in {one} and {kind} in {file}"
            raise SetupError("MB-USAGE-INPUT", words, remedy=_ALIKE)


_ALIKE = "Send the files of each type by themselves, or write them alike; nothing was sent."


def _said_as_they_are(shape: UsageShape) -> set[str]:
    """The SQL, in small letters, of all values that are no numbers."""
    moments = [moment for moment in (shape.ts, shape.ets) if moment is not None]
    found = [shape.account_sql, *shape.key_sql, *(sql for at in moments for sql in (at.sql, at.zone_sql))]
    for meter in shape.meters:
        found += [meter.meter_sql, *(field.sql for field in meter.fields if not field.numeric)]
    return {sql.casefold() for sql in found}


def _columns(connection: duckdb.DuckDBPyConnection, source: InputShape) -> Iterator[tuple[str, str, str]]:
    """(file, column, type) of each column that is part of no other; a column of nothing but NULL has no type."""
    files = "[" + ", ".join(literal(path) for path in source.files) + "]"
    names = dict(zip(map(str, source.files), source.names, strict=True))
    rows: Sequence[tuple[str, str, int | None, str | None]] = connection.execute(
        f"select file_name, name, num_children, duckdb_type from parquet_schema({files})"
    ).fetchall()
    inside, file = 0, ""
    for path, name, children, kind in rows:
        if path != file:
            file, inside = path, 0  # the first is the file itself
        elif inside:
            inside += (children or 0) - 1
        else:
            inside = children or 0
            if kind and kind != '"NULL"':
                yield names[file], name, kind


def _group(kind: str) -> str:
    if kind in _WHOLE_NUMBERS:
        return "whole number"
    return "local time" if kind in _LOCAL_TIMES else kind
