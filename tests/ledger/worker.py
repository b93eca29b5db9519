"""A process of its own for the tests that need a real one: ``python worker.py URL HOME TASK [ARGUMENTS]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from meterbridge.ledger import allowances, intents
from meterbridge.ledger.ledger import Ledger

KINDS = ("account",)


def claim_all(ledger: Ledger, owner: str, limit: int, *, exclusive: bool) -> None:
    """Claim until nothing is left; print every id claimed, in the order of claiming."""
    idle = 0
    while idle < 5:
        with ledger.write() as tx:
            rows = intents.claim(tx, owner, kinds=KINDS, limit=limit, exclusive_scope=exclusive)
            tx.commit()
        idle = 0 if rows else idle + 1
        for row in rows:
            print(row.id, flush=True)
        time.sleep(0.002)


def claim_and_apply(ledger: Ledger, owner: str) -> None:
    """Claim one row of each free scope, apply it; print the scope and when its write began and ended."""
    idle = 0
    while idle < 20:
        with ledger.write() as tx:
            rows = intents.claim(tx, owner, kinds=KINDS, limit=3, exclusive_scope=True)
            tx.commit()
        idle = 0 if rows else idle + 1
        begun = time.monotonic()
        time.sleep(0.002)
        for row in rows:
            with ledger.write() as tx:
                assert intents.mark_sending(tx, row.id, owner, "r")
                tx.commit()
            ended = time.monotonic()
            with ledger.write() as tx:
                assert intents.applied(tx, row.id, owner, {}, mapping=None)
                tx.commit()
            print(row.scope, begun, ended, flush=True)


def send_and_hang(ledger: Ledger, owner: str) -> None:
    """Mark one row as sending with a lease of half a second, say so, and never come back."""
    with ledger.write() as tx:
        (row,) = intents.claim(tx, owner, kinds=KINDS, limit=1, lease_seconds=0.5)
        tx.commit()
    with ledger.write() as tx:
        assert intents.mark_sending(tx, row.id, owner, "POST /accounts", {"line_ids": ["li-1"]})
        tx.commit()
    print("sent", flush=True)
    time.sleep(600)


def write_and_hang(ledger: Ledger, owner: str) -> None:
    """Mark one row as sending, do not commit, say so, and never come back."""
    with ledger.write() as tx:
        (row,) = intents.claim(tx, owner, kinds=KINDS, limit=1)
        assert intents.mark_sending(tx, row.id, owner, "POST /accounts")
        print("written", flush=True)
        time.sleep(600)


def lease_slots(ledger: Ledger, blocks: int) -> None:
    """Lease blocks of ten slots; print where each begins."""
    for _ in range(blocks):
        with ledger.write() as tx:
            first = allowances.lease(tx, "chargebee", 10, 1_000.0)
            tx.commit()
        print(repr(first), flush=True)


def main(url: str, home: str, task: str, *arguments: str) -> None:
    """Open the ledger and do the task."""
    ledger = Ledger.open(url, home=Path(home), connection="default")
    print("open", flush=True)
    sys.stdin.readline()  # until all are ready
    match task:
        case "claim_all":
            claim_all(ledger, arguments[0], int(arguments[1]), exclusive=False)
        case "claim_and_apply":
            claim_and_apply(ledger, arguments[0])
        case "send_and_hang":
            send_and_hang(ledger, arguments[0])
        case "write_and_hang":
            write_and_hang(ledger, arguments[0])
        case "lease_slots":
            lease_slots(ledger, int(arguments[0]))
        case "open_only":
            pass
        case _:
            raise SystemExit(f"no task {task}")
    ledger.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
