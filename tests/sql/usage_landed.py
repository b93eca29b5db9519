"""An input under a mapping, landed and judged as a run does it, with m3ter knowing whatever it names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meterbridge.staging.usage_file import REFERENCES, usage_opened
from meterbridge.usage_mapping import load_usage_mapping
from tasks.usage_input import UsageInput, open_files, shape_of

NOW = 1_773_738_000.0  # 2026-03-17T09:00:00Z
MAPPING = """\
name: calls
account: {constant: acme}
ts: ts
key: [id]
meters:
  - meter: api
    measure: {calls: calls}
"""


@dataclass(frozen=True)
class Judged:
    """``sent`` are the measurements that may go; ``rejected`` counts by reason, ``places`` says where the first lie."""

    given: UsageInput
    rows: int
    sent: list[dict[str, Any]]
    rejected: dict[str, int]
    places: dict[str, list[str]]
    shown: dict[str, str]

    @property
    def calls(self) -> list[float]:
        return [each["measure"]["calls"] for each in self.sent]

    @property
    def lines(self) -> dict[str, int]:
        """What became of the lines, zeros left out."""
        count = self.given.lines
        assert count is not None
        return {name: n for name in count.__slots__ if (n := getattr(count, name))}


def judged(
    folder: Path, files: dict[str, bytes | str], mapping: str = MAPPING, *, now: float = NOW, **more: str
) -> Judged:
    """Land files of this content, of whatever age; ``more`` are further keys of the mapping."""
    folder.mkdir(exist_ok=True)
    paths = []
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        paths.append(str(path))
    mapping_file = folder / "usage.yaml"
    mapping_file.write_text(mapping + "".join(f"{key}: {value}\n" for key, value in more.items()), encoding="utf-8")
    given = open_files(load_usage_mapping(mapping_file), paths, folder / "run-input")
    try:
        return judged_input(folder, given, now)
    finally:
        given.forget()


def judged_input(folder: Path, given: UsageInput, now: float = NOW) -> Judged:
    """Land what was opened."""
    with usage_opened(folder / "run.duckdb") as file:
        landed = file.land(shape_of(given, now, allow_old=True))
        for table in REFERENCES:
            file.refer(table, [])
        file.judge()
        file.summarise()
        reasons = file.reasons()
        return Judged(
            given,
            landed.rows,
            [json.loads(body) for body in file.first_sendable(1_000_000)],
            {reason: count for reason, count, *_ in reasons},
            {reason: places for reason, _, _, _, places in reasons},
            {reason: example for reason, _, _, example, _ in reasons},
        )


def csv_of(*rows: str, heading: str = "ts,id,calls") -> str:
    return "\n".join([heading, *rows]) + "\n"


def calls(*numbers: int, at: str = "2026-03-16T10:00:00Z") -> list[str]:
    """Sound rows, whose calls are their numbers."""
    return [f"{at},e{n},{n}" for n in numbers]
