"""One sandbox with a synced customer, a mapping of calls, and files of usage."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flows.sync_subscriptions import sync_subscriptions
from flows.sync_usage import sync_usage
from meterbridge.sandbox import Sandbox
from tasks.report_usage import UsageReport

MAPPING = """\
name: calls
account: customer
ts: at
key: [id]
meters:
  - meter: api_calls
    measure: {calls: calls}
"""

Rows = list[dict[str, object]]


class Usage:
    """The sandbox's m3ter knows the account ``cust-single`` and the meter ``api_calls``."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.mapping = folder / "usage.yaml"
        self.mapping.write_text(MAPPING, encoding="utf-8")

    def file(self, rows: Sequence[Mapping[str, object]], name: str = "usage.csv") -> str:
        path = self.folder / name
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, ["customer", "at", "id", "calls"])
            writer.writeheader()
            writer.writerows(rows)
        return str(path)

    def sync(self, *sources: str, **options: object) -> UsageReport:
        return sync_usage.fn(str(self.mapping), list(sources), **options)

    def by_account(self) -> list[tuple[str, int]]:
        """(account code, calls) of each measurement that m3ter holds, sorted."""
        with self.sandbox.world.lock:
            state = self.sandbox.world.m3ter
            codes = {row["id"]: row["code"] for row in state.accounts.rows()}
            rows = [
                (codes[account], int(m.measures["calls"])) for (account, _), ms in state.usage.rows.items() for m in ms
            ]
        return sorted(rows)

    def accepted(self) -> list[int]:
        """The calls of each measurement that m3ter holds, sorted."""
        return sorted(calls for _, calls in self.by_account())


def open_usage(open_sandbox: Callable[..., Sandbox], folder: Path, **settings: str) -> Usage:
    """A sandbox whose ingest API does not slow the tests down."""
    sandbox = open_sandbox("single", METERBRIDGE_M3TER_INGEST_REQUESTS_PER_SECOND="1000", **settings)
    sync_subscriptions.fn()
    return Usage(sandbox, folder)


def rows(count: int, *, first: int = 0, customer: str = "cust-single", prefix: str = "e") -> Rows:
    """As many rows, a second apart; each row's calls are its own number."""
    return [
        {
            "customer": customer,
            "at": f"2026-03-16T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}Z",
            "id": f"{prefix}{n}",
            "calls": n,
        }
        for n in range(first, first + count)
    ]
