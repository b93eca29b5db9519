"""What a run waited for, and how much of Chargebee's budget it used while it delivered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.services import Services

NAMES = {
    "chargebee_budget": "Chargebee's request budget",
    "m3ter_budget": "m3ter's request budget",
    "backed_off": "vendors that were busy or away",
    "ledger": "their turn in the ledger",
    "other_runs": "records that another run had in hand",
}
"""What can be waited for, and how people are told."""


def waited(work: Services) -> dict[str, float]:
    """Seconds waited so far, summed over threads, by what for."""
    chargebee, m3ter = work.chargebee.transport.traffic, work.m3ter.transport.traffic
    seconds = {
        "chargebee_budget": chargebee.waited_seconds - chargebee.backed_off_seconds,
        "m3ter_budget": m3ter.waited_seconds - m3ter.backed_off_seconds,
        "backed_off": chargebee.backed_off_seconds + m3ter.backed_off_seconds,
        "ledger": work.ledger.waited_seconds,
    }
    return {name: round(value, 3) for name, value in seconds.items()}


@dataclass(slots=True)
class Pace:
    """Requests to Chargebee while charges were delivered, and how long that took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    requests: int = 0

    @contextmanager
    def measured(self, work: Services) -> Iterator[None]:
        """Count what happens inside the block."""
        traffic = work.chargebee.transport.traffic
        began, cpu, before = time.monotonic(), time.process_time(), traffic.requests
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began
            self.cpu_seconds += time.process_time() - cpu
            self.requests += traffic.requests - before

    def shown(self, work: Services) -> dict[str, float]:
        """As the report has it; ``budget_share`` 1 is every request that the setting and the reserve allow."""
        settings = work.settings
        budget = settings.chargebee_requests_per_minute / 60 * (1 - settings.request_reserve)
        share = self.requests / (self.seconds * budget) if self.seconds else 0.0
        return {
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "requests": self.requests,
            "per_second": round(self.requests / self.seconds, 2) if self.seconds else 0.0,
            "budget_per_second": round(budget, 2),
            "budget_share": round(share, 4),
        }


def in_words(seconds: Mapping[str, float], delivering: Mapping[str, float]) -> str:
    """For people: what was waited for, the longest first."""
    long = [(value, NAMES[name]) for name, value in seconds.items() if value >= 0.1]
    told = ", ".join(f"{value:.1f} s for {what}" for value, what in sorted(long, reverse=True))
    words = f"Threads waited {told} (added up)." if told else "Nothing was waited for."
    if not delivering.get("requests"):
        return words
    return (
        f"Delivered {delivering['requests']:.0f} requests to Chargebee in {delivering['seconds']:.1f} s: "
        f"{delivering['per_second']:.1f} a second of {delivering['budget_per_second']:.1f}, "
        f"{delivering['budget_share']:.1%} of the budget. {words}"
    )
