"""The SQL that reads an input: its columns, and beside them the row's number, and whether it is a row at all."""

from __future__ import annotations

from collections.abc import Mapping

from meterbridge.staging.usage_lines import LONGEST_LINE
from meterbridge.staging.usage_shape import BROKEN, DOUBLED, LINE, ROW, SEPARATOR, InputShape, identifier, literal

_OPTIONS = (
    "header = false, auto_detect = false, new_line = '\\n', ignore_errors = true, store_rejects = true, "
    f"rejects_limit = 0, max_line_size = {4 * LONGEST_LINE}"
)
"""A copy is regular; should DuckDB find otherwise, the row is told. Quotes that are doubled may make a line longer."""

_JSON_NUMBERS = "('BIGINT', 'UBIGINT', 'HUGEINT', 'UHUGEINT', 'DOUBLE')"


def relation(source: InputShape) -> str:
    """A query over the input: its columns, and beside them :data:`ROW` and :data:`BROKEN`.

    NDJSON has :data:`LINE` and :data:`DOUBLED`, too.
    """
    match source.format:
        case "parquet":
            return _parquet(source)
        case "csv":
            empty = ", ".join(literal(text) for text in ("", *source.missing))
            columns = _typed({ROW: "BIGINT"} | dict.fromkeys(source.columns, "VARCHAR"))
            options = f"columns = {columns}, delim = {literal(source.delimiter)}, quote = '\"', escape = '\"'"
            read = f"read_csv({literal(source.files[0])}, {options}, nullstr = [{empty}], {_OPTIONS})"
            return f'select false as "{BROKEN}", * from {read}'
        case "ndjson":
            return _ndjson(source)


def whole_row(source: InputShape) -> str:
    """SQL: everything that a row of the input says, as one text; rows that differ anywhere have another."""
    if source.format == "ndjson":
        return f'"{LINE}"'
    texts = [f"cast({identifier(name)} as VARCHAR)" for name in source.columns]
    return "concat(" + ", ".join(f"coalesce(strlen({text}) || ':' || {text}, '-')" for text in texts) + ")"


def _parquet(source: InputShape) -> str:
    files = "[" + ", ".join(literal(path) for path in source.files) + "]"
    if len(source.files) == 1:
        number, columns, option = "file_row_number + 1", "* exclude (file_row_number)", "file_row_number"
    else:
        number, columns, option = "row_number() over ()", "*", "union_by_name"
    return f'select {number} as "{ROW}", false as "{BROKEN}", {columns} from read_parquet({files}, {option} = true)'


def _ndjson(source: InputShape) -> str:
    columns = _typed({ROW: "BIGINT", LINE: "VARCHAR"})
    options = f"columns = {columns}, delim = '{SEPARATOR}', quote = '', escape = ''"
    read = f"read_csv({literal(source.files[0])}, {options}, {_OPTIONS})"
    broken = f'not json_valid("{LINE}") or not starts_with(ltrim("{LINE}"), \'{{\')'
    # Texts as they are; where the mapping has a decimal sign of its own, JSON's numbers must be told from them.
    kind = "VARCHAR" if source.decimal == "." else "JSON"
    shape = "{" + ", ".join(f'"{_json_name(name)}":"{kind}"' for name in source.columns) + "}"
    line = f'case when "{BROKEN}" then \'{{}}\' else "{LINE}" end'
    values = ", ".join(f"{_value(source, name)} as {identifier(name)}" for name in source.columns) or "j"
    return (
        f'select "{ROW}", "{BROKEN}", "{LINE}", {_doubled(source)} as "{DOUBLED}", {values} from '
        f"(select *, json_transform({line}, {literal(shape)}) as j, json_keys({line}) as names "
        f'from (select *, {broken} as "{BROKEN}" from {read}))'
    )


def _doubled(source: InputShape) -> str:
    """The first name that is in the row's ``names`` again behind its first place; asking for all names is dearer."""
    again = "list_contains(names[list_position(names, {0}) + 1 :], {0})"
    cases = [f"when {again.format(name)} then {name}" for name in map(literal, source.columns)]
    return f"case {' '.join(cases)} end" if cases else "NULL::VARCHAR"


def _value(source: InputShape, name: str) -> str:
    value = f"j.{identifier(name)}"
    if source.decimal == ".":
        return value
    text = f"{value} ->> '$'"
    number = f"replace({text}, '.', {literal(source.decimal)})"
    return f"case when json_type({value}) in {_JSON_NUMBERS} then {number} else {text} end"


def _typed(types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{literal(name)}: '{kind}'" for name, kind in types.items()) + "}"


def _json_name(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
