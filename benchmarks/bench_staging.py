"""Landing, staging and deciding 50,000 subscriptions: records a second, CPU seconds per 10,000, peak memory.

Run from the root: ``python -m benchmarks.bench_staging [subscriptions]``. List pages of 100 are written to a file
first; nothing of that is measured. Every round is a process of its own, so its peak memory is its own. The yardstick
in the same run is what a plain script would do: ``json.loads`` each page, ``executemany`` into a sqlite3 file. It types
the same fields and decides nothing, so it stands beside the first two lines, not beside the last.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from meterbridge.rules.account_plans import PlanPolicy, decide_customer
from meterbridge.rules.accounts import AccountPolicy
from meterbridge.rules.records import Intent
from meterbridge.staging.database import Staging, opened
from tasks import decide_subscriptions as assembly
from tasks.stage import CUSTOMER_CASES, SUBSCRIPTIONS
from tasks.under_way import UnderWay

SUBSCRIPTIONS_IN_ALL = 50_000
PAGE = 100
ROUNDS = 3
NOW = datetime(2026, 3, 17, 9, tzinfo=UTC)
MONTH = (1_772_323_200, 1_775_001_600)
"""March 2026 in UTC, epoch seconds: everybody's current term."""

PLANS = {"api-pro-EUR-Monthly": "api-pro-eur", "storage-EUR-Monthly": "storage-eur"}


class Measured(TypedDict):
    """One step of one round: wall and CPU seconds."""

    wall: float
    cpu: float


class Round(TypedDict):
    """What a process reports: its steps, its decisions, and memory in MB before the first step and at the peak."""

    steps: dict[str, Measured]
    intents: int
    memory_before: float
    memory_peak: float


def subscription(number: int) -> dict[str, Any]:
    """A list entry as Chargebee sends it: every fifth has a second item, every fiftieth one that is not mapped."""
    items = [{"item_price_id": "api-pro-EUR-Monthly", "item_type": "plan", "quantity": 1, "unit_price": 4900}]
    if number % 5 == 0:
        items.append({"item_price_id": "storage-EUR-Monthly", "item_type": "addon", "quantity": 2, "unit_price": 900})
    if number % 50 == 0:
        items.append({"item_price_id": "support-EUR-Monthly", "item_type": "addon", "quantity": 1, "unit_price": 0})
    updated = MONTH[0] + number
    customer = {
        "id": f"cust-{number:06d}",
        "company": f"Customer {number}",
        "first_name": "Ada",
        "email": f"billing@{number}.example",
        "phone": "+49 30 000000",
        "preferred_currency_code": "EUR",
        "billing_address": {"line1": "Quay 1", "city": "Bremen", "zip": "28195", "country": "DE"},
        "auto_collection": "on",
        "updated_at": updated,
        "resource_version": updated * 1000,
        "deleted": False,
        "object": "customer",
    }
    row = {
        "id": f"sub-{number:06d}",
        "customer_id": customer["id"],
        "status": "active",
        "currency_code": "EUR",
        "billing_period": 1,
        "billing_period_unit": "month",
        "start_date": 1_767_225_600,
        "started_at": 1_767_225_600,
        "activated_at": 1_767_225_600,
        "current_term_start": MONTH[0],
        "current_term_end": MONTH[1],
        "next_billing_at": MONTH[1],
        "created_at": 1_767_225_600 + number,
        "updated_at": updated,
        "resource_version": updated * 1000,
        "has_scheduled_changes": False,
        "deleted": False,
        "subscription_items": items,
        "meta_data": {"tier": "gold"},
        "object": "subscription",
    }
    return {"subscription": row, "customer": customer}


def write_pages(path: Path, count: int) -> None:
    """One list page a line, as it would come from the socket."""
    with path.open("wb") as file:
        for first in range(0, count, PAGE):
            entries = [subscription(number) for number in range(first, min(first + PAGE, count))]
            file.write(json.dumps({"list": entries, "next_offset": str(first)}).encode() + b"\n")


def pages(path: Path) -> Iterator[bytes]:
    """The pages, one at a time."""
    with path.open("rb") as file:
        yield from file


@contextmanager
def measured(steps: dict[str, Measured], name: str) -> Iterator[None]:
    """Wall and CPU seconds of the block, all threads of the process included."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    steps[name] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def peak() -> float:
    """Most memory this process ever had, in MB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1_048_576 if sys.platform == "darwin" else 1024)


def run_bridge(path: Path, folder: Path) -> Round:
    """The bridge's own functions, as the tasks of ``sync_subscriptions`` call them."""
    steps: dict[str, Measured] = {}
    with opened(folder / "run.duckdb") as file:
        before = peak()
        with measured(steps, "land"):
            file.land_pages("subscriptions", pages(path))
        _land_catalog(file)
        with measured(steps, "stage"):
            for stage in (SUBSCRIPTIONS, CUSTOMER_CASES):
                for table in stage.tables:
                    file.make(stage.resource, table, {"until": int(time.time())})
        with measured(steps, "decide"):
            intents = _decide(file)
    return {"steps": steps, "intents": intents, "memory_before": before, "memory_peak": peak()}


