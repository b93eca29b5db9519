"""Usage end to end: Parquet rows through pre-flight, batching and delivery to a stub of m3ter in another process.

    python -m benchmarks.bench_usage [--rows 1000000 10000000]

Each size runs in a process of its own, whose peak memory is printed (``_mb``). In the first one delivery and prebuilt
request bodies sent by the same client take turns, so that a busy machine disturbs both; the medians are printed. The
official SDK and a row-by-row pandas loop follow. Rates are measurements a second; those ending in ``_cpu`` are per
second of this process's CPU. ``whole`` is all of it: pre-flight, rendering and sending.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.runs import Run
    from tasks.usage_input import UsageInput

ACCOUNTS = 500
YARDSTICK_ROWS = 10_000
PREBUILT_BODIES = 1_000
ROUNDS = 3
MAPPING = """\
name: bench
account: account
ts: ts
key: [id]
meters:
  - meter: api
    measure: {calls: calls, secs: {column: secs, empty: leave_out}}
    where: {region: region}
"""


class Stub(asyncio.Protocol):
    """Takes every request like m3ter and counts the measurements in it."""

    counted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer, self.wanted, self.reply = transport, b"", 0, b""

    def data_received(self, received: bytes) -> None:
        if not self.wanted:
            self.buffer += received
            head, found, received = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self.buffer = b""
            line = head.split(b"\r\n", 1)[0]
            self.reply = next(body for part, body in ANSWERS.items() if part in line)
            lengths = (int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:"))
            self.wanted = next(lengths, 0)
        self.wanted -= len(received)
        Stub.counted += received.count(b'{"uid"')
        if self.wanted <= 0:
            self.wanted = 0
            self.answer(self.reply)

    def answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)  # type: ignore[attr-defined]


_FIELDS = [("MEASURE", "calls"), ("MEASURE", "secs"), ("WHERE", "region")]
METERS = json.dumps(
    {"data": [{"code": "api", "dataFields": [{"category": a, "code": b} for a, b in _FIELDS]}]}
).encode()
CODES = json.dumps({"data": [{"id": f"id-{n}", "code": f"acct-{n}"} for n in range(ACCOUNTS)]}).encode()

ANSWERS = {
    b"/oauth/token": b'{"access_token":"t","token_type":"Bearer","expires_in":18000}',
    b"/meters": METERS,
    b"/accounts": CODES,
    b"": b'{"result":"accepted"}',
}


def serve(port: multiprocessing.Queue[int]) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def peak_mb() -> int:
    """The highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def timed(count: int, work: Callable[[], object]) -> tuple[float, float]:
    """Per second, and per second of this process's CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return count / (time.perf_counter() - began), count / (time.process_time() - cpu)


def one_size(rows: int, source: str, yardsticks: bool) -> None:
    """Run in a fresh process whose environment points at the stub; prints one line of JSON."""
    from meterbridge.rules.windows import Window
    from tasks.deliver_usage import deliver_usage
    from tasks.runs import Request, Run
    from tasks.services import release
    from tasks.site_time import SiteTime
    from tasks.stage_usage import open_input, stage_usage
    from tasks.usage_input import UsageRequest

    home = Path(os.environ["METERBRIDGE_HOME"])
    mapping = home / "usage.yaml"
    mapping.write_text(MAPPING, encoding="utf-8")
    run = Run(
        flow="sync_usage",
        run_id="bench",
        connection="default",
        staging=str(home / "run.duckdb"),
        request=Request(),
        window=Window(None, 0),
        events_since=0,
        full=False,
        full_reason="",
        started_at=0.0,
        site=SiteTime(0.0),
        scope_fingerprint="",
    )
    request = UsageRequest(str(mapping), (source,))
    figures: dict[str, float] = {"start_mb": peak_mb()}
    began = time.perf_counter()
    given = open_input(run, request)
    preflight = stage_usage(run, given, request)
    figures["preflight"] = preflight.sendable / (time.perf_counter() - began)
    figures["preflight_mb"] = peak_mb()
    assert preflight.sendable == rows, preflight
    figures["deliver"], figures["deliver_cpu"] = timed(rows, lambda: deliver_usage(run, given, rows))
    figures["whole"] = rows / (time.perf_counter() - began)
    figures["peak_mb"] = peak_mb()
    figures["again"], _ = timed(rows, lambda: deliver_usage(run, given, rows))
    if yardsticks:
        figures |= _in_turn(run, given, rows)
        figures |= _yardsticks(source)
    release(run.run_id)
    sys.stdout.write(json.dumps(figures) + "\n")


def _in_turn(run: Run, given: UsageInput, rows: int) -> dict[str, float]:
    """Medians of delivering the input under another name and of sending as many prebuilt bodies, by turns."""
    from meterbridge.staging.usage_file import usage_opened
    from tasks.deliver_usage import deliver_usage, ingesting
    from tasks.services import services
    from tasks.usage_batches import cutter_of

    work = services(run.run_id)
    anew = [replace(given, mapping=given.mapping.model_copy(update={"name": f"bench{n}"})) for n in range(ROUNDS)]
    with usage_opened(run.path) as file:
        bodies = [batch.body for batch in cutter_of(work, anew[0], file).batches(0, PREBUILT_BODIES - 1)]
    prebuilt, delivered = [], []
    for each in anew:
        with ingesting(work) as client, ThreadPoolExecutor(work.settings.deliver_threads) as pool:
            prebuilt.append(timed(1_000 * len(bodies), lambda: list(pool.map(client.submit, bodies))))
        delivered.append(timed(rows, lambda: deliver_usage(run, each, rows)))  # noqa: B023
    return {
        "deliver": median(rate for rate, _ in delivered),
        "deliver_cpu": median(cpu for _, cpu in delivered),
        "prebuilt": median(rate for rate, _ in prebuilt),
        "prebuilt_cpu": median(cpu for _, cpu in prebuilt),
    }


def _yardsticks(source: str) -> dict[str, float]:
    import duckdb
    import httpx
    from m3ter import M3ter

    base = os.environ["M3TER_BASE_URL"]
    official = M3ter(
        api_key="k", api_secret="s", token="t", org_id=os.environ["M3TER_ORG_ID"], base_url=base, max_retries=0
    )
    plain = httpx.Client(base_url=base, trust_env=False)
    frame = duckdb.sql(f"from read_parquet('{source}') limit {YARDSTICK_ROWS}").df()
    rows = [
        {
            "uid": f"u-{n}",
            "meter": "api",
            "account": row.account,
            "ts": row.ts.to_pydatetime(),
            "measure": {"calls": row.calls, "secs": row.secs},
            "where": {"region": row.region},
        }
        for n, row in enumerate(frame.itertuples())
    ]

    def by_sdk() -> None:
        for start in range(0, len(rows), 1_000):
            official.usage.submit(measurements=rows[start : start + 1_000])

    def by_pandas() -> None:
        batch = []
        for _, row in frame.iterrows():
            batch.append(
                {
                    "uid": str(row["id"]),
                    "meter": "api",
                    "account": row["account"],
                    "ts": row["ts"].isoformat() + "Z",
                    "measure": {"calls": int(row["calls"]), "secs": float(row["secs"])},
                    "where": {"region": row["region"]},
                }
            )
            if len(batch) == 1_000:
                plain.post("/measurements", content=json.dumps({"measurements": batch}))
                batch = []

    return {"sdk": timed(YARDSTICK_ROWS, by_sdk)[0], "iterrows": timed(YARDSTICK_ROWS, by_pandas)[0]}


def write_parquet(path: Path, rows: int) -> None:
    """In a process of its own, so that its memory is nobody's."""
    query = (
        f"copy (select 'acct-' || (i % {ACCOUNTS}) as account, now()::timestamp - interval 1 day + interval (i) "
        f"millisecond as ts, 'evt-' || i as id, (i * 7919) % 100000 as calls, (i % 1000) / 8.0 as secs, "
        f"'eu-' || (i % 7) as region from range({rows}) r(i)) to '{path}' (format parquet)"
    )
    program = "import duckdb, sys; duckdb.execute(\"set memory_limit='400MB'\"); duckdb.execute(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, query], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one_size(int(given.one[0]), given.one[1], given.one[2] == "1")
        return
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    stub = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    stub.start()
    url = f"http://127.0.0.1:{port.get()}"
    for place, rows in enumerate(given.rows):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "usage.parquet"
            write_parquet(source, rows)
            line = _run_one(url, folder, rows, source, yardsticks=place == 0)
            print(f"{rows:>11,} rows: " + " · ".join(f"{name} {value:,.0f}" for name, value in line.items()))
            if place == 0:
                share, sdk, pandas = (line["deliver"] / line[name] for name in ("prebuilt", "sdk", "iterrows"))
                cpu = line["deliver_cpu"] / line["prebuilt_cpu"]
                print(
                    f"             rendering and sending: {share:.0%} of prebuilt bodies ({cpu:.0%} by CPU), "
                    f"{sdk:.0f} × the SDK, {pandas:.0f} × iterrows"
                )
    stub.terminate()


def _run_one(url: str, home: str, rows: int, source: Path, *, yardsticks: bool) -> dict[str, float]:
    names = ("CHARGEBEE_", "M3TER_", "METERBRIDGE_", "PREFECT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)} | {
        "CHARGEBEE_SITE": "bench",
        "CHARGEBEE_API_KEY": "k",
        "CHARGEBEE_BASE_URL": f"{url}/api/v2",
        "M3TER_ORG_ID": "11111111-1111-4111-8111-111111111111",
        "M3TER_API_KEY": "k",
        "M3TER_API_SECRET": "s",
        "M3TER_BASE_URL": url,
        "M3TER_INGEST_URL": url,
        "METERBRIDGE_HOME": home,
        "METERBRIDGE_M3TER_INGEST_REQUESTS_PER_SECOND": "100000",
        "METERBRIDGE_M3TER_REQUESTS_PER_SECOND": "100000",
    }
    command = [
        sys.executable,
        "-m",
        "benchmarks.bench_usage",
        "--one",
        str(rows),
        str(source),
        "1" if yardsticks else "0",
    ]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
