"""Harm on purpose: which requests, and what happens to them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

HARMS = frozenset(
    {
        "drop_before",  # the connection closes, nothing was executed
        "commit_then_drop",  # executed, then the connection closes without an answer
        "error_after_commit",  # executed, answered with 500
        "html_503",  # answered by a proxy in HTML; executed first when `committed`
        "status_400",  # not executed: the vendor refuses it for good
        "status_429",  # not executed; Retry-After: `retry_after`
        "status_500",  # not executed
        "status_503",  # not executed, the vendor's own JSON
        "slow",  # waits `seconds`, then executes and answers
        "held",  # the connection closes at once; a Chargebee write under a key is executed `seconds` later,
        # or as soon as the faults are cleared
        "slow_after_commit",  # executes, then waits `seconds` before it answers
        "truncate",  # executed; half of the body, then the connection closes
        "lose_field",  # executed; the answer lacks `field`, everywhere or only in the object whose id is `record`
        "stale_list",  # a list shows the world as it was `seconds` ago
    }
)
_MATCH_KEYS = frozenset({"vendor", "method", "path", "nth", "request"})
_SPEC_KEYS = frozenset({"match", "harm", "times", "seconds", "retry_after", "committed", "field", "record"})


@dataclass(slots=True)
class Fault:
    """One harm. `nth` counts requests that match (1-based); `request` is a number of the log; `times` -1 is always."""

    harm: str
    vendor: str | None = None
    method: str | None = None
    path: re.Pattern[str] | None = None
    nth: int = 1
    request: int | None = None
    times: int = 1
    seconds: float = 5.0
    retry_after: int = 1
    committed: bool = False
    field: str = ""
    record: str | None = None
    seen: int = 0
    hits: int = 0

    @classmethod
    def from_json(cls, spec: dict[str, Any]) -> Fault:
        """Raises ValueError for an unknown harm or key."""
        match = spec.get("match", {})
        if spec.get("harm") not in HARMS:
            raise ValueError(f"no harm {spec.get('harm')}; there are {', '.join(sorted(HARMS))}")
        unknown = (set(spec) - _SPEC_KEYS) | (set(match) - _MATCH_KEYS)
        if unknown:
            raise ValueError(f"unknown in a fault: {', '.join(sorted(unknown))}")
        return cls(
            harm=spec["harm"],
            vendor=match.get("vendor"),
            method=match.get("method"),
            path=re.compile(match["path"]) if "path" in match else None,
            nth=int(match.get("nth", 1)),
            request=match.get("request"),
            times=int(spec.get("times", 1)),
            seconds=float(spec.get("seconds", 5)),
            retry_after=int(spec.get("retry_after", 1)),
            committed=bool(spec.get("committed", False)),
            field=str(spec.get("field", "")),
            record=spec.get("record"),
        )

    def strikes(self, number: int, vendor: str, method: str, path: str) -> bool:
        """True if this request is harmed; counts it."""
        if self.vendor not in (None, vendor) or self.method not in (None, method):
            return False
        if self.path is not None and not self.path.search(path):
            return False
        if self.request is not None and number < self.request:
            return False
        self.seen += 1
        past = self.seen - (1 if self.request is not None else self.nth)
        if past < 0 or (self.times >= 0 and past >= self.times):
            return False
        self.hits += 1
        return True

    def as_json(self) -> dict[str, Any]:
        return {"harm": self.harm, "seen": self.seen, "hits": self.hits, "times": self.times}


def without(body: Any, field: str, record: str | None) -> Any:
    """The JSON value without that attribute; only inside the object of that id if one is named."""
    if isinstance(body, list):
        return [without(each, field, record) for each in body]
    if not isinstance(body, dict):
        return body
    inside = None if body.get("id") == record else record
    return {name: without(value, field, inside) for name, value in body.items() if inside is not None or name != field}


@dataclass(slots=True)
class Faults:
    """All faults in force; the first that strikes wins."""

    active: list[Fault] = field(default_factory=list)

    def add(self, specs: list[dict[str, Any]]) -> None:
        self.active.extend([Fault.from_json(spec) for spec in specs])

    def clear(self) -> None:
        self.active.clear()

    def strike(self, number: int, vendor: str, method: str, path: str) -> Fault | None:
        return next((fault for fault in self.active if fault.strikes(number, vendor, method, path)), None)
