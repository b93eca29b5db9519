"""The rows of ``lives/*.yaml``: what happens to a customer's subscriptions, and what m3ter holds in the end.

A life is a row: what happens to a customer's subscriptions on which day, in Chargebee's own
operations, and which account plans m3ter holds in the end, written by hand. ``03-20`` is noon
UTC of that day in 2026, ``04-01T00`` another hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).with_name("lives")
DAYS = ("03-18", "03-20", "03-24", "03-28", "04-02", "04-06", "05-03")
ITEMS = {
    "api": "api-pro-EUR-Monthly",
    "plus": "api-plus-EUR-Monthly",
    "yearly": "api-pro-EUR-Yearly",
    "support": "support-EUR-Monthly",
    "storage": "storage-EUR-Monthly",
    "messages": "messages-EUR-Monthly",
    "calls": "calls-EUR-Monthly",
    "usd": "api-pro-USD-Monthly",
    "storage-usd": "storage-USD-Monthly",
    "gbp": "api-pro-GBP-Monthly",
    "nowhere": "nowhere-EUR-Monthly",
    "legacy": "legacy-EUR-Monthly",
    "priority": "priority-EUR-Monthly",
}
PLANS = {
    "api": "api-pro-eur",
    "plus": "api-plus-eur",
    "yearly": "api-pro-eur",
    "support": "support-eur",
    "storage": "storage-eur",
    "messages": "messages-eur",
    "calls": "api-plus-eur",
    "usd": "api-pro-usd",
    "storage-usd": "storage-usd",
    "gbp": "api-pro-eur",
    "nowhere": "no-such-plan",
}


def epoch(text: str) -> int:
    """``03-20`` or ``03-20T07`` of 2026 as epoch seconds; noon where no hour is given."""
    day, _, hour = text.partition("T")
    moment = datetime.fromisoformat(f"2026-{day}T{hour or '12'}:00:00+00:00")
    return int(moment.timestamp())


def day(at: str | None) -> str:
    """An instant of m3ter in the notation of the rows."""
    if at is None:
        return "open"
    moment = datetime.fromisoformat(at).astimezone(UTC)
    if moment.minute or moment.second or moment.microsecond:
        return moment.isoformat()
    return f"{moment:%m-%d}" if moment.hour == 12 else f"{moment:%m-%dT%H}"


@dataclass(frozen=True, slots=True)
class Life:
    """One row; ``plans`` and ``set_aside`` are what is expected in the end."""

    name: str
    world: str
    covers: tuple[str, ...]
    seeds: Mapping[str, Mapping[str, Any]]
    steps: Mapping[str, list[dict[str, Mapping[str, Any]]]]
    plans: tuple[str, ...]
    once: tuple[str, ...]
    set_aside: tuple[str, ...]
    set_aside_once: tuple[str, ...]


def lives() -> list[Life]:
    """All rows of all files."""
    found = []
    for path in sorted(HERE.glob("*.yaml")):
        for name, row in yaml.safe_load(path.read_text()).items():
            plans = tuple(row["plans"])
            once = tuple(row.get("once", plans))
            seeds = row.get("seeds", {"s": {}})
            found.append(
                Life(
                    name,
                    row.get("world", "plain"),
                    tuple(row.get("covers", ())),
                    seeds,
                    row.get("steps", {}),
                    plans,
                    once,
                    tuple(row.get("set_aside", ())),
                    tuple(row.get("set_aside_once", row.get("set_aside", ()))),
                )
            )
    assert len({life.name for life in found}) == len(found), "two lives of one name"
    return found


WORLDS: dict[str, dict[str, str]] = {
    "plain": {},
    "other settings": {
        "METERBRIDGE_TRIAL": "billed",
        "METERBRIDGE_ON_PRODUCT_OVERLAP": "child_account",
        "METERBRIDGE_HIERARCHY": "all_with_child_billing",
    },
    "any change, overlap allowed": {"METERBRIDGE_REPLACE_ON": "any_change"},
    "the catalog changes": {"METERBRIDGE_REPLACE_ON": "mapped_plan"},
}
