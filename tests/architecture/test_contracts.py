"""The import contracts speak of every module: one that stands in none of them may import what it likes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
NO_ROOM = {"__init__", "sandbox"}
"""The package itself, and what stands apart under a contract of its own."""


def test_every_room_of_the_core_has_a_place_in_the_layers() -> None:
    (layers,) = [
        contract["layers"] for contract in CONTRACTS if contract["type"] == "layers" and "containers" not in contract
    ]
    placed = set(re.findall(r"meterbridge\.(\w+)", " ".join(layers)))
    here = {
        path.stem
        for path in (ROOT / "meterbridge").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert len(here) > 10
    assert here - NO_ROOM == placed


def test_the_floor_is_held_to_the_standard_library() -> None:
    floor = next(c for c in CONTRACTS if c["name"].startswith("The floor"))["source_modules"]
    rooms = {path.stem for path in (ROOT / "meterbridge").glob("*.py")} - {"__init__", "receiver"}
    assert {f"meterbridge.{room}" for room in rooms} <= set(floor)
