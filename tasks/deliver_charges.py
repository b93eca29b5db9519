"""Charges to Chargebee: grouped by invoice, one write in flight per invoice, each committed before it leaves."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from connectors.chargebee import requests
from connectors.transport import Request, path
from meterbridge.clock import boottime
from meterbridge.errors import MeterbridgeError, OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import facts, intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.booked import Absent, Booked, TooMany, Wrong, judge
from meterbridge.rules.keys import fingerprint
from meterbridge.rules.records import Intent, InvoiceLine
from tasks.charges import RESEND_SECONDS, baseline, lines_of, render, wish
from tasks.receipts import Receipt
from tasks.runs import Run
from tasks.services import Services

logger = logging.getLogger(__name__)

LEASE_MARGIN_SECONDS = 5
CLOSED = (404, 409)
"""How Chargebee answers a write to a draft that has closed meanwhile."""


@dataclass(slots=True)
class Desk:
    """One batch at work: shared by the invoice threads, guarded where they meet."""

    work: Services
    run: Run
    receipt: Receipt
    until: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped_items: set[str] = field(default_factory=set)
    bills: dict[str, bool] = field(default_factory=dict)
    trouble: MeterbridgeError | None = None

    def stop(self, trouble: MeterbridgeError) -> None:
        """Let every thread end after the write it has in hand."""
        with self.lock:
            self.trouble = self.trouble or trouble

    def may_send(self) -> bool:
        """Whether the lease still covers a write, on a clock that counts a frozen process."""
        return self.trouble is None and boottime() < self.until

    def renew(self, rows: Sequence[IntentRow]) -> None:
        """Renew the lease once half of it is gone."""
        lease = self.work.settings.lease_seconds
        with self.lock:
            if boottime() > self.until - lease / 2 + LEASE_MARGIN_SECONDS:
                self.until = boottime() + lease - LEASE_MARGIN_SECONDS
                with self.work.ledger.write() as tx:
                    intents.renew(tx, [row.id for row in rows], self.run.run_id, lease)
                    tx.commit()


def send(work: Services, run: Run, rows: Sequence[IntentRow]) -> Receipt:
    """Deliver the charges, invoices side by side, lines of one invoice one after the other.

    Item prices used for the first time go first and alone: one checked line before the rest.

    Raises:
        RetriableError: Chargebee is down or an outcome is unknown; what was not sent is ready again.
        SetupError: Chargebee refuses our credentials.
    """
    desk = Desk(work, run, Receipt(claimed=len(rows)), boottime() + work.settings.lease_seconds - LEASE_MARGIN_SECONDS)
    by_invoice: dict[str, list[IntentRow]] = defaultdict(list)
    for row in rows:
        by_invoice[row.scope].append(row)
    first, rest = _canaries(work, list(by_invoice.values()))
    for group in first:
        _invoice(desk, group, rows)
    with ThreadPoolExecutor(work.settings.deliver_threads) as pool:
        list(pool.map(lambda group: _invoice(desk, group, rows), rest))
    _release(desk, rows)
    if desk.trouble is not None:
        raise desk.trouble
    return desk.receipt


def _canaries(work: Services, groups: list[list[IntentRow]]) -> tuple[list[list[IntentRow]], list[list[IntentRow]]]:
    """The groups that use an item price for the first time in this ledger, one group an item price; and the others."""
    seen: set[str] = set()
    first: list[list[IntentRow]] = []
    rest: list[list[IntentRow]] = []
    with work.ledger.read() as rx:
        for group in groups:
            new = {i for i in map(_item_price, group) if i and i not in seen and facts.get(rx, f"canary:{i}") is None}
            (first if new else rest).append(group)
            seen |= new
    return first, rest


def _item_price(row: IntentRow) -> str | None:
    return row.payload.get("item_price_id")


def _invoice(desk: Desk, group: list[IntentRow], batch: Sequence[IntentRow]) -> None:
    """All charges of one invoice; whatever goes wrong here stays here, unless the vendor itself is out of order."""
    try:
        invoice = desk.work.chargebee.invoice_or_none(group[0].payload["invoice_id"])
        lines = lines_of(invoice) if invoice else []
        pending = invoice is not None and invoice.status == "pending"
        for row in sorted(group, key=lambda r: (r.state == "ready", r.id)):
            if not desk.may_send():
                return
            desk.renew(batch)
            lines = _charge(desk, row, lines, group, pending=pending)
    except MeterbridgeError as trouble:
        desk.stop(trouble)


def _charge(
    desk: Desk, row: IntentRow, lines: list[InvoiceLine], group: list[IntentRow], *, pending: bool
) -> list[InvoiceLine]:
    """One charge; returns the invoice's lines as they stand afterwards."""
    try:
        if row.action == "adopt":
            return _adopt(desk, row, lines)
        if row.state in ("sending", "unknown"):
            return _probe(desk, row, lines, group, pending=pending)
        if not pending:
            raise _closed(row)
        if _item_price(row) in desk.stopped_items:
            raise RecordRefused(
                "MB-CHARGE-WRONG", f"{_item_price(row)} was booked wrongly on another invoice in this run"
            )
        if not _unchanged(desk, row):
            _supersede(desk, row)
            return lines
        return _write(desk, row, lines, render(row))
    except RecordRefused as refusal:
        with desk.lock, desk.work.ledger.write() as tx:
            desk.receipt.set_aside(tx, desk.run, row, refusal)
            tx.commit()
        return lines


