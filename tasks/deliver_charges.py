"""Charges to Chargebee: grouped by invoice, one write in flight per invoice, each committed before it leaves."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from connectors.chargebee.models import Invoice
from connectors.transport import Answer, Request, path
from meterbridge.clock import boottime
from meterbridge.errors import MeterbridgeError, OutcomeUnknown, RecordRefused
from meterbridge.ledger import facts, intents
from meterbridge.ledger.intents import IntentRow
from meterbridge.rules.booked import Absent
from meterbridge.rules.records import Ref
from meterbridge.rules.standing import is_unbilled
from tasks.charge_desk import (
    Desk,
    LeftOpen,
    apply,
    apply_booked,
    closed,
    item_price,
    lease_lost,
    note_booked,
    owned,
)
from tasks.charge_finals import on_final, taken_on_final
from tasks.charge_outcomes import Seen, settle, verdict_on
from tasks.charges import RESEND_SECONDS, baseline, lines_of, render, wish
from tasks.receipts import Receipt
from tasks.runs import Run
from tasks.services import Services
from tasks.unbilled import in_place_of_invoice

logger = logging.getLogger(__name__)

CLOSED = (404, 409)
"""How Chargebee answers a write to a draft that has closed meanwhile."""


def send(work: Services, run: Run, rows: Sequence[IntentRow]) -> Receipt:
    """Deliver the charges, invoices side by side, lines of one invoice one after the other.

    Item prices used for the first time go first and alone: one checked line before the rest.

    Raises:
        RetriableError: Chargebee is down or an outcome is unknown; what was not sent is ready again.
        SetupError: Chargebee refuses our credentials.
    """
    desk = Desk.open(work, run, len(rows))
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
    prices = {price for group in groups for row in group if (price := item_price(row))}
    with work.ledger.read() as rx:
        unseen = {price for price in prices if facts.get(rx, f"canary:{price}") is None}
    first: list[list[IntentRow]] = []
    rest: list[list[IntentRow]] = []
    for group in groups:
        new = {price for row in group if (price := item_price(row)) in unseen}
        (first if new else rest).append(group)
        unseen -= new
    return first, rest


def _invoice(desk: Desk, group: list[IntentRow], batch: Sequence[IntentRow]) -> None:
    """All charges of one invoice; whatever goes wrong here stays here, unless the vendor itself is out of order."""
    scope = group[0].scope
    try:
        _lines(desk, group, batch)
    except LeftOpen as left:
        logger.warning("left open", extra={"run_id": desk.run.run_id, "reason": left.message})
    except MeterbridgeError as trouble:
        desk.stop(trouble)
    try:
        note_booked(desk, scope)
    except LeftOpen as left:
        logger.warning("left open", extra={"run_id": desk.run.run_id, "reason": left.message})
    except MeterbridgeError as trouble:
        desk.stop(trouble)


def _lines(desk: Desk, group: list[IntentRow], batch: Sequence[IntentRow]) -> None:
    invoice = _as_it_is(desk, group[0].payload["invoice_id"])
    for row in sorted(group, key=lambda r: (r.state == "ready", r.id)):
        if not desk.may_send():
            return
        desk.renew(batch)
        invoice = _charge(desk, row, invoice, group)


def _as_it_is(desk: Desk, invoice_id: str) -> Invoice | None:
    """The invoice, read strongly; for what is to be taken over off the invoices, a list has to do.

    None also for a charge that was lowered to nothing: it stands on no invoice.
    """
    if not invoice_id:
        return None
    if is_unbilled(invoice_id):
        return in_place_of_invoice(desk.work, invoice_id)
    return desk.work.chargebee.invoice_or_none(invoice_id)


def _charge(desk: Desk, row: IntentRow, invoice: Invoice | None, group: list[IntentRow]) -> Invoice | None:
    """One charge; returns the invoice as it stands afterwards."""
    try:
        if row.action != "create" or row.state != "ready":
            note_booked(desk, row.scope)
        if row.action == "adopt":
            return _adopt(desk, row, invoice)
        if row.action == "net":
            return _net(desk, row, invoice)
        if row.state in ("sending", "unknown"):
            return _probe(desk, row, invoice, group)
        if row.scope in desk.blocked_scopes:
            raise LeftOpen(
                "MB-DOUBLE-CHARGE", f"invoice {row.payload['invoice_id']} has lines that must be cleared first"
            )
        if invoice is None or invoice.status != "pending":
            raise closed(row)
        if item_price(row) in desk.stopped_items:
            raise RecordRefused(
                "MB-CHARGE-WRONG", f"{item_price(row)} was booked wrongly on another invoice in this run"
            )
        if not _unchanged(desk, row):
            _supersede(desk, row)
            return invoice
        return _write(desk, row, invoice, render(row))
    except RecordRefused as refusal:
        if refusal.code == "MB-DOUBLE-CHARGE":
            with desk.lock:
                desk.blocked_scopes.add(row.scope)
        with desk.work.ledger.write() as tx:
            with desk.lock:
                desk.receipt.set_aside(tx, desk.run, row, refusal)
            tx.commit()
        with desk.lock:
            desk.done.add(row.id)
        return invoice


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
    """The next run decides the bill anew; the mappings of a charge that was not made are not wanted either."""
    work, run, needed = desk.work, desk.run, Ref("charge", row.key)
    logger.info("bill changed since it was decided", extra={"run_id": run.run_id, "bill": row.payload["bill_id"]})
    kinds = ("external_mapping",)
    with work.ledger.write() as tx:
        intents.supersede(tx, row.id, run.run_id)
        ours = intents.open_rows(tx, kinds, scope=f"bill:{row.payload['bill_id']}")
        built = [one.key for one in ours if needed in one.depends_on]
        intents.record(tx, run.run_id, "", [], work.settings.chargebee_site, kinds=kinds, keys_decided=built)
        tx.commit()
    desk.conclude(row, written=False)


def _adopt(desk: Desk, row: IntentRow, invoice: Invoice | None) -> Invoice | None:
    line_id = row.payload["line_id"]
    if line_id and (invoice is None or not any(line.id == line_id for line in invoice.line_items)):
        raise RecordRefused("MB-LINE-CHANGED", f"line {line_id} is no longer on invoice {row.payload['invoice_id']}")
    with desk.work.ledger.write() as tx:
        done = apply(tx, desk, row, line_id, written=False)
        tx.commit()
    desk.conclude(done, written=False)
    return invoice


def _net(desk: Desk, row: IntentRow, invoice: Invoice | None) -> Invoice | None:
    """A charge that another bill's surplus uses up whole: the ledger knows it, no line is written."""
    if not _unchanged(desk, row):
        _supersede(desk, row)
        return invoice
    with desk.work.ledger.write() as tx:
        done = apply(tx, desk, row, "", written=False)
        tx.commit()
    desk.conclude(done, written=False)
    return invoice


