"""From a webhook to the account plan in m3ter: seconds, on a self-hosted Prefect server, vendors at 50 ms an answer.

Run from the root: ``python -m benchmarks.bench_webhook_latency [events] [seconds between]``. Subscriptions are
cancelled one after the other; the clock runs from the event in the sandbox until m3ter has the account plan's end.
Budgets are those of a Performance site (1,000 requests a minute). The yardstick is the same flow with nothing to wait
for: no webhook, no server.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from meterbridge.sandbox import Sandbox, World
from meterbridge.sandbox.chargebee import entry
from meterbridge.sandbox.scenarios import build, catalog_path
from meterbridge.sandbox.wire import HttpRequest
from meterbridge.settings import stripped_environment, use_environment

LATENCY_MS = 50
SERVE = "from meterbridge.cli.main import main; import sys; sys.argv[1:] = ['serve', '--port', '0']; main()"
PATIENCE_SECONDS = 180


BATCHED = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "100",
}
"""As for any server in production: its background services write in batches."""


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(sandbox: Sandbox, home: Path) -> dict[str, str]:
    """What connects the bridge to the sandbox."""
    return {
        **sandbox.description(),
        "METERBRIDGE_CATALOG": str(catalog_path()),
        "METERBRIDGE_HOME": str(home),
        "METERBRIDGE_ROOT": str(home),
        "METERBRIDGE_CHARGEBEE_REQUESTS_PER_MINUTE": "1000",
        "METERBRIDGE_LOG_LEVEL": "ERROR",
        "METERBRIDGE_WEBHOOK_USER": "hook",
        "METERBRIDGE_WEBHOOK_PASSWORD": "word",
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def running(command: list[str], names: dict[str, str], home: Path) -> Iterator[subprocess.Popen[str]]:
    """A child process for the length of the block; its stderr is read by the block, if at all."""
    env = {**stripped_environment(os.environ), **names, "PYTHONPATH": str(Path.cwd())}
    child = subprocess.Popen(command, cwd=home, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()


@contextmanager
def prefect_server(names: dict[str, str], home: Path) -> Iterator[str]:
    """A Prefect server on SQLite; gives its API's URL."""
    port = free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, {**names, **BATCHED}, home) as child:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and child.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        else:
            raise SystemExit("the Prefect server did not start")
        yield f"http://127.0.0.1:{port}/api"


def post(world: World, path: str, **fields: Any) -> None:
    """One request to the imitated Chargebee, without its latency."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    with world.lock:
        reply = entry.answer(world, HttpRequest("POST", f"/api/v2{path}", "", headers, urlencode(fields).encode()))
    if reply.status != 200:
        raise SystemExit(f"{path}: {reply.body!r}")


def watch(world: World) -> tuple[dict[str, float], dict[str, float]]:
    """When each subscription's event left, and when m3ter had the end of its account plan; filled as it happens."""
    began: dict[str, float] = {}
    ended: dict[str, float] = {}

    def left(event: dict[str, Any]) -> None:
        if event["event_type"] == "subscription_cancelled":
            began[event["content"]["subscription"]["id"]] = time.perf_counter()

    def arrived(event: dict[str, Any]) -> None:
        new = event["m3terEvent"]["eventData"].get("newDto", {})
        if event["eventName"] == "configuration.accountplan.updated" and "endDate" in new:
            ended.setdefault(str(new["code"])[: len("sub-000000")], time.perf_counter())

    world.chargebee.listeners.append(left)
    world.m3ter.listeners.append(arrived)
    return began, ended


def cancel(world: World, numbers: range, gap: float) -> None:
    """Cancel one after the other, at random intervals of ``gap`` seconds on average."""
    chance = random.Random(7)
    for number in numbers:
        post(world, f"/subscriptions/sub-{number * 3:06d}/cancel_for_items")
        time.sleep(chance.expovariate(1 / gap))


def settled(began: dict[str, float], ended: dict[str, float]) -> list[float]:
    """Seconds from event to account plan of all that left, once they all arrived."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while set(began) - set(ended):
        if time.monotonic() > deadline:
            raise SystemExit(f"never arrived: {sorted(set(began) - set(ended))}")
        time.sleep(0.05)
    return [ended[name] - began[name] for name in began]


def bare(world: World, numbers: range) -> float:
    """Median seconds of the flow alone, called for one subscription at a time in this process."""
    from flows.sync_subscriptions import sync_subscriptions

    took = []
    for number in numbers:
        name = f"sub-{number * 3:06d}"
        post(world, f"/subscriptions/{name}/cancel_for_items")
        start = time.perf_counter()
        sync_subscriptions.fn(ids=[name])
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def main() -> None:
    """Measure, and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    gap = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as folder:
        home = Path(folder)
        world = build("large", subscriptions=(count + 10) * 3)
        with Sandbox(world) as quick:
            fast = {
                "METERBRIDGE_CHARGEBEE_REQUESTS_PER_MINUTE": "60000",
                "METERBRIDGE_M3TER_REQUESTS_PER_SECOND": "999",
            }
            use_environment({**environment(quick, home), **fast})
            from flows.sync_subscriptions import sync_subscriptions

            sync_subscriptions.fn()
        with Sandbox(world, latency_ms=LATENCY_MS) as sandbox:
            names = environment(sandbox, home)
            use_environment(names)
            alone = bare(world, range(count + 5, count + 10))
            with (
                prefect_server(names, home) as api,
                running([sys.executable, "-c", SERVE], {**names, "PREFECT_API_URL": api}, home) as serve,
            ):
                assert serve.stderr is not None
                url = next(line for line in serve.stderr if line.startswith("listening on ")).split()[-1]
                login = {"basic_auth_username": "hook", "basic_auth_password": "word"}
                post(world, "/webhook_endpoints", name="bench", url=f"{url}/webhooks/chargebee", **login)
                began, ended = watch(world)
                cancel(world, range(count, count + 2), gap)  # the first runs of a process import and connect
                settled(began, ended)
                began.clear()
                cancel(world, range(count), gap)
                took = settled(began, ended)
                found = httpx.post(
                    f"{api}/flow_runs/count", json={"flows": {"name": {"any_": ["drain_inbox"]}}}, timeout=30
                )
                runs = found.json()
        cuts = statistics.quantiles(took, n=20)
        print(f"load of the machine before: {load:.1f} on {os.cpu_count()} cores")
        print(f"{count} events, one every {gap:g} s on average; vendors answer after {LATENCY_MS} ms; {runs} flow runs")
        figures = f"median {statistics.median(took):.2f} s, p95 {cuts[-1]:.2f} s, most {max(took):.2f} s"
        print(f"webhook → account plan: {figures}")
        print(f"the flow alone, bare, by id: median {alone:.2f} s")


if __name__ == "__main__":
    main()
