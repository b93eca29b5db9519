"""The docs say what the code does: every setting, error code, command and staging table is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from meterbridge.errors import CODES
from meterbridge.settings import Settings, variable
from meterbridge.staging import shapes

ROOT = Path(__file__).parents[2]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_a_setting_is_in_the_reference_and_in_the_example() -> None:
    reference, example = read("docs/reference/settings.md"), read(".env.example")
    fields = {variable(name): str(field.description) for name, field in Settings.model_fields.items()}
    assert len(fields) > 50
    assert [name for name in fields if f"| `{name}` |" not in reference] == []
    assert [name for name, description in fields.items() if description not in reference] == []
    assert [name for name in fields if f"{name}=" not in example] == []


def test_no_setting_is_documented_that_is_gone() -> None:
    known = {variable(name) for name in Settings.model_fields}
    for path in ("docs/reference/settings.md", ".env.example"):
        named = set(re.findall(r"\b(?:METERBRIDGE|CHARGEBEE|M3TER)_[A-Z0-9_]+\b", read(path)))
        assert named
        assert named <= known


def test_an_error_code_is_in_the_reference() -> None:
    reference = read("docs/reference/error-codes.md")
    rows = {code: f"| `{code}` | {known.meaning} | {known.remedy} |" for code, known in CODES.items()}
    assert len(rows) > 50
    assert [row for row in rows.values() if row not in reference] == []


def test_codes_in_the_source_are_in_the_table() -> None:
    folders = ("flows", "tasks", "connectors", "meterbridge")
    all_used = set()
    for path in [path for folder in folders for path in (ROOT / folder).rglob("*.py")]:
        used = set(re.findall(r"\"(MB-[A-Z-]+[A-Z])\"", path.read_text(encoding="utf-8")))
        assert used <= set(CODES), path
        all_used |= used
    assert all_used == set(CODES)


def test_every_staging_table_is_described() -> None:
    text = read("docs/reference/staging-tables.md")
    made = {path.stem for path in (ROOT / "meterbridge/staging/sql").rglob("*.sql")}
    landed = {f"raw_chargebee__{name}" for name in shapes.CHARGEBEE} | set(shapes.TEXT)
    assert made
    assert {table for table in made | landed if f"`{table}`" not in text} == set()


def test_every_command_is_described() -> None:
    from typer.main import get_command

    from meterbridge.cli.main import app

    text = read("docs/reference/commands.md")
    groups = get_command(app).commands  # type: ignore[attr-defined]
    names = [f"{name} {sub}" for name, c in groups.items() for sub in getattr(c, "commands", {})] + [
        name for name, c in groups.items() if not hasattr(c, "commands")
    ]
    assert names
    assert {name for name in names if f"`meterbridge {name}" not in text} == set()


def test_every_switch_and_fault_of_the_sandbox_is_described() -> None:
    from dataclasses import fields

    from meterbridge.sandbox.control import _ENDPOINTS
    from meterbridge.sandbox.faults import HARMS
    from meterbridge.sandbox.switches import Switches

    text = read("docs/reference/sandbox.md")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    defaults = {each.name: getattr(Switches(), each.name) for each in fields(Switches)}
    described = {row[0].strip("`"): row[1].strip("`") for row in rows if len(row) == 3}
    assert described == {
        name: "all" if isinstance(value, list) else json.dumps(value) for name, value in defaults.items()
    }
    assert {row[0].strip("`") for row in rows if len(row) == 2 and "/" not in row[0]} == HARMS
    assert {name for _, name in _ENDPOINTS if f"/_sandbox/{name}`" not in text} == set()
