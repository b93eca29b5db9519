"""What our transport costs over a bare httpx client: requests a second and CPU seconds per 10,000.

Run from the root: ``python -m benchmarks.bench_connectors [requests]``. A stub on loopback, in a process of its own,
answers every request with the same small JSON; both clients meet it in the same run, in turns.
The last lines show what reading a page of 100 subscriptions costs besides the request.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import httpx

from connectors.chargebee.client import ChargebeeClient
from connectors.pacing import Unlimited
from connectors.transport import Request, Transport

ROUNDS = 3
BODY = json.dumps({"invoice": {"id": "draft_inv_1", "line_items": [{"id": f"li_{n}"} for n in range(10)]}}).encode()
SUBSCRIPTION = {
    "id": "sub_acme_1",
    "customer_id": "cust_acme",
    "status": "active",
    "currency_code": "USD",
    "current_term_start": 1767225600,
    "current_term_end": 1769904000,
    "updated_at": 1767225601,
    "resource_version": 1767225601345,
    "subscription_items": [{"item_price_id": "gold-usd-m", "item_type": "plan", "quantity": 1, "unit_price": 50000}]
    * 3,
    "meta_data": {"tier": "gold"},
}
CUSTOMER = {"id": "cust_acme", "company": "Acme", "email": "ap@acme.example", "billing_address": {"line1": "1 Quay"}}
PAGE = json.dumps(
    {
        "list": [{"subscription": SUBSCRIPTION, "customer": CUSTOMER}] * 100,
        "next_offset": '["1767225601000","48211907"]',
    }
).encode()


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests on one connection until it closes; pages for lists, the small body otherwise."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            if length:
                await reader.readexactly(length)
            body = PAGE if b"/subscriptions" in lines[0] else BODY
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def serve(port_out: Connection) -> None:
    """Run the stub until killed; tell its port."""

    async def run() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port_out.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def measure(call: Callable[[], object], count: int, threads: int) -> tuple[float, float]:
    """Requests a second and CPU seconds per 10,000, of ``count`` calls on so many threads."""

    def work() -> None:
        for _ in range(count // threads):
            call()

    work_before, began = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
    took = time.perf_counter() - began
    return count / took, (time.process_time() - work_before) * 10_000 / count


def compare(url: str, count: int, threads: int) -> None:
    """Measure both clients in turns, and print the medians."""
    auth = httpx.BasicAuth("key", "")
    write = Request("POST", "/invoices/d1/add_charge", "amount=5&description=x", "application/x-www-form-urlencoded")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "chargebee-idempotency-key": "k"}
    found: dict[str, list[tuple[float, float]]] = {"httpx.Client": [], "Transport": []}
    with (
        httpx.Client(auth=auth, trust_env=False) as bare,
        Transport("stub", url, auth, Unlimited()) as ours,
    ):
        calls: dict[str, Callable[[], object]] = {
            "httpx.Client": lambda: bare.post(url + write.path, content=write.body, headers=headers).json(),
            "Transport": lambda: ours.send(
                write, repeatable=True, headers={"chargebee-idempotency-key": "k"}, resend_until=float("inf")
            ).json(),
        }
        for _ in range(ROUNDS):
            for name, call in calls.items():
                found[name].append(measure(call, count, threads))
    for name, figures in found.items():
        rate, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{name:14} {threads:3} threads  {rate:8.0f} requests/s  {cpu:6.2f} CPU s per 10,000")


def page_costs(url: str, count: int) -> None:
    """Print what landing pages costs: the whole read, and the parse inside it that finds the next offset."""
    client = ChargebeeClient.connect(base_url=url, api_key="key", pacer=Unlimited())
    rate, cpu = measure(lambda: next(client.pages("subscriptions")), count, 1)
    print(
        f"pages of 100   {len(PAGE) // 1024:3} kB       {rate * 100:8.0f} records/s   {cpu:6.2f} CPU s per 10,000 pages"
    )
    began = time.process_time()
    for _ in range(count):
        json.loads(PAGE)
    print(f"  of it parsing the page: {(time.process_time() - began) * 10_000 / count:.2f} CPU s per 10,000 pages")
    client.transport.close()


def main() -> None:
    """Start the stub, measure, stop it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    port_in, port_out = multiprocessing.Pipe(duplex=False)
    stub = multiprocessing.Process(target=serve, args=(port_out,), daemon=True)
    stub.start()
    url = f"http://127.0.0.1:{port_in.recv()}"
    try:
        for threads in (1, 8):
            compare(url, count, threads)
        page_costs(url, count // 10)
    finally:
        stub.terminate()
        stub.join()


if __name__ == "__main__":
    main()