def _write(desk: Desk, row: IntentRow, invoice: Invoice, request: Request) -> Invoice:
    """Commit as ``sending``, send under the intent's own key, check the answer.

    One commit does for two: what became of the invoice's previous line is written down along with it.
    """
    work = desk.work
    stood = baseline(lines_of(invoice))
    with work.ledger.write() as tx:
        done = apply_booked(tx, desk, row.scope)
        marked = intents.mark_sending(tx, row.id, desk.run.run_id, request.to_json(), stood, at=work.clock.epoch())
        tx.commit()
    desk.conclude_booked(done)
    if not marked or not desk.may_send():
        raise lease_lost(row)
    return _transmit(desk, row, request, invoice, resend_for=RESEND_SECONDS)


def _transmit(
    desk: Desk, row: IntentRow, request: Request, before: Invoice | None, *, resend_for: float, alike: int = 1
) -> Invoice:
    """Send what is marked ``sending`` and settle what the answer shows.

    Args:
        before: The invoice right before, None when the draft is gone.
        resend_for: Seconds in which the connector may start another try.
        alike: Open charges of this signature; as many new lines are no double charge.
    """
    work = desk.work
    try:
        until = boottime() + resend_for
        answer = work.chargebee.send(request, idempotency_key=row.idempotency_key, resend_until=until)
    except OutcomeUnknown as lost:
        with work.ledger.write() as tx:
            intents.unknown(tx, row.id, desk.run.run_id, lost.message)
            tx.commit()
        raise
    except RecordRefused as refusal:
        raise (closed(row) if refusal.status in CLOSED and not _takes_charges(desk, row) else refusal) from refusal
    except MeterbridgeError:  # nothing was executed: throttled, or never reached
        with work.ledger.write() as tx:
            intents.unsent(tx, row.id, desk.run.run_id)
            tx.commit()
        raise
    invoice = _as_it_stands(desk, row, answer)
    # What a replay shows may have been there since the first try, so what stood before that one counts.
    stood = set(row.baseline.get("line_ids", ())) if answer.replayed or before is None else _ids(before)
    seen = Seen(
        lines_of(invoice),
        stood | owned(desk, row),
        alike if answer.replayed else 1,
        pending=invoice.status == "pending",
    )
    settle(desk, row, seen)
    return invoice


