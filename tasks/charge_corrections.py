"""Lines of ours that go off a pending invoice again, and unbilled charges that are deleted.

Confirmed right before, one at a time, every answer checked. Ids are never given
twice, so the same removal may be sent again without harm.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.chargebee import requests
from connectors.chargebee.models import UnbilledCharge
from connectors.records import read_written
from connectors.transport import path
from meterbridge.clock import boottime
from meterbridge.errors import OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.standing import is_unbilled
from tasks.charges import RESEND_SECONDS
from tasks.keyed_writes import answer, looked_before, mark, unknown
from tasks.receipts import Receipt
from tasks.runs import Run
from tasks.services import SENDING_SHARE, Services
from tasks.unbilled import billed_on, living

logger = logging.getLogger(__name__)

CLOSED = (404, 409)
"""How Chargebee answers a write to a draft that has closed meanwhile."""

BAD_REQUEST = 400
NOT_UNBILLED = (BAD_REQUEST, 404, 409)
"""How it may answer the deletion of a charge that was deleted or invoiced before; which one is unverified."""


def send(work: Services, run: Run, rows: Sequence[IntentRow]) -> Receipt:
    """Take lines off their drafts; one that cannot be taken off stops no other.

    Raises:
        RetriableError: Chargebee is down or an outcome is unknown; what was not sent is ready again.
        SetupError: Chargebee refuses our credentials.
    """
    receipt = Receipt(claimed=len(rows))
    left = [row.id for row in rows]
    try:
        for row in rows:
            with work.ledger.write() as tx:
                ours = intents.renew(tx, left, run.run_id, work.settings.lease_seconds)
                tx.commit()
            if row.id in ours:
                _remove(work, run, row, receipt)
            left.remove(row.id)
    finally:
        with work.ledger.write() as tx:
            for row_id in left:
                intents.release(tx, row_id, run.run_id)
            tx.commit()
    return receipt


def _remove(work: Services, run: Run, row: IntentRow, receipt: Receipt) -> None:
    until = boottime() + work.settings.lease_seconds * SENDING_SHARE
    try:
        if is_unbilled(row.payload["invoice_id"]):
            _delete(work, run, row, receipt, until)
            return
        invoice = work.chargebee.invoice_or_none(row.payload["invoice_id"])
        if invoice is None or invoice.status != "pending":
            raise _closed(row)
        line_ids = set(row.payload["line_ids"])
        if not line_ids & {line.id for line in invoice.line_items}:
            _apply(work, run, row, receipt, written=row.state != "ready")
        elif row.state == "ready" and not still_decided(work, row.payload):
            _supersede(work, run, row, receipt)
        else:
            _transmit(work, run, row, until)
            _apply(work, run, row, receipt, written=True)
    except RecordRefused as refusal:
        with work.ledger.write() as tx:
            receipt.set_aside(tx, run, row, refusal)
            tx.commit()


def _supersede(work: Services, run: Run, row: IntentRow, receipt: Receipt) -> None:
    logger.info("bill changed since it was decided", extra={"run_id": run.run_id, "bill": row.payload["bill_id"]})
    with work.ledger.write() as tx:
        intents.supersede(tx, row.id, run.run_id)
        tx.commit()
    receipt.concluded += 1


def _delete(work: Services, run: Run, row: IntentRow, receipt: Receipt, until: float) -> None:
    """Delete an unbilled charge. Only the deletion itself tells whether it still is one: lists lag, no GET shows it."""
    if row.state == "ready" and not still_decided(work, row.payload):
        _supersede(work, run, row, receipt)
        return
    (charge_id,), name = row.payload["line_ids"], _name(row)
    request = mark(work, run, row, requests.delete_unbilled_charge(charge_id), name)
    if boottime() > until:
        raise RetriableError("MB-HELD", f"the lease on {name} ran out before it was sent")
    try:
        body = answer(work, run, row, request, name).json()
        raw = body.get("unbilled_charge") if isinstance(body, dict) else None
        charge = read_written(UnbilledCharge, raw, resource="unbilled charge")
        if not charge.deleted:
            raise RecordRefused("MB-CHARGE-WRONG", f"unbilled charge {charge_id} is still there")
    except OutcomeUnknown as lost:
        raise unknown(work, run, row, lost, name) from lost
    except RecordRefused as refusal:
        if refusal.status not in NOT_UNBILLED:
            raise
        if not _is_gone(work, row, charge_id, refusal):
            with work.ledger.write() as tx:
                intents.unknown(tx, row.id, run.run_id, "deleted or invoiced: looked for again later")
                tx.commit()
            return
    _apply(work, run, row, receipt, written=True)


def _is_gone(work: Services, row: IntentRow, charge_id: str, refusal: RecordRefused) -> bool:
    """Whether what Chargebee would not delete was deleted by an earlier try of ours whose answer was lost.

    It may be on an invoice that no list shows yet: taken for deleted, it would be charged a second time. While
    Chargebee surely knows our key, an earlier deletion would have been replayed, so this is none of ours. Later
    two looks, apart from each other, must show it nowhere.

    Raises:
        RecordRefused: MB-INVOICE-CLOSED, it is unbilled no more, and is followed from where it is by the next run;
            Chargebee's own, it still is unbilled.
    """
    with work.ledger.read() as rx:
        known = mappings.get(rx, "charge", tuple(row.payload["charge"]))
    if known is None or known.remote_id != charge_id:
        return True  # booked wrongly and never taken for ours: nothing is decided by it
    invoice_id = billed_on(work, known)
    waits = charge_id in {one.id for one in living(work, [known.state["subscription_id"]])}
    if waits and refusal.status == BAD_REQUEST:
        raise refusal
    if invoice_id is not None or work.clock.epoch() - (row.first_sent_at or work.clock.epoch()) < RESEND_SECONDS:
        where = f"is on invoice {invoice_id} by now" if invoice_id else "was invoiced or deleted by somebody else"
        raise RecordRefused("MB-INVOICE-CLOSED", f"unbilled charge {charge_id} {where}", key=str(row.key)) from refusal
    if not looked_before(work, row):
        return False
    if waits:
        raise refusal
    return True


def _transmit(work: Services, run: Run, row: IntentRow, until: float) -> None:
    """Commit as ``sending``, send under the intent's own key, see that the lines are gone."""
    invoice_id, name = row.payload["invoice_id"], _name(row)
    request = mark(work, run, row, requests.delete_line_items(invoice_id, row.payload["line_ids"]), name)
    if boottime() > until:
        raise RetriableError("MB-HELD", f"the lease on {name} ran out before it was sent")
    try:
        made = answer(work, run, row, request, name)
    except RecordRefused as refusal:
        raise (_closed(row) if refusal.status in CLOSED else refusal) from refusal
    invoice = work.chargebee.invoice(invoice_id) if made.replayed else work.chargebee.parse_invoice(made)
    if set(row.payload["line_ids"]) & {line.id for line in invoice.line_items}:
        raise RecordRefused("MB-CHARGE-WRONG", f"invoice {invoice_id}: line {row.key[-1]} is still there")