def _closed(row: IntentRow) -> RecordRefused:
    return RecordRefused(
        "MB-INVOICE-CLOSED", f"invoice {row.payload['invoice_id']} is no longer pending", key=str(row.key)
    )


def _unchanged(desk: Desk, row: IntentRow) -> bool:
    """Whether the bill still is what was decided on; read once per bill and batch, right before its first write."""
    bill_id = row.payload["bill_id"]
    with desk.lock:
        known = desk.bills.get(bill_id)
    if known is None:
        bill = desk.work.m3ter.get_or_none(path("bills", bill_id), exact=True)
        expected = tuple(row.payload[name] for name in ("bill_version", "bill_status", "bill_last_calculated"))
        known = bill is not None and (int(bill["version"]), bill["status"], bill.get("lastCalculatedDate")) == expected
        with desk.lock:
            desk.bills[bill_id] = known
    return known


def _supersede(desk: Desk, row: IntentRow) -> None:
    logger.info("bill changed since it was decided", extra={"run_id": desk.run.run_id, "bill": row.payload["bill_id"]})
    with desk.lock, desk.work.ledger.write() as tx:
        intents.supersede(tx, row.id, desk.run.run_id)
        tx.commit()


def _adopt(desk: Desk, row: IntentRow, lines: list[InvoiceLine]) -> list[InvoiceLine]:
    line_id = row.payload["line_id"]
    if not any(line.id == line_id for line in lines):
        raise RecordRefused("MB-LINE-CHANGED", f"line {line_id} is no longer on invoice {row.payload['invoice_id']}")
    with desk.lock, desk.work.ledger.write() as tx:
        _apply(tx, desk, row, line_id, written=False)
        tx.commit()
    return lines


def _write(desk: Desk, row: IntentRow, lines: list[InvoiceLine], request: Request) -> list[InvoiceLine]:
    """Commit as ``sending``, send under the intent's own key, check the answer."""
    work = desk.work
    with work.ledger.write() as tx:
        marked = intents.mark_sending(
            tx, row.id, desk.run.run_id, request.to_json(), baseline(lines), at=work.clock.epoch()
        )
        tx.commit()
    if not marked or not desk.may_send():
        raise RetriableError("MB-HELD", f"the lease on charge {row.key} ran out before it was sent")
    return _transmit(desk, row, request, taken={line.id for line in lines}, resend_for=RESEND_SECONDS)


def _transmit(desk: Desk, row: IntentRow, request: Request, *, taken: set[str], resend_for: float) -> list[InvoiceLine]:
    work = desk.work
    try:
        until = time.monotonic() + resend_for
        answer = work.chargebee.send(request, idempotency_key=row.idempotency_key, resend_until=until)
    except OutcomeUnknown as lost:
        with desk.lock, work.ledger.write() as tx:
            intents.unknown(tx, row.id, desk.run.run_id, lost.message)
            tx.commit()
        raise RetriableError("MB-OUTCOME-UNKNOWN", f"charge {row.key}: {lost.message}") from lost
    except RecordRefused as refusal:
        raise (_closed(row) if refusal.status in CLOSED else refusal) from refusal
    except MeterbridgeError:  # nothing was executed: throttled, or never reached
        with desk.lock, work.ledger.write() as tx:
            intents.unsent(tx, row.id, desk.run.run_id)
            tx.commit()
        raise
    # A replayed answer tells what stood then; only a fresh read tells what stands now.
    invoice = (
        work.chargebee.invoice(row.payload["invoice_id"]) if answer.replayed else work.chargebee.parse_invoice(answer)
    )
    lines = lines_of(invoice)
    _settle(desk, row, lines, taken | _owned(desk, row), pending=True)
    return lines


def _settle(
    desk: Desk, row: IntentRow, lines: list[InvoiceLine], taken: set[str], *, pending: bool, alike: int = 1
) -> None:
    """Record what the invoice shows of the charge.

    Raises:
        RecordRefused: What was booked is not what was sent; a single wrong line has been taken off again.
    """
    verdict = judge(wish(row), lines, taken, open_alike=alike)
    invoice_id = row.payload["invoice_id"]
    match verdict:
        case Booked(line_id):
            with desk.lock, desk.work.ledger.write() as tx:
                _apply(tx, desk, row, line_id, written=True)
                tx.commit()
        case Wrong(line_id, amount):
            if pending:
                _take_off(desk, row, line_id)
            with desk.lock:
                desk.stopped_items |= {_item_price(row) or ""} - {""}
            gone = "was taken off again" if pending else "stands on the closed invoice"
            raise RecordRefused(
                "MB-CHARGE-WRONG",
                f"invoice {invoice_id}: booked {amount} instead of {row.payload['amount']}; line {line_id} {gone}",
            )
        case TooMany(line_ids):
            raise RecordRefused("MB-DOUBLE-CHARGE", f"invoice {invoice_id}: lines {', '.join(line_ids)} are one charge")
        case Absent():
            raise RecordRefused(
                "MB-CHARGE-WRONG", f"invoice {invoice_id}: Chargebee accepted the charge, but no line of it shows"
            )


