"""Rows of one kind at work under one lease: what their threads share, and what the ledger is told of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from connectors.transport import Answer, Request, path
from meterbridge.clock import boottime
from meterbridge.errors import MeterbridgeError, OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import facts, intents
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.records import Ref
from tasks.receipts import Receipt, kind_of
from tasks.runs import Run
from tasks.services import SENDING_SHARE, Services

logger = logging.getLogger(__name__)

RESEND_SECONDS = 25 * 60
"""So long the vendor surely knows our key (it promises 30 minutes): the same request is a replay, no second write."""

CLOCKS_APART_SECONDS = 60
"""Two runs' clocks may differ by this: each follows a vendor's Date header, which resolves a second."""

LOOKS_APART_SECONDS = 300
"""Lists lag: what two looks so far apart do not show is not there."""


@dataclass(slots=True)
class Batch:
    """Guarded where threads meet. ``until`` is on :func:`boottime`.

    ``lock`` is held for moments only and never while the ledger is asked for: who writes to the ledger may take
    it, not the other way round. ``quiet``: a row that is refused is told to the caller, and put into no quarantine.
    """

    work: Services
    run: Run
    rows: Sequence[IntentRow]
    receipt: Receipt
    until: float
    quiet: bool = False
    trouble: MeterbridgeError | None = None
    refusals: list[RecordRefused] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    renewing: threading.Lock = field(default_factory=threading.Lock)
    lost: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    bills: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def open(cls, work: Services, run: Run, rows: Sequence[IntentRow], *, quiet: bool = False) -> Batch:
        """The batch of rows that were claimed just now."""
        until = boottime() + work.settings.lease_seconds * SENDING_SHARE
        return cls(work, run, rows, Receipt(claimed=len(rows)), until, quiet)

    # --- the lease

    def renew(self) -> None:
        """Renew the lease once half of it is gone; one thread does it for all."""
        lease = self.work.settings.lease_seconds
        if boottime() <= self.until - lease / 2 or not self.renewing.acquire(blocking=False):
            return
        try:
            until = boottime() + lease * SENDING_SHARE
            waiting = {row.id for row in self.rows} - self.done
            with self.work.ledger.write() as tx:
                ours = intents.renew(tx, waiting, self.run.run_id, lease)
                tx.commit()
            # A row that waits to be written down is among them or closed by now; another run has the others.
            self.lost |= waiting - ours
            if ours:
                self.until = until
        finally:
            self.renewing.release()

    def may_send(self, row: IntentRow) -> bool:
        """True if the lease still covers a write of the row, on a clock that counts a frozen process."""
        return self.trouble is None and boottime() < self.until and row.id not in self.lost

    def release(self) -> None:
        """Give back what was claimed and not sent; what is done with needs no second look."""
        left = [row for row in self.rows if row.id not in self.done]
        if not left:
            return
        with self.work.ledger.write() as tx:
            for row in left:
                intents.release(tx, row.id, self.run.run_id)
            tx.commit()

    # --- what is looked at before a write

    def is_as_decided(self, row: IntentRow) -> bool:
        """True if the bill still is what the row was decided on, or still gone; read once per bill and batch."""
        payload = row.payload
        if "bill_version" not in payload or row.action == "adopt":
            return True  # no bill decides about it, or a person wants it whatever the bill is by now
        with self.lock:
            known = self.bills.get(payload["bill_id"])
        if known is None:
            bill = self.work.m3ter.get_or_none(path("bills", payload["bill_id"]), exact=True)
            expected = tuple(payload[name] for name in ("bill_version", "bill_status", "bill_last_calculated"))
            if bill is None or payload["bill_status"] == "DELETED":
                known = bill is None and payload["bill_status"] == "DELETED"
            else:
                known = (int(bill["version"]), bill["status"], bill.get("lastCalculatedDate")) == expected
            with self.lock:
                self.bills[payload["bill_id"]] = known
        return known

    def knows_key(self, row: IntentRow) -> bool:
        """True if the vendor surely knows the row's key still, should an earlier try have reached it."""
        age = self.work.clock.epoch() - (row.attempt_started_at or 0)
        return row.state != "ready" and bool(row.request) and -CLOCKS_APART_SECONDS < age < RESEND_SECONDS

    def looked_before(self, row: IntentRow) -> bool:
        """True if a look before this one, so long ago that the lists have caught up, showed nothing either."""
        now, name = self.work.clock.epoch(), f"looked:{row.id}"
        with self.work.ledger.write() as tx:
            first = facts.get(tx, name)
            if first is None:
                facts.put(tx, name, str(now))
            tx.commit()
        return first is not None and now - float(first) >= LOOKS_APART_SECONDS

    # --- a write

    def transmit(self, row: IntentRow, request: Request, *, in_doubt: bool) -> Answer:
        """Send what is marked; to Chargebee under the row's own key."""
        if row.target == "m3ter":
            return self.work.m3ter.send(request)
        return self.work.chargebee.send(
            request,
            idempotency_key=row.idempotency_key,
            resend_until=self.resend_until(row),
            in_doubt=in_doubt,
        )

    def resend_until(self, row: IntentRow) -> float:
        """Until when the same request is a replay, on :func:`boottime`."""
        now = self.work.clock.epoch()
        return boottime() + RESEND_SECONDS - (now - (row.attempt_started_at or now))

    def reattempt(self, tx: Writer, row: IntentRow, request: Request, *, same: bool) -> bool:
        """Mark another try, in the caller's transaction; False if another run has the row.

        ``same``: the vendor knows the key of the attempt before, which goes on; its time is not begun anew.
        """
        at = row.attempt_started_at if same and row.attempt_started_at else self.work.clock.epoch()
        renewed = None if row.target == "chargebee" else request.to_json()
        return intents.reattempt(tx, row.id, self.run.run_id, at=at, request=renewed)

    # --- what became of a row

    def supersede(self, tx: Writer, row: IntentRow) -> bool:
        """The next run decides the bill anew; what builds on this write is not wanted either."""
        logger.info("bill changed since it was decided", extra={"run_id": self.run.run_id, "key": str(row.key)})
        needed, kinds = Ref(kind_of(row), row.key), ("external_mapping",)
        done = intents.supersede(tx, row.id, self.run.run_id)
        ours = intents.open_rows(tx, kinds, scope=f"bill:{row.payload['bill_id']}")
        built = [one.key for one in ours if needed in one.depends_on]
        site = self.work.settings.chargebee_site
        intents.record(tx, self.run.run_id, "", [], site, kinds=kinds, keys_decided=built)
        return done

    def set_aside(self, tx: Writer, row: IntentRow, refusal: RecordRefused) -> bool:
        """Close the row as refused and put its record into quarantine, in the caller's transaction."""
        if self.quiet:
            self.refusals.append(refusal)
            return intents.refused(tx, row.id, self.run.run_id, refusal.code, refusal.message)
        with self.lock:
            return self.receipt.set_aside(tx, self.run, row, refusal)

    def conclude(self, row: IntentRow, *, written: bool, note: str = "") -> None:
        """Count a row that is done with, once that is committed."""
        with self.lock:
            self.receipt.concluded += 1
            if written:
                self.receipt.took(row)
            if note:
                self.receipt.notes.append(note)

    def stop(self, trouble: MeterbridgeError) -> None:
        """Let every thread end after the write it has in hand."""
        if isinstance(trouble, OutcomeUnknown):
            # What it was about stays open, to be probed: for the run that is a trouble that passes.
            trouble = RetriableError("MB-OUTCOME-UNKNOWN", trouble.message, key=trouble.key)
        with self.lock:
            self.trouble = self.trouble or trouble


def stored(row: IntentRow, rendered: Request) -> Request:
    """What goes out: after a first attempt exactly what that one stored."""
    return Request.from_json(row.request) if row.request else rendered


def in_flight(rows: Iterable[IntentRow]) -> list[IntentRow]:
    """Those that were sent, and whose answer never came."""
    return [row for row in rows if row.state in ("sending", "unknown")]
