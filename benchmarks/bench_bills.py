"""Bills end to end: charges of 1,000 bills with 5 lines each, delivered to the sandbox under its rate limit.

    python -m benchmarks.bench_bills [--bills 1000] [--per-minute 3500]

The sandbox is another process and answers 429 above the limit. Both syncs run bare, without Prefect's engine. Printed
is the share of the budget (limit × (1 − reserve)) that was used while charges were delivered: requests sent ÷ (budget ×
duration of that phase). The yardstick, in the same run and before it: bare httpx from as many threads, prebuilt
add_charge requests, paced by a sleep loop at the same budget. CPU seconds are this process's, the sandbox's are named
apart: they do not depend on what else the machine does, rates do.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LINES = 5
RESERVE = 0.1
YARDSTICK_SECONDS = 20
THREADS = 8


# --- the vendors, in a process of their own -------------------------------------------------


def serve(pipe: Connection, bills: int) -> None:
    """Serve a world of so many customers; what the other end asks for is done under the world's lock."""
    from meterbridge.sandbox import Sandbox
    from meterbridge.sandbox.scenarios import build
    from meterbridge.sandbox.scenarios.month import use_and_bill

    world = build("large", subscriptions=bills)
    with Sandbox(world) as sandbox:
        pipe.send(sandbox.description())
        while True:
            command, value = pipe.recv()
            with world.lock:
                if command == "bill":
                    use_and_bill(world)
                    _five_lines_each(world)
                elif command == "limit":
                    world.switches.chargebee_per_minute = value
                elif command == "clear":
                    world.log.clear()
                elif command == "drafts":
                    rows = world.chargebee.invoices.rows()
                    pipe.send([row["id"] for row in rows if row["status"] == "pending"])
                    continue
                elif command == "counts":
                    counts = Counter(
                        (one.vendor, one.method, one.path.rsplit("/", 1)[-1] if "add_" in one.path else "", one.status)
                        for one in world.log
                    )
                    pipe.send((dict(counts), time.process_time()))
                    continue
                elif command == "stop":
                    return
            pipe.send(time.process_time())


def _five_lines_each(world: Any) -> None:
    """Every bill gets five usage lines that differ in segment and amount; half of them have a charge item."""
    state = world.m3ter
    for number, bill in enumerate(list(state.bills.rows())):
        first = bill["lineItems"][0]
        lines = []
        for place in range(LINES):
            amount = Decimal(1_000 + 37 * number + 11 * place) / 100
            line = {"id": state.ids.uuid("bench", bill["id"], place), "sequenceNumber": place + 1}
            line |= {"segment": {"region": f"r{place}"}, "convertedSubtotal": amount, "subtotal": amount}
            lines.append(first | line)
        total = sum((line["convertedSubtotal"] for line in lines), Decimal(0))
        state.save(state.bills, bill | {"lineItems": lines, "billTotal": total, "locked": True}, bill)


class Vendors:
    """Our end of the pipe."""

    def __init__(self, bills: int) -> None:
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=serve, args=(other, bills), daemon=True)
        self.process.start()
        self.description: dict[str, str] = self.pipe.recv()

    def ask(self, command: str, value: object = None) -> Any:
        """Have something done, or be told."""
        self.pipe.send((command, value))
        return None if command == "stop" else self.pipe.recv()


# --- the yardstick --------------------------------------------------------------------------


@dataclass
class Slots:
    """A sleep loop: so many departures a second, to any number of threads."""

    per_second: float

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.next = time.monotonic()

    def wait(self) -> None:
        with self.lock:
            slot = max(self.next, time.monotonic())
            self.next = slot + 1 / self.per_second
        time.sleep(max(0.0, slot - time.monotonic()))


def yardstick(vendors: Vendors, budget: float) -> None:
    """Prebuilt requests, a thread an invoice; nothing is written down and no answer is looked at."""
    import httpx

    drafts = vendors.ask("drafts")[:THREADS]
    url, key = vendors.description["CHARGEBEE_BASE_URL"], vendors.description["CHARGEBEE_API_KEY"]
    slots, until = Slots(budget), time.monotonic() + YARDSTICK_SECONDS
    client = httpx.Client(auth=(key, ""), limits=httpx.Limits(max_keepalive_connections=THREADS))
    body = {"amount": "1", "description": "yardstick", "line_item[date_from]": "1", "line_item[date_to]": "2"}

    def send(draft: str) -> int:
        sent = 0
        while time.monotonic() < until:
            slots.wait()
            client.send(client.build_request("POST", f"{url}/invoices/{draft}/add_charge", data=body))
            sent += 1
        return sent

    with Measured() as cost, ThreadPoolExecutor(THREADS) as pool:
        sent = sum(pool.map(send, drafts))
    print(f"{'yardstick: bare httpx, sleep loop':<44}{cost.line(sent, budget)}", flush=True)


