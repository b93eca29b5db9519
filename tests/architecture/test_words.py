"""Names say what a thing is, and nothing in the project speaks of the machine it was written on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "tasks", "connectors", "meterbridge")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
BANNED = {"manager", "helper", "helpers", "utils", "common", "misc", "process", "handle", "data", "info"}

# Methods that the standard library calls by this name.
GIVEN_TO_US = {"process_bind_param", "data_received"}

# Joined here, so that this file does not hold what it looks for.
ELSEWHERE = re.compile(
    "|".join(
        [
            r"(?<![\w.])/" + r"(?:root|work|Users)/",
            r"/home/" + r"(?!bridge/)\w+/",
            r"\b(?:test\.)?py" + r"pi\.org\b",
            r"\bfiles\.python" + r"hosted\.org\b",
            r"\.\./" + r"shared\b",
            r"\b(?:TO" + r"DO|FIX" + r"ME)\b",
        ]
    )
)
NOT_OURS = {".git", ".venv", "node_modules", "dist", "build", "__pycache__", "htmlcov", ".coverage", "LICENSE", ".env"}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def names_given(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a module gives of its own will: to classes, functions, arguments and variables."""
    named_for_us: set[ast.arg] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name in GIVEN_TO_US:
                named_for_us.update(argument for argument in ast.walk(node) if isinstance(argument, ast.arg))
            else:
                yield node.name, node.lineno
        elif node in named_for_us:
            continue
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def texts() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.endswith("_cache") or part == ".hypothesis" for part in parts)
        if (
            path.is_file()
            and not hidden
            and not NOT_OURS.intersection(parts)
            and path.suffix not in (".pyc", ".duckdb")
        ):
            yield path


def test_no_name_holds_a_word_that_says_nothing() -> None:
    found = []
    for path in MODULES:
        given = [*names_given(ast.parse(path.read_text(encoding="utf-8"))), (path.stem, 0), (path.parent.name, 0)]
        found += [f"{named(path)}:{line} {name}" for name, line in given if BANNED & words(name)]
    assert found == []


def test_no_file_speaks_of_a_machine_a_registry_or_unfinished_work() -> None:
    found, looked_at = [], list(texts())
    assert len(looked_at) > len(MODULES)
    for path in looked_at:
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if match := ELSEWHERE.search(line):
                found.append(f"{named(path)}:{number}: {match.group()}")
    assert found == []
