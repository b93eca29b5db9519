"""``tests/core.toml`` asks each flow every question, and names tests that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = tomllib.loads((ROOT / "tests/core.toml").read_text(encoding="utf-8"))
QUESTIONS = {"work", "dry_run", "lost_answer", "lost_ledger", "set_aside", "agree"}


def test_each_flow_has_an_answer_to_each_question() -> None:
    flows = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert set(CORE) - {"commands"} == flows
    assert {flow: QUESTIONS - set(rows) for flow, rows in CORE.items() if flow in flows} == {
        flow: set() for flow in flows
    }
    assert [flow for flow, rows in CORE.items() for answer in rows.values() if not answer] == []


def test_each_test_that_is_named_is_there() -> None:
    named = [name for rows in CORE.values() for answer in rows.values() if isinstance(answer, list) for name in answer]
    assert len(named) > 50
    assert len(named) == len(set(named))
    gone = []
    for name in named:
        file, _, function = name.partition("::")
        path = ROOT / "tests/flows" / file
        if not path.is_file() or not re.search(rf"^def {function}\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            gone.append(name)
    assert gone == []