def _takes_charges(desk: Desk, row: IntentRow) -> bool:
    """Whether the invoice still is a draft: then 404 or 409 is about something else, such as a deleted subscription."""
    invoice = desk.work.chargebee.invoice_or_none(row.payload["invoice_id"])
    return invoice is not None and invoice.id == row.payload["invoice_id"] and invoice.status == "pending"


def _ids(invoice: Invoice) -> set[str]:
    return {line.id for line in lines_of(invoice)}


def _as_it_stands(desk: Desk, row: IntentRow, answer: Answer) -> Invoice:
    """A replayed answer tells what stood then; only a fresh read tells what stands now, if there still is a draft."""
    chargebee = desk.work.chargebee
    if not answer.replayed:
        try:
            return chargebee.parse_invoice(answer)
        except OutcomeUnknown:
            logger.warning("an answer keeps lines back", extra={"run_id": desk.run.run_id, "key": str(row.key)})
    fresh = chargebee.invoice_or_none(row.payload["invoice_id"])
    return fresh if fresh is not None else chargebee.parse_invoice(answer)


def _probe(desk: Desk, row: IntentRow, invoice: Invoice | None, group: list[IntentRow]) -> Invoice | None:
    """A charge whose answer never came: find out, and only then send again, under its own old key."""
    age = desk.work.clock.epoch() - (row.attempt_started_at or 0)
    request = Request.from_json(row.request) if row.request else render(row)
    alike = sum(1 for other in group if other.state in ("sending", "unknown") and wish(other) == wish(row))
    if invoice is not None and row.request and 0 <= age < RESEND_SECONDS:
        # Chargebee still knows the key: this is a replay if it landed, and the first execution if it did not.
        _again(desk, row, at=row.attempt_started_at)
        return _transmit(desk, row, request, invoice, resend_for=RESEND_SECONDS - age, alike=alike)
    if invoice is None:
        found = on_final(desk.work, row)
        if found is None:  # it may still come into sight: neither sent again nor given up
            why = f"draft {row.payload['invoice_id']} is closing, its final invoice is not in sight"
            with desk.work.ledger.write() as tx:
                intents.unknown(tx, row.id, desk.run.run_id, why)
                tx.commit()
            raise LeftOpen("MB-OUTCOME-UNKNOWN", why)
        row, seen = found.row, Seen(found.lines, found.taken, alike, pending=False)
    else:
        lines, pending = lines_of(invoice), invoice.status == "pending"
        before = set(row.baseline.get("line_ids", ())) | owned(desk, row)
        seen = Seen(lines, before if pending else taken_on_final(row, lines, before), alike, pending=pending)
    if not isinstance(verdict_on(row, seen), Absent):
        settle(desk, row, seen)
        return invoice
    if not seen.pending:
        raise closed(row)
    _again(desk, row, at=desk.work.clock.epoch())
    return _transmit(desk, row, request, invoice, resend_for=RESEND_SECONDS)


def _again(desk: Desk, row: IntentRow, *, at: float | None) -> None:
    """Write another attempt down before it leaves; never for a row that another run has taken over."""
    with desk.work.ledger.write() as tx:
        ours = intents.reattempt(tx, row.id, desk.run.run_id, at=at)
        tx.commit()
    if not ours or not desk.may_send():
        raise lease_lost(row)


def _release(desk: Desk, rows: Sequence[IntentRow]) -> None:
    """Give back what was claimed and not sent; what is done with needs no second look."""
    left = [row for row in rows if row.id not in desk.done]
    if not left:
        return
    with desk.work.ledger.write() as tx:
        for row in left:
            intents.release(tx, row.id, desk.run.run_id)
        tx.commit()