def _name(row: IntentRow) -> str:
    return f"removal {row.key}"


def _apply(work: Services, run: Run, row: IntentRow, receipt: Receipt, *, written: bool) -> None:
    with work.ledger.write() as tx:
        if intents.applied(tx, row.id, run.run_id, {"written": written}, mapping=None):
            _forget(tx, tuple(row.payload["charge"]), row.payload["line_ids"])
            receipt.concluded += 1
            if written:
                receipt.took(row)
        tx.commit()


def _forget(tx: Writer, charge: tuple[str, ...], line_ids: Sequence[str]) -> None:
    """The ledger's charge becomes history, unless it stands as another line by now."""
    known = mappings.get(tx, "charge", charge)
    if known is not None and known.remote_id in line_ids:
        mappings.deactivate(tx, "charge", charge)


def still_decided(work: Services, payload: Mapping[str, Any]) -> bool:
    """Whether the bill is what the removal was decided on, or still gone."""
    if payload.get("undo_of"):
        return True  # a person wants it off, whatever the bill is by now
    bill = work.m3ter.get_or_none(path("bills", payload["bill_id"]), exact=True)
    if bill is None or payload["bill_status"] == "DELETED":
        return bill is None and payload["bill_status"] == "DELETED"
    now = (int(bill["version"]), bill["status"], bill.get("lastCalculatedDate"))
    return now == (payload["bill_version"], payload["bill_status"], payload["bill_last_calculated"])


def _closed(row: IntentRow) -> RecordRefused:
    message = f"invoice {row.payload['invoice_id']} closed before line {row.key[-1]} was taken off"
    return RecordRefused("MB-INVOICE-CLOSED", message, key=str(row.key))
