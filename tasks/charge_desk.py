"""One batch of charges at work: what the invoice threads share, and what the ledger says beside it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from meterbridge.clock import boottime
from meterbridge.errors import MeterbridgeError, OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import facts, intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from tasks.receipts import Receipt
from tasks.runs import Run
from tasks.services import SENDING_SHARE, Services


class LeftOpen(MeterbridgeError):
    """The row stays open, for another run or until a person has acted: nothing more may be done about it here."""


@dataclass(slots=True)
class Desk:
    """Guarded where threads meet. ``until`` is on :func:`boottime`.

    ``lock`` is held for moments only and never while the ledger is asked for: who writes to the ledger may take
    it, not the other way round. ``booked`` holds, by scope, the last line of an invoice until it is written down;
    a scope is one thread's.
    """

    work: Services
    run: Run
    receipt: Receipt
    until: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped_items: set[str] = field(default_factory=set)
    blocked_scopes: set[str] = field(default_factory=set)
    bills: dict[str, bool] = field(default_factory=dict)
    booked: dict[str, tuple[IntentRow, str]] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    verified: set[str] = field(default_factory=set)
    renewing: threading.Lock = field(default_factory=threading.Lock)
    trouble: MeterbridgeError | None = None

    @classmethod
    def open(cls, work: Services, run: Run, claimed: int) -> Desk:
        """A desk that knows what earlier batches and runs had to stop."""
        desk = cls(work, run, Receipt(claimed=claimed), boottime() + work.settings.lease_seconds * SENDING_SHARE)
        with work.ledger.read() as rx:
            for row in intents.refused_rows(rx, ("charge",)):
                if row.error_code == "MB-DOUBLE-CHARGE":
                    desk.blocked_scopes.add(row.scope)
                if row.error_code == "MB-CHARGE-WRONG" and row.run_id == run.run_id:
                    desk.stopped_items |= {item_price(row) or ""} - {""}
        return desk

    def stop(self, trouble: MeterbridgeError) -> None:
        """Let every thread end after the write it has in hand."""
        if isinstance(trouble, OutcomeUnknown):
            # What it was about stays `sending`, to be probed: for the run that is a trouble that passes.
            trouble = RetriableError("MB-OUTCOME-UNKNOWN", trouble.message, key=trouble.key)
        with self.lock:
            self.trouble = self.trouble or trouble

    def may_send(self) -> bool:
        """Whether the lease still covers a write, on a clock that counts a frozen process."""
        return self.trouble is None and boottime() < self.until

    def renew(self, rows: Sequence[IntentRow]) -> None:
        """Renew the lease once half of it is gone; one thread does it for all."""
        lease = self.work.settings.lease_seconds
        if boottime() <= self.until - lease / 2 or not self.renewing.acquire(blocking=False):
            return
        try:
            until = boottime() + lease * SENDING_SHARE
            with self.work.ledger.write() as tx:
                ours = intents.renew(tx, [row.id for row in rows], self.run.run_id, lease)
                tx.commit()
            if ours:
                self.until = until
        finally:
            self.renewing.release()

    def conclude(self, row: IntentRow, *, written: bool) -> None:
        """Count a row that is done with, once that is committed."""
        with self.lock:
            self.receipt.concluded += 1
            self.done.add(row.id)
            if written:
                self.receipt.took(row)

    def conclude_booked(self, row: IntentRow | None) -> None:
        """Forget an invoice's last line, once it is written down."""
        if row is not None:
            del self.booked[row.scope]
            self.conclude(row, written=True)


def item_price(row: IntentRow) -> str | None:
    """The charge item price that the row books, if any."""
    return row.payload.get("item_price_id")


def owned(desk: Desk, row: IntentRow) -> set[str]:
    """Lines of the invoice that other charges own, by the ledger."""
    with desk.work.ledger.read() as rx:
        found = mappings.by_state(rx, "charge", "invoice_id", row.payload["invoice_id"])
        return {m.remote_id for m in found if m.active and m.key != row.key}


def apply_booked(tx: Writer, desk: Desk, scope: str) -> IntentRow | None:
    """Write down the invoice's last line in the caller's transaction; None when there is none to write down."""
    row, line_id = desk.booked.get(scope, (None, ""))
    return None if row is None else apply(tx, desk, row, line_id, written=True)


def note_booked(desk: Desk, scope: str) -> None:
    """Write down the invoice's last line, if there is one."""
    if scope not in desk.booked:
        return
    with desk.work.ledger.write() as tx:
        done = apply_booked(tx, desk, scope)
        tx.commit()
    desk.conclude_booked(done)


def apply(tx: Writer, desk: Desk, row: IntentRow, line_id: str, *, written: bool) -> IntentRow:
    """The charge stands as this line: close the intent, remember the line, in the caller's transaction.

    Returns:
        The row, to be counted once the transaction is committed.
    """
    stands_on = row.payload["invoice_id"]
    mapping: mappings.Mapping | None = mappings.Mapping(
        kind="charge",
        key=row.key,
        remote_id=line_id,
        fingerprint=row.fingerprint,
        scope=stands_on,
        state={**row.wanted, "line_id": line_id, "invoice_id": stands_on},
        active=True,
        source_version=row.source_version,
        run_id=desk.run.run_id,
    )
    known = mappings.get(tx, "charge", row.key)
    if row.action == "adopt" and known is not None and known.active and known.remote_id == line_id:
        mapping = None  # another run sent it meanwhile: it was not found, but is ours
    if not intents.applied(tx, row.id, desk.run.run_id, {"line_id": line_id, "written": written}, mapping=mapping):
        raise lease_lost(row)
    price = item_price(row)
    if price and price not in desk.verified:
        facts.put(tx, f"canary:{price}", "verified")
        desk.verified.add(price)
    return row


def lease_lost(row: IntentRow) -> LeftOpen:
    """What to raise when a guarded change of the row did not take."""
    return LeftOpen("MB-HELD", f"the lease on {row.kind} {row.key} ran out, another run has it", key=str(row.key))


def closed(row: IntentRow) -> RecordRefused:
    """The refusal of a write to a draft that is none any more."""
    return RecordRefused(
        "MB-INVOICE-CLOSED", f"invoice {row.payload['invoice_id']} is no longer pending", key=str(row.key)
    )
