"""How many simple requests a second the sandbox answers on one core, with 20,000 subscriptions in it.

Run: python benchmarks/bench_sandbox.py [--subscriptions N] [--requests N]

The server is a process of its own, pinned to one core where the system allows it; the client is a bare socket that
keeps its connection, so that its own cost hides little of the server's. The last figure is uvicorn (h11) answering a
constant, as a yardstick in the same run.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from meterbridge.sandbox import CHARGEBEE_API_KEY, M3TER_API_KEY, M3TER_API_SECRET, M3TER_ORGANIZATION_ID

_YARDSTICK = """
import uvicorn
async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})
uvicorn.run(app, port=PORT, http="h11", log_level="error", access_log=False, lifespan="off")
"""


class Wire:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method: str, path: str, authorization: str = "", body: str = "", kind: str = "") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
        if body:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self._socket.sendall(f"{head}\r\n{body}".encode())
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._socket.recv(1 << 16)
        names = received[:end].lower().split(b"\r\n")
        length = next(int(each.split(b":")[1]) for each in names if each.startswith(b"content-length"))
        while len(received) < end + 4 + length:
            received += self._socket.recv(1 << 16)
        assert received[9:12] == b"200", bytes(received[:500])
        return bytes(received[end + 4 :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=5_000)
    options = parser.parse_args()
    with _sandbox(options.subscriptions) as (port, pid):
        _measure_sandbox(Wire(port), pid, options.requests)
    with _yardstick() as (port, pid):
        wire = Wire(port)
        _report("yardstick: uvicorn with h11, constant answer", options.requests, pid, lambda _n: wire.send("GET", "/"))


def _measure_sandbox(wire: Wire, pid: int, count: int) -> None:
    basic = "Basic " + base64.b64encode(f"{CHARGEBEE_API_KEY}:".encode()).decode()
    secret = "Basic " + base64.b64encode(f"{M3TER_API_KEY}:{M3TER_API_SECRET}".encode()).decode()
    grant = '{"grant_type":"client_credentials"}'
    token = json.loads(wire.send("POST", "/oauth/token", secret, grant, "application/json"))["access_token"]
    bearer, root = f"Bearer {token}", f"/organizations/{M3TER_ORGANIZATION_ID}"
    account = '{"name":"Bench","code":"bench","emailAddress":"bench@example.com","currency":"EUR"}'
    row = json.loads(wire.send("POST", f"{root}/accounts", bearer, account, "application/json"))
    _report("m3ter GET one account", count, pid, lambda _n: wire.send("GET", f"{root}/accounts/{row['id']}", bearer))
    form = "application/x-www-form-urlencoded"
    drafts = [_draft(wire, basic, f"cust-{number:06d}", form) for number in range(0, 600, 3)]

    def add_charge(n: int) -> bytes:
        body = f"amount=100&description=bench%20{n}&line_item[date_from]=1772323200&line_item[date_to]=1775001599"
        return wire.send("POST", f"/api/v2/invoices/{drafts[n % len(drafts)]}/add_charge", basic, body, form)

    _report("chargebee add_charge, drafts of up to 25 lines", count, pid, add_charge)
    page = "/api/v2/subscriptions?limit=100&sort_by[asc]=updated_at&updated_at[between]=[1,1999999999]"
    _report("chargebee list of 100 subscriptions", count // 20, pid, lambda _n: wire.send("GET", page, basic))


def _draft(wire: Wire, basic: str, customer: str, form: str) -> str:
    body = f"customer_id={customer}&currency_code=EUR&create_pending_invoice=true"
    body += "&charges[amount][0]=1&charges[description][0]=first"
    answer = wire.send("POST", "/api/v2/invoices/create_for_charge_items_and_charges", basic, body, form)
    return str(json.loads(answer)["invoice"]["id"])


def _report(name: str, count: int, pid: int, send: Callable[[int], bytes]) -> None:
    cpu, wall = _cpu_seconds(pid), time.perf_counter()
    for number in range(count):
        send(number)
    wall, cpu = time.perf_counter() - wall, _cpu_seconds(pid) - cpu
    per_core = f"{count / cpu:,.0f} per server CPU second" if cpu else "server CPU below the clock's step"
    print(f"{name}: {count / wall:,.0f} requests/s, {per_core}")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _sandbox(subscriptions: int) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "meterbridge.sandbox", "--scenario", "large"]
    with _running([*command, "--subscriptions", str(subscriptions)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        yield int(url.rsplit(":", 1)[1]), server.pid


@contextmanager
def _yardstick() -> Iterator[tuple[int, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _running([sys.executable, "-c", _YARDSTICK.replace("PORT", str(port))]) as server:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port, server.pid


@contextmanager
def _running(command: list[str], stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(command, stdout=stdout)
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(server.pid, {0})
        yield server
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
