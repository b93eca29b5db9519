"""Files and functions that one can read at once, and .sql files that say what they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "tasks", "connectors", "meterbridge")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
QUERIES = sorted((ROOT / "meterbridge" / "staging" / "sql").rglob("*.sql"))

MODULE_LINES = 400
FLOW_LINES = 60
FUNCTION_LINES = 40
ARGUMENTS = 5
QUERY_LINES = 80


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From the name to the last line, the docstring not counted."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def positions_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Arguments that a call may leave unnamed; those that must be named cannot be confused."""
    given = [*function.args.posonlyargs, *function.args.args]
    return len([argument for argument in given if argument.arg not in ("self", "cls")])


def statements(sql: str) -> list[str]:
    """The statements of a text, comments and the content of quotes left out."""
    bare = re.sub(r"'(?:[^']|'')*'", "''", re.sub(r"--[^\n]*", "", sql))
    return [statement.strip() for statement in bare.split(";") if statement.strip()]


def longer(paths: list[Path], limit: int) -> dict[str, int]:
    """Lines of each file that has more of them."""
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    return {name: count for name, count in lines.items() if count > limit}


def test_a_module_has_at_most_400_lines() -> None:
    assert longer(MODULES, MODULE_LINES) == {}


def test_a_flow_reads_as_a_table_of_contents_of_60_lines() -> None:
    assert longer([path for path in MODULES if path.parent == ROOT / "flows"], FLOW_LINES) == {}


def test_a_function_has_at_most_40_lines_and_5_unnamed_arguments() -> None:
    long, wide = [], []
    for path in MODULES:
        # A flow's parameters are a form that an operator fills in, a command's are options: neither is called by
        # position.
        free = named(path).startswith(("flows", "meterbridge/cli"))
        for f in functions(path):
            place = f"{named(path)}:{f.lineno} {f.name}"
            long += [f"{place}: {lines_of(f)} lines"] if lines_of(f) > FUNCTION_LINES else []
            wide += [place] if positions_of(f) > ARGUMENTS and not free else []
    assert (long, wide) == ([], [])


def test_a_query_has_at_most_80_lines_and_one_statement() -> None:
    assert longer(QUERIES, QUERY_LINES) == {}
    assert [named(path) for path in QUERIES if len(statements(path.read_text(encoding="utf-8"))) != 1] == []


def test_a_query_begins_with_grain_reads_and_why() -> None:
    found = {}
    for path in QUERIES:
        header = re.match(r"(?:--[^\n]*\n)+", path.read_text(encoding="utf-8"))
        found[named(path)] = re.findall(r"^-- ([a-z]+): \S", header.group(), re.MULTILINE)[:3] if header else []
    assert {name: words for name, words in found.items() if words != ["grain", "reads", "why"]} == {}


def test_a_query_makes_the_table_that_its_file_is_named_after() -> None:
    others = []
    for path in QUERIES:
        first, *_ = statements(path.read_text(encoding="utf-8"))
        if not re.match(rf"create or replace table {path.stem}\b", first, re.IGNORECASE):
            others.append(named(path))
    assert others == []


def test_a_check_says_whether_it_fails_or_warns() -> None:
    checks = [path for path in QUERIES if path.stem.startswith("chk_")]
    assert checks
    severity = re.compile(r"^-- severity: (fail|warn)$", re.MULTILINE)
    assert [named(path) for path in checks if not severity.search(path.read_text(encoding="utf-8"))] == []


def test_there_are_modules_and_queries_to_count() -> None:
    assert len(MODULES) > 200
    assert len(QUERIES) > 20
    assert sum(path.parent == ROOT / "flows" for path in MODULES) > 5