def _owned(desk: Desk, row: IntentRow) -> set[str]:
    """Lines of this invoice that other charges own, by the ledger."""
    with desk.work.ledger.read() as rx:
        owned = mappings.by_scope(rx, "charge", row.payload["invoice_id"])
        return {m.remote_id for m in owned if m.active and m.key != row.key}


def _probe(
    desk: Desk, row: IntentRow, lines: list[InvoiceLine], group: list[IntentRow], *, pending: bool
) -> list[InvoiceLine]:
    """A charge whose answer never came: find out, and only then send again, under its own old key."""
    work = desk.work
    taken = set(row.baseline.get("line_ids", ())) | _owned(desk, row)
    age = work.clock.epoch() - (row.attempt_started_at or 0)
    request = Request.from_json(row.request) if row.request else render(row)
    if row.request and 0 <= age < RESEND_SECONDS and pending:
        return _transmit(desk, row, request, taken=taken, resend_for=RESEND_SECONDS - age)
    if not lines and not pending:
        raise RecordRefused(
            "MB-DRAFT-LOST", f"invoice {row.payload['invoice_id']} is gone while a charge was under way"
        )
    alike = sum(1 for other in group if other.state in ("sending", "unknown") and wish(other) == wish(row))
    verdict = judge(wish(row), lines, taken, open_alike=alike)
    if not isinstance(verdict, Absent):
        _settle(desk, row, lines, taken, pending=pending, alike=alike)
        return lines
    if not pending:
        raise _closed(row)
    with work.ledger.write() as tx:
        intents.reattempt(tx, row.id, desk.run.run_id, at=work.clock.epoch())
        tx.commit()
    return _transmit(desk, row, request, taken={line.id for line in lines} | taken, resend_for=RESEND_SECONDS)


def _apply(tx: Writer, desk: Desk, row: IntentRow, line_id: str, *, written: bool) -> None:
    state = {**row.wanted, "line_id": line_id, "invoice_id": row.payload["invoice_id"]}
    mapping = mappings.Mapping(
        kind="charge",
        key=row.key,
        remote_id=line_id,
        fingerprint=row.fingerprint,
        scope=row.payload["invoice_id"],
        state=state,
        active=True,
        source_version=row.source_version,
        run_id=desk.run.run_id,
    )
    if not intents.applied(tx, row.id, desk.run.run_id, {"line_id": line_id, "written": written}, mapping=mapping):
        desk.receipt.held += 1
        return
    item_price = _item_price(row)
    if item_price:
        facts.put(tx, f"canary:{item_price}", "verified")
    if written:
        desk.receipt.took(row)


def _take_off(desk: Desk, row: IntentRow, line_id: str) -> None:
    """Delete a line that Chargebee booked wrongly: a write like any other, with an intent of its own."""
    work, run = desk.work, desk.run
    invoice_id = row.payload["invoice_id"]
    payload = {"invoice_id": invoice_id, "line_ids": [line_id]}
    removal = Intent(
        kind="charge_removal",
        key=(*row.key, line_id),
        action="delete",
        target="chargebee",
        payload=payload,
        fingerprint=fingerprint(payload),
        reason=f"line {line_id} of invoice {invoice_id} is not what was sent",
        scope=row.scope,
    )
    request = requests.delete_line_items(invoice_id, [line_id])
    with desk.lock, work.ledger.write() as tx:
        intents.record(tx, run.run_id, "", [removal], site=work.settings.chargebee_site, kinds=(), keys_decided=())
        claimed = intents.claim(
            tx, run.run_id, kinds=("charge_removal",), limit=1, lease_seconds=work.settings.lease_seconds
        )
        for one in claimed:
            intents.mark_sending(tx, one.id, run.run_id, request.to_json(), {}, at=work.clock.epoch())
        tx.commit()
    for one in claimed:
        until = time.monotonic() + RESEND_SECONDS
        work.chargebee.send(request, idempotency_key=one.idempotency_key, resend_until=until)
        with desk.lock, work.ledger.write() as tx:
            intents.applied(tx, one.id, run.run_id, {"line_id": line_id}, mapping=None)
            tx.commit()


def _release(desk: Desk, rows: Sequence[IntentRow]) -> None:
    """Give back what was claimed and not sent."""
    with desk.work.ledger.write() as tx:
        for row in rows:
            intents.release(tx, row.id, desk.run.run_id)
        tx.commit()
