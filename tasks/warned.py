"""Gather warnings of a run's writes, and notes on account plans left as they are: for report and ``--json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meterbridge.rules.keys import key_from_text, shown
from meterbridge.staging.database import Staging


@dataclass(frozen=True, slots=True)
class Warned:
    """Warnings of intended writes, one row each, and sentences on account plans that are left as they are."""

    warnings: list[dict[str, Any]]
    left: list[str]

    @classmethod
    def read(cls, file: Staging) -> Warned:
        """Read both from the run's staging file."""
        return cls(warnings_of(file), left_so(file))

    def shown(self, notes: Sequence[str]) -> dict[str, Any]:
        """Both as the report has them, after the notes of what was delivered."""
        return {"notes": [*notes, *self.left], "warnings": self.warnings}


def warnings_of(file: Staging) -> list[dict[str, Any]]:
    """Return the warnings of the intended writes, one row each, in the order of the writes."""
    rows = file.rows("select kind, key, warnings from out_intents where warnings <> '[]' order by rowid")
    return [
        {"kind": row["kind"], "key": list(key_from_text(row["key"])), "warning": warning}
        for row in rows
        for warning in json.loads(row["warnings"])
    ]


def left_so(file: Staging) -> list[str]:
    """How many account plans are left as they are although one would make them otherwise, and why."""
    rows = file.rows(
        "select message, count(*) as n from out_set_aside "
        "where decision = 'unchanged' and kind = 'account_plan' group by all order by all"
    )
    return [f"account plans: {row['n']} {row['message']}" for row in rows]


def warning_lines(warnings: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    """A section of the report: the first warnings, and how many there are."""
    if not warnings:
        return []
    rows = [f"| `{shown(tuple(row['key']))}` | {row['warning']} |" for row in warnings]
    return ["", f"## Warnings ({count})", "", "| record | what it brings |", "|---|---|", *rows]
