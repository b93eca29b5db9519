"""How many webhooks a second `meterbridge serve` accepts durably, beside an application that keeps nothing.

Run from the root: ``python -m benchmarks.bench_receiver [events]``. Both answer the same load in turns, each a
process of its own under uvicorn: raw sockets on loopback, kept alive. The ledger is a SQLite file that syncs to disk
at every commit; its events are counted afterwards. The last line is what a commit for every row costs alone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from meterbridge.ledger import inbox
from meterbridge.ledger.ledger import Ledger
from meterbridge.settings import stripped_environment

ROUNDS = 3
CONNECTIONS = (1, 16, 64)
EACH = 100
"""Most events of one connection: one alone waits for the disk at every event."""
USER, PASSWORD = "hook", "word"
SERVE = (
    "from meterbridge.cli.main import main; import sys; sys.argv[1:] = ['serve', '--port', '0', '--no-drain']; main()"
)
NOTHING_KEPT = """
import uvicorn
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})
config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", access_log=False)
import socket, sys
bound = socket.socket(proto=socket.IPPROTO_TCP); bound.bind(("127.0.0.1", 0)); bound.listen(2048)
print(f"listening on http://127.0.0.1:{bound.getsockname()[1]}", file=sys.stderr, flush=True)
uvicorn.Server(config).run(sockets=[bound])
"""


def request(number: int) -> bytes:
    """One event of Chargebee's usual size, 2 kB, as it crosses the socket."""
    customer = {"id": f"cust-{number}", "object": "customer", "company": "Acme", "meta": "x" * 700}
    subscription = {"id": f"sub-{number}", "object": "subscription", "resource_version": number, "notes": "x" * 1_000}
    event = {"id": f"ev_{number}", "occurred_at": 1_769_907_000, "event_type": "subscription_changed"}
    body = json.dumps({**event, "content": {"subscription": subscription, "customer": customer}}).encode()
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    head = f"Host: x\r\nAuthorization: Basic {login}\r\nContent-Length: {len(body)}\r\n\r\n"
    return b"POST /webhooks/chargebee HTTP/1.1\r\n" + head.encode() + body


async def client(port: int, numbers: range, took: list[float]) -> None:
    """Post one event after the other on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        began = time.perf_counter()
        writer.write(request(number))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not accepted: {head[:60]!r}")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length[15:]))
        took.append(time.perf_counter() - began)
    writer.close()


async def load(port: int, first: int, count: int, connections: int) -> tuple[float, float]:
    """Events a second, and the 95th percentile of an answer in milliseconds."""
    took: list[float] = []
    share = count // connections
    began = time.perf_counter()
    clients = (client(port, range(first + n * share, first + (n + 1) * share), took) for n in range(connections))
    await asyncio.gather(*clients)
    return len(took) / (time.perf_counter() - began), statistics.quantiles(took, n=20)[-1] * 1_000


def start(program: str, home: Path) -> tuple[subprocess.Popen[str], int]:
    """A process that says where it listens."""
    names = {"HOME": str(home), "ROOT": str(home), "WEBHOOK_USER": USER, "WEBHOOK_PASSWORD": PASSWORD}
    own = {f"METERBRIDGE_{name}": value for name, value in {**names, "LOG_LEVEL": "ERROR"}.items()}
    environment = {**stripped_environment(os.environ), **own, "PYTHONPATH": str(Path.cwd())}
    child = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("listening on "):
            return child, int(line.strip().rpartition(":")[2])
    raise SystemExit(f"the server ended with {child.wait()}")


def commits(home: Path, count: int = 1_000) -> float:
    """Transactions of one row each that a bare SQLite file on this disk takes a second."""
    with closing(sqlite3.connect(home / "yardstick.sqlite3", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE events (id TEXT PRIMARY KEY, subscription TEXT)")
        began = time.perf_counter()
        for number in range(count):
            database.execute("INSERT INTO events VALUES (?, 's')", (f"ev_{number}",))
        return count / (time.perf_counter() - began)


def main() -> None:
    """Measure both, and print medians."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6_000
    with tempfile.TemporaryDirectory(prefix="bench-receiver-") as folder:
        home, first, sent = Path(folder), 0, 0
        servers = {"keeps nothing": start(NOTHING_KEPT, home), "receiver": start(SERVE, home)}
        try:
            for connections in CONNECTIONS:
                some = min(count, connections * EACH)
                found: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
                for _ in range(ROUNDS):
                    for name, (_, port) in servers.items():
                        found[name].append(asyncio.run(load(port, first, some, connections)))
                    first += some
                    sent += some // connections * connections
                for name, figures in found.items():
                    rate, p95 = (statistics.median(column) for column in zip(*figures, strict=True))
                    print(f"{name:14} {connections:3} connections  {rate:7.0f} events/s  p95 {p95:7.1f} ms", flush=True)
        finally:
            for child, _ in servers.values():
                child.kill()
                child.wait()
        ledger = Ledger.open(None, home=home, connection="default")
        with ledger.read() as rx:
            kept = inbox.backlog(rx).waiting
        ledger.close()
        print(f"kept {kept:,} of {sent:,} events that were answered with 200")
        print(f"bare SQLite, one commit a row: {commits(home):.0f} rows/s")
        if kept != sent:
            raise SystemExit("events were lost")


if __name__ == "__main__":
    main()
