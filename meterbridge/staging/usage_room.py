"""The room that a mapping's SQL runs in: the run's staging file, the sources named, and nothing else of the machine.

A mapping is written by hand, and often by somebody else than who runs it. Its expressions stay expressions, and see no
other file, no network, no extension, and change no setting.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from meterbridge.errors import SetupError
from meterbridge.staging.usage_shape import literal

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "threads": "2",
}
_NO_VALUE_OF_ONE_ROW = frozenset(
    (
        *("unnest", "unlist", "generate_subscripts", "regexp_split_to_table", "count_star"),
        *("geomean", "weighted_avg", "wavg", "json_group_array", "json_group_object", "json_group_structure"),
    )
)
"""Functions that make several rows of one, and DuckDB's macros over aggregates, which it does not list as such."""

_REMEDY = "Write an expression over the row's columns, as docs/howto/usage.md shows."


@contextmanager
def room(path: Path, sources: Iterable[Path], memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """The staging file, opened so that nothing but it and the sources can be reached, for the length of a block."""
    connection = duckdb.connect(str(path), config={**SETTINGS, "memory_limit": memory})
    try:
        allowed = ", ".join(literal(source) for source in sources)
        # The bar would go to stdout, where --json prints one object and nothing else.
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        connection.execute(f"SET allowed_paths = [{allowed}]")
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


def check_expressions(connection: duckdb.DuckDBPyConnection, name: str, expressions: Sequence[str]) -> None:
    """See that each is one expression, a value of each row, not the end of one statement and another's beginning.

    Raises:
        SetupError: MB-USAGE-MAPPING with the expression.
    """
    if not expressions:
        return
    model = _shape(_tree(connection, "1"))
    aggregates = "select distinct function_name from duckdb_functions() where function_type = 'aggregate'"
    refused = _NO_VALUE_OF_ONE_ROW | {name for (name,) in connection.execute(aggregates).fetchall()}
    for sql in expressions:
        tree = _tree(connection, sql)
        found = _shape(tree)
        if isinstance(found, str):
            raise SetupError("MB-USAGE-MAPPING", f"{name}: {sql[:100]}: {found}", remedy=_REMEDY)
        if found != model:
            raise SetupError("MB-USAGE-MAPPING", f"{name}: {sql[:100]} is no expression", remedy=_REMEDY)
        if (part := next(_of_no_row(tree, refused), None)) is not None:
            words = f"{name}: {sql[:100]}: {part} is no value of one row"
            raise SetupError("MB-USAGE-MAPPING", words, remedy=_REMEDY)


def _of_no_row(tree: object, refused: Set[str]) -> Iterator[str]:
    """Parts of an expression that have no value of the row alone; a subquery and a window have theirs."""
    if isinstance(tree, list):
        for one in tree:
            yield from _of_no_row(one, refused)
    elif isinstance(tree, dict) and tree.get("class") != "SUBQUERY":
        if tree.get("class") == "PARAMETER":
            yield "a parameter"
        if tree.get("class") == "FUNCTION" and str(tree["function_name"]).lower() in refused:
            yield f"{tree['function_name']}()"
        yield from _of_no_row(list(tree.values()), refused)


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """The expression as DuckDB reads it, selected alone."""
    rows = connection.execute("select json_serialize_sql($sql::VARCHAR)", {"sql": f"select (\n{sql}\n)"}).fetchall()
    tree: dict[str, Any] = json.loads(rows[0][0])
    return tree


def _shape(tree: Mapping[str, Any]) -> object:
    """What is around an expression when it is selected alone; a text if it cannot be read."""
    if tree["error"]:
        return str(tree["error_message"]).split("\n", maxsplit=1)[0]
    (statement,) = tree["statements"] if len(tree["statements"]) == 1 else ({},)
    node = dict(statement.get("node", {}))
    selected = node.pop("select_list", [])
    kinds = [one.get("class") for one in selected]
    return len(selected), "STAR" in kinds, node