class Measured:
    """Wall and CPU seconds of a block."""

    def __enter__(self) -> Measured:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

    def line(self, requests: int, budget: float) -> str:
        """Requests, their rate, the share of the budget, CPU for ten thousand of them."""
        share = requests / (self.wall * budget)
        return (
            f"{requests:>7} requests {requests / self.wall:>7.1f}/s {share:>7.1%} of the budget "
            f"{self.cpu / max(1, requests) * 10_000:>7.1f} CPU s/10,000"
        )


# --- the bridge -----------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bills", type=int, default=1_000)
    parser.add_argument("--per-minute", type=int, default=3_500)
    parser.add_argument("--no-yardstick", action="store_true")
    asked = parser.parse_args()
    vendors = Vendors(asked.bills)
    with tempfile.TemporaryDirectory() as home:
        prepare(vendors, Path(home), asked.per_minute)
        try:
            run(vendors, asked)
        finally:
            vendors.ask("stop")


def prepare(vendors: Vendors, home: Path, per_minute: int) -> None:
    """The environment of both syncs."""
    for name in [name for name in os.environ if name.startswith(("CHARGEBEE_", "M3TER_", "METERBRIDGE_", "PREFECT_"))]:
        del os.environ[name]
    os.environ |= {
        **vendors.description,
        "METERBRIDGE_HOME": str(home),
        "METERBRIDGE_ROOT": str(home),
        "METERBRIDGE_BILLS_SINCE": "2026-01-01",
        "METERBRIDGE_CHARGEBEE_REQUESTS_PER_MINUTE": str(per_minute),
        "METERBRIDGE_M3TER_REQUESTS_PER_SECOND": "1000",
        "METERBRIDGE_REQUEST_RESERVE": str(RESERVE),
        "METERBRIDGE_LOG_LEVEL": "ERROR",
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }


def run(vendors: Vendors, asked: argparse.Namespace) -> None:
    """Accounts first, then the month, the yardstick, and the bills."""
    from flows.sync_bills import sync_bills
    from flows.sync_subscriptions import sync_subscriptions

    budget = asked.per_minute / 60 * (1 - RESERVE)
    with Measured() as cost:
        sync_subscriptions.fn()
    print(f"{'accounts and account plans':<44}{cost.wall:>7.1f} s {cost.cpu:>7.1f} CPU s", flush=True)
    vendors.ask("bill")
    vendors.ask("limit", asked.per_minute)
    if not asked.no_yardstick:
        yardstick(vendors, budget)
        time.sleep(61)  # the limit's window forgets the yardstick
    vendors.ask("clear")
    sandbox_before = vendors.ask("clear")
    with Measured() as cost:
        report = sync_bills.fn()
    counts, sandbox_after = vendors.ask("counts")
    delivering, charges = report.delivering, report.applied.get("charge.create", 0)
    throttled = sum(count for key, count in counts.items() if key[3] == 429)
    print(
        f"{'sync_bills, delivering':<44}{delivering['requests']:>7.0f} requests {delivering['per_second']:>7.1f}/s "
        f"{delivering['budget_share']:>7.1%} of the budget "
        f"{delivering['cpu_seconds'] / delivering['requests'] * 10_000:>7.1f} CPU s/10,000"
    )
    print(
        f"{'sync_bills, whole':<44}{charges:>7} charges  {charges / cost.wall:>7.1f}/s "
        f"{cost.cpu / max(1, charges) * 10_000:>7.1f} CPU s/10,000 charges, "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB peak, {cost.wall:.1f} s"
    )
    print(
        f"answers of 429: {throttled} · sandbox: {sandbox_after - sandbox_before:.1f} CPU s · {dict(report.requests)}"
    )
    print(f"waited (thread seconds): {report.waited}")
    print(f"quarantined: {len(report.quarantined)} · waiting: {len(report.waiting)} · held: {report.held}")


if __name__ == "__main__":
    main()