def _land_catalog(file: Staging) -> None:
    file.land_rows("ref_catalog_plans", ({"item_price": price, "plan": code} for price, code in PLANS.items()))
    for code in PLANS.values():
        plan = {"id": f"plan-{code}", "code": code, "planTemplateId": f"template-{code}"}
        file.land_rows("raw_m3ter__plans", [plan])
        template = {"id": f"template-{code}", "code": code, "currency": "EUR", "productId": f"product-{code}"}
        file.land_rows("raw_m3ter__plan_templates", [template])


def _decide(file: Staging) -> int:
    accounts = AccountPolicy(
        placeholder_email_domain="invalid.example",
        hierarchy="invoice_owner",
        all_customers=False,
        accounts_only=frozenset(),
        accounts_except=frozenset(),
    )
    plans = PlanPolicy(
        trial="free",
        replace_on="material",
        on_product_overlap="quarantine",
        allow_overlapping_plans=False,
        hierarchy="invoice_owner",
        now=NOW,
    )
    targets = {row["item_price"]: assembly._target(row) for row in file.rows("select * from ref_plan_targets")}
    return sum(
        isinstance(decision, Intent)
        for row in file.rows("select * from int_customers order by id")
        for decision in decide_customer(assembly._case(row, targets, UnderWay(()), prefix=""), accounts, plans)
    )


def run_yardstick(path: Path, folder: Path) -> Round:
    """What a plain script would do to land and type the same fields."""
    steps: dict[str, Measured] = {}
    names = [name for name, value in subscription(0)["subscription"].items() if not isinstance(value, list | dict)]
    before = peak()
    database = sqlite3.connect(folder / "yardstick.sqlite3")
    with database, measured(steps, "yardstick"):
        database.execute(f"create table subscriptions ({', '.join(names)})")
        database.execute("create table items (subscription_id, item_price_id, item_type, quantity, unit_price)")
        database.execute("create table customers (id, company, email, currency, line1, city, zip, country)")
        for page in pages(path):
            entries = json.loads(page)["list"]
            rows = [entry["subscription"] for entry in entries]
            marks = ", ".join("?" * len(names))
            database.executemany(
                f"insert into subscriptions values ({marks})", [[row[name] for name in names] for row in rows]
            )
            items = [[row["id"], *item.values()] for row in rows for item in row["subscription_items"]]
            database.executemany("insert into items values (?, ?, ?, ?, ?)", items)
            database.executemany(
                "insert into customers values (?, ?, ?, ?, ?, ?, ?, ?)", [_customer(e["customer"]) for e in entries]
            )
    database.close()
    return {"steps": steps, "intents": 0, "memory_before": before, "memory_peak": peak()}


def _customer(row: dict[str, Any]) -> list[str]:
    address = row["billing_address"]
    return [
        *(row[name] for name in ("id", "company", "email", "preferred_currency_code")),
        *(address[name] for name in ("line1", "city", "zip", "country")),
    ]


WORK: dict[str, Callable[[Path, Path], Round]] = {"bridge": run_bridge, "yardstick": run_yardstick}


def in_a_process(which: str, path: Path) -> Round:
    """One round in a fresh process and a fresh folder."""
    command = [sys.executable, "-m", "benchmarks.bench_staging", which, str(path)]
    found: Round = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def one_round(which: str, path: Path) -> None:
    """What such a process does: run, and print its measurements as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(WORK[which](path, Path(folder))))


def show(name: str, count: int, steps: list[Measured]) -> None:
    """One line: median and range of the rounds."""
    rates = [count / step["wall"] for step in steps]
    cpu = statistics.median(step["cpu"] for step in steps) / count * 10_000
    spread = f"{min(rates):,.0f}–{max(rates):,.0f}"
    print(f"{name:<34} {statistics.median(rates):>9,.0f} records/s ({spread}), {cpu:.2f} CPU s per 10,000")


def main() -> None:
    """Prepare, run the rounds of both in turns, print."""
    if sys.argv[1:2] and sys.argv[1] in WORK:
        one_round(sys.argv[1], Path(sys.argv[2]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SUBSCRIPTIONS_IN_ALL
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pages.jsonl"
        write_pages(path, count)
        rounds = [(in_a_process("bridge", path), in_a_process("yardstick", path)) for _ in range(ROUNDS)]
        print(f"{count:,} subscriptions in pages of {PAGE}, {path.stat().st_size / 1e6:.0f} MB; median of {ROUNDS}")
    bridge, yardstick = [ours for ours, _ in rounds], [other for _, other in rounds]
    # An account, an account plan for each mapped item, and a mapping in m3ter for each of these.
    assert all(one["intents"] == 2 * (count + count + -(-count // 5)) for one in bridge), bridge[0]["intents"]
    for name in ("land", "stage", "decide"):
        show(name, count, [one["steps"][name] for one in bridge])
    both = [{key: one["steps"]["land"][key] + one["steps"]["stage"][key] for key in ("wall", "cpu")} for one in bridge]
    show("land and stage together", count, both)  # type: ignore[arg-type]
    show("yardstick: json.loads, executemany", count, [one["steps"]["yardstick"] for one in yardstick])
    for name, found in (("bridge, all three steps", bridge), ("yardstick", yardstick)):
        most = statistics.median(one["memory_peak"] for one in found)
        grown = statistics.median(one["memory_peak"] - one["memory_before"] for one in found)
        print(f"peak memory, {name}: {most:,.0f} MB, of it {grown:,.0f} MB above the imported packages")


if __name__ == "__main__":
    main()
