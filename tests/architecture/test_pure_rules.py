"""Rules ask no clock and touch no file: what the import contracts cannot see."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "meterbridge" / "rules").rglob("*.py"))
IMPURE = {"now", "utcnow", "today", "open", "print", "input", "uuid1", "uuid4"}


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def test_a_rule_calls_no_clock_no_file_and_no_chance() -> None:
    assert len(RULES) > 20
    found = []
    for path in RULES:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        found += [f"{path.name}:{node.lineno} {called(node)}" for node in calls if called(node) in IMPURE]
    assert found == []
