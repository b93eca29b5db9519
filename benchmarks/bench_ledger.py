"""What writing everything down costs: records a second, CPU seconds per 10,000, peak memory.

Run from the root: ``python -m benchmarks.bench_ledger [intents] [URL]``. Without a URL a SQLite file in a temporary
folder is measured (set TMPDIR to the disk that counts). The yardstick is bare sqlite3 on the same disk in the same
run: one row changed per commit, with the same durability (WAL, synchronous FULL), and with NORMAL beside it.
"""

from __future__ import annotations

import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from meterbridge.ledger import intents, mappings
from meterbridge.ledger.ledger import Ledger
from meterbridge.rules.records import Intent

COMMITS = 1_000
BATCH = 500


def wanted(count: int) -> Iterator[Intent]:
    """Charges as a bills run records them: 20 lines an invoice, about 700 bytes of payload."""
    for number in range(count):
        invoice = f"draft_{number // 20}"
        yield Intent(
            kind="charge",
            key=(f"bill-{number // 20}", f"sub-{number // 20}", f'["USAGE","product-{number}","2026-03-01"]'),
            action="create",
            target="chargebee",
            payload={
                "invoice_id": invoice,
                "amount": number,
                "reference": f"mb:{number:012x}",
                "description": "x" * 600,
            },
            fingerprint=f"{number:032x}",
            reason=f"USAGE api_calls 2026-03-01..2026-03-31: {number} on {invoice}",
            scope=f"invoice:{invoice}",
            amount=number,
            currency="EUR",
        )


def measure(name: str, count: int, work: Callable[[], object]) -> None:
    """Do the work once and print what it cost."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:<58} {count / wall:>9,.0f}/s {cpu / count * 10_000:>7.2f} CPU s/10,000 {peak:>6.0f} MB peak", flush=True
    )


def bare(folder: Path, synchronous: str) -> None:
    """One row changed per commit, by the standard library alone."""
    database = sqlite3.connect(folder / f"bare-{synchronous}.sqlite3", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA synchronous = {synchronous}")
    database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, state TEXT, request TEXT)")
    database.executemany("INSERT INTO rows VALUES (?, 'ready', '')", [(number,) for number in range(2 * COMMITS)])

    def commits() -> None:
        for number in range(2 * COMMITS):
            database.execute("BEGIN IMMEDIATE")
            database.execute("UPDATE rows SET state = 'sending', request = ? WHERE id = ?", ("x" * 600, number))
            database.execute("COMMIT")

    measure(f"yardstick: bare sqlite3, a row a commit, {synchronous}", 2 * COMMITS, commits)
    database.close()


def record_all(ledger: Ledger, run_id: str, count: int) -> None:
    """Record the whole change set in one transaction."""
    with ledger.write() as tx:
        intents.record(tx, run_id, f"set of {run_id}", wanted(count), "acme-test")
        tx.commit()


def claim_all(ledger: Ledger, *, exclusive: bool) -> list[intents.IntentRow]:
    """Claim in batches until nothing is left."""
    rows: list[intents.IntentRow] = []
    while True:
        with ledger.write() as tx:
            some = intents.claim(
                tx, "bench", kinds=("charge",), limit=BATCH, lease_seconds=3_600, exclusive_scope=exclusive
            )
            tx.commit()
        if not some:
            return rows
        rows += some


def one_by_one(ledger: Ledger, rows: list[intents.IntentRow]) -> None:
    """A commit before each request and one after, as charges are sent."""
    for row in rows:
        with ledger.write() as tx:
            intents.mark_sending(tx, row.id, "bench", "x" * 600, {"line_ids": ["li-1"]})
            tx.commit()
        with ledger.write() as tx:
            intents.applied(tx, row.id, "bench", {"line_id": "li"}, mapping=mapping(row))
            tx.commit()


def in_batches(ledger: Ledger, rows: list[intents.IntentRow]) -> None:
    """A commit before and one after each batch, as m3ter writes are sent."""
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        with ledger.write() as tx:
            intents.mark_sending_many(tx, {row.id: "x" * 600 for row in some}, "bench")
            tx.commit()
        with ledger.write() as tx:
            intents.apply_many(tx, "bench", [intents.Applied(row.id, {}, mapping(row)) for row in some])
            tx.commit()


def mapping(row: intents.IntentRow) -> mappings.Mapping:
    """What an applied charge leaves behind."""
    state = {"invoice_id": row.payload["invoice_id"], "amount": row.amount, "currency": "EUR"}
    return mappings.Mapping("charge", row.key, f"li-{row.id}", row.fingerprint, row.key[0], state)


def main(count: int, url: str | None) -> None:
    """Print one line a measurement."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for synchronous in ("FULL", "NORMAL"):
            bare(folder, synchronous)
        ledger = Ledger.open(url, home=folder, connection="bench")
        print(f"ledger on {ledger.url_text.partition(':')[0]}")
        measure(f"record {count:,} intents in one transaction", count, lambda: record_all(ledger, "run-1", count))
        measure("record them again, all kept", count, lambda: record_all(ledger, "run-2", count))
        first: list[intents.IntentRow] = []
        scopes = -(-count // 20)
        measure(
            f"claim {scopes:,}, one of each scope, {BATCH} at a time",
            scopes,
            lambda: first.extend(claim_all(ledger, exclusive=True)),
        )
        one = first[: min(COMMITS, scopes)]
        measure("mark_sending + applied, an intent at a time (2 commits)", len(one), lambda: one_by_one(ledger, one))
        rest: list[intents.IntentRow] = []
        measure(
            f"claim {count - scopes:,}, {BATCH} at a time",
            count - scopes,
            lambda: rest.extend(claim_all(ledger, exclusive=False)),
        )
        rest += first[len(one) :]
        measure(f"mark_sending_many + apply_many, {BATCH} at a time", len(rest), lambda: in_batches(ledger, rest))
        with ledger.read() as rx:
            measure("stream all mappings", count, lambda: sum(1 for _ in mappings.all(rx, "charge")))
        ledger.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, sys.argv[2] if len(sys.argv) > 2 else None)
