"""What a play leaves: both vendors' rows, the writes by their keys, and what the bridge told. Comparable as text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meterbridge.sandbox import M3TER_ORGANIZATION_ID, World, snapshot
from tests.compare.bridge import Bridge
from tests.compare.writes import REFERENCE, Tap

ID = re.compile(r"[^/\"?&=\s]+")
PLACES = {"/api/v2/": "chargebee/", f"/organizations/{M3TER_ORGANIZATION_ID}/": "m3ter/"}
GONE = re.compile(r"\bli_[0-9A-Za-z]+")
"""The id of a line that no invoice has any more: which one it was has been compared while it stood."""
HERE = f"{Path(__file__).resolve().parents[2]}/"


@dataclass(frozen=True, slots=True)
class Ending:
    """JSON throughout. ``rows`` by table; ``writes`` and ``told`` are texts with how often there was each."""

    play: str
    rows: dict[str, list[Any]]
    writes: dict[str, int]
    told: list[str]
    notes: list[str]
    runs: int

    @classmethod
    def of(cls, play: str, bridge: Bridge, *, of_late: bool = False) -> Ending:
        """As things stand now; ids that the vendors drew are replaced by what the thing is.

        ``of_late``: only the writes since the last such ending, and only what was told since.
        """
        labels = snapshot._labels(bridge.world)
        vendors = snapshot.comparable(bridge.world)
        rows = {f"{vendor} {name}": part for vendor, tables in vendors.items() for name, part in tables.items()}
        rows["m3ter measurements"] = sorted(_measurements(bridge.world))
        told = sorted(named(text, labels).replace(HERE, "") for text in bridge.told)
        rows = json.loads(without_ids(json.dumps(rows, ensure_ascii=False)))
        ending = cls(play, rows, dict(_by_key(bridge.tap, labels)), told, bridge.notes, bridge.runs)
        if of_late:
            bridge.tap.forget()
            bridge.told = set()
        return ending

    def as_json(self) -> dict[str, Any]:
        """For the process that compares."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def named(text: str, labels: Mapping[str, str]) -> str:
    """A text with each vendor's id in it replaced by what it is the id of."""
    return without_ids(ID.sub(lambda found: labels.get(found[0], found[0]), text))


def without_ids(text: str) -> str:
    """A text without references, and without ids of lines that are gone."""
    return GONE.sub("a line that is gone", REFERENCE.sub("mb:…", text))


def _by_key(tap: Tap, labels: Mapping[str, str]) -> Counter[str]:
    """Requests with how often they came; those under one idempotency key are one entry, whatever the key's value."""
    groups: dict[str, Counter[str]] = {}
    alone: Counter[str] = Counter()
    for write in tap.writes:
        text = named(write.text, labels)
        for place, vendor in PLACES.items():
            text = text.replace(f"{write.method} {place}", f"{write.method} {vendor}")
        if write.key is None:
            alone[f"{text}, without a key"] += 1
        elif write.key in tap.earlier_keys:
            alone[f"{text}, under a key of before"] += 1
        else:
            groups.setdefault(write.key, Counter())[text] += 1
    return alone + Counter(", under one key: ".join(_counted(group)) for group in groups.values())


def _counted(group: Counter[str]) -> Iterator[str]:
    for text, times in sorted(group.items()):
        yield text if times == 1 else f"{text}, {times} times under one key"


def _measurements(world: World) -> Iterator[str]:
    """What m3ter will rate; one that came twice is here twice."""
    codes = {row["id"]: row["code"] for row in world.m3ter.accounts.rows()}
    for (account, meter), rows in world.m3ter.usage.rows.items():
        for row in rows:
            measures = {name: str(value) for name, value in row.measures.items()}
            yield f"{codes[account]} {meter} {row.ts_ms} {measures} {row.texts}"
