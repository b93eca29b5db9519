"""Lines of ours that go off a pending invoice again, and unbilled charges that are deleted.

Ids are never given twice, so the same removal may be sent again without harm.
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.chargebee import requests
from connectors.chargebee.models import UnbilledCharge
from connectors.records import read_written
from connectors.transport import Answer
from meterbridge.errors import OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.keys import fingerprint
from meterbridge.rules.records import Intent, Key
from meterbridge.rules.standing import is_unbilled
from tasks.batch import RESEND_SECONDS, Batch, stored
from tasks.unbilled import billed_on, living
from tasks.write_protocol import Done, Later, Send, Step, Write
from tasks.writes import send_within

BAD_REQUEST = 400
NOT_UNBILLED = (BAD_REQUEST, 404, 409)
"""How Chargebee may answer the deletion of a charge that was deleted or invoiced before; which one is unverified."""

NOT_THERE = (404, 409)
"""How it answers the removal of a line that is gone, or whose draft is none any more: the invoice tells which."""


class Removals(Write):
    """See the module."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._work = batch.work

    def look(self, row: IntentRow) -> Step:
        """Read the draft strongly. Of an unbilled charge only the deletion tells: lists lag, no GET shows it."""
        invoice_id, line_ids = row.payload["invoice_id"], row.payload["line_ids"]
        if is_unbilled(invoice_id):
            request = requests.delete_unbilled_charge(line_ids[0])
        elif not self._stands(row):
            return self._gone(row, written=row.state != "ready")
        else:
            request = requests.delete_line_items(invoice_id, line_ids)
        return Send(stored(row, request), again=self._batch.knows_key(row))

    def read(self, row: IntentRow, sent: Send, answer: Answer) -> Done:
        """See that the lines are gone; a replayed answer tells what stood then."""
        del sent
        invoice_id = row.payload["invoice_id"]
        if is_unbilled(invoice_id):
            body = answer.json()
            raw = body.get("unbilled_charge") if isinstance(body, dict) else None
            stays = not read_written(UnbilledCharge, raw, resource="unbilled charge").deleted
            where = f"unbilled charge {row.key[-1]}"
        else:
            chargebee = self._work.chargebee
            invoice = chargebee.invoice(invoice_id) if answer.replayed else chargebee.parse_invoice(answer)
            stays = bool(set(row.payload["line_ids"]) & {line.id for line in invoice.line_items})
            where = f"invoice {invoice_id}: line {row.key[-1]}"
        if stays:
            raise RecordRefused("MB-CHARGE-WRONG", f"{where} is still there")
        return self._gone(row, written=True)

    def failed(self, row: IntentRow, sent: Send, failure: RecordRefused | OutcomeUnknown) -> Step:
        """What stands tells what a refusal means; the refusal alone does not."""
        del sent
        if isinstance(failure, RecordRefused):
            if is_unbilled(row.payload["invoice_id"]) and failure.status in NOT_UNBILLED:
                return self._not_deleted(row, failure)
            if failure.status in NOT_THERE and not self._stands(row):
                return self._gone(row, written=row.attempts > 0)
        raise failure

    def _stands(self, row: IntentRow) -> bool:
        """True if a line of the removal is on the draft still.

        Raises:
            RecordRefused: MB-INVOICE-CLOSED, it is no draft any more.
        """
        invoice = self._work.chargebee.invoice_or_none(row.payload["invoice_id"])
        if invoice is None or invoice.status != "pending":
            message = f"invoice {row.payload['invoice_id']} closed before line {row.key[-1]} was taken off"
            raise RecordRefused("MB-INVOICE-CLOSED", message, key=str(row.key))
        return bool(set(row.payload["line_ids"]) & {line.id for line in invoice.line_items})

    def _not_deleted(self, row: IntentRow, refusal: RecordRefused) -> Done | Later:
        """What Chargebee would not delete: deleted by an earlier try of ours whose answer was lost, or invoiced?

        It may be on an invoice that no list shows yet: taken for deleted, it would be charged a second time. While
        Chargebee surely knows our key, an earlier deletion would have been replayed, so this is none of ours. Later
        two looks, apart from each other, must show it nowhere.

        Raises:
            RecordRefused: MB-INVOICE-CLOSED, it is unbilled no more, and is followed from where it is by the next run;
                Chargebee's own, it still is unbilled.
        """
        (charge_id,) = row.payload["line_ids"]
        with self._work.ledger.read() as rx:
            known = mappings.get(rx, "charge", tuple(row.payload["charge"]))
        if known is None or known.remote_id != charge_id:
            return self._gone(row, written=True)  # booked wrongly and never taken for ours: nothing is decided by it
        invoice_id = billed_on(self._work, known)
        waits = charge_id in {one.id for one in living(self._work, [known.state["subscription_id"]])}
        if waits and refusal.status == BAD_REQUEST:
            raise refusal
        now = self._work.clock.epoch()
        if invoice_id is not None or now - (row.first_sent_at or now) < RESEND_SECONDS:
            where = f"is on invoice {invoice_id} by now" if invoice_id else "was invoiced or deleted by somebody else"
            message = f"unbilled charge {charge_id} {where}"
            raise RecordRefused("MB-INVOICE-CLOSED", message, key=str(row.key)) from refusal
        if not self._batch.looked_before(row):
            return Later("deleted or invoiced: looked for again later")
        if waits:
            raise refusal
        return self._gone(row, written=True)

    def _gone(self, row: IntentRow, *, written: bool) -> Done:
        def close(tx: Writer) -> bool:
            if not intents.applied(tx, row.id, self._batch.run.run_id, {"written": written}, mapping=None):
                return False
            _forget(tx, tuple(row.payload["charge"]), row.payload["line_ids"])
            return True

        return Done(close, written=written)


def _forget(tx: Writer, charge: Key, line_ids: Sequence[str]) -> None:
    """The ledger's charge becomes history, unless it stands as another line by now."""
    known = mappings.get(tx, "charge", charge)
    if known is not None and known.remote_id in line_ids:
        mappings.deactivate(tx, "charge", charge)


def removal_of(charge: Key, invoice_id: str, line_id: str, bill_id: str) -> Intent:
    """The removal of a line that was booked wrongly: wanted whatever the bill is by now."""
    payload = {"invoice_id": invoice_id, "line_ids": [line_id], "charge": list(charge), "bill_id": bill_id}
    return Intent(
        kind="charge_removal",
        key=(*charge, line_id),
        action="delete",
        target="chargebee",
        payload=payload,
        fingerprint=fingerprint(payload),
        reason=f"line {line_id} of invoice {invoice_id} is not what was sent",
        scope=f"invoice:{invoice_id}",
    )


def take_off(batch: Batch, removal: Intent) -> None:
    """Delete a line that Chargebee booked wrongly: a write like any other, with an intent of its own.

    It is written down, or taken over from a run that a crash ended, under the lease of the batch's run.

    Raises:
        RecordRefused: The line could not be taken off.
        RetriableError: MB-HELD, another run takes it off; or a trouble that passes.
    """
    work, run_id, kinds = batch.work, batch.run.run_id, ("charge_removal",)
    lease, scopes = work.settings.lease_seconds, {removal.scope}
    with work.ledger.write() as tx:
        intents.record(tx, run_id, "", [removal], site=work.settings.chargebee_site, kinds=(), keys_decided=())
        claimed = intents.stale(tx, run_id, kinds=kinds, lease_seconds=lease, scopes=scopes)
        claimed += intents.claim(tx, run_id, kinds=kinds, limit=100, lease_seconds=lease, scopes=scopes)
        for one in claimed:
            if one.key != removal.key:
                intents.release(tx, one.id, run_id)
        tx.commit()
    ours = [one for one in claimed if one.key == removal.key]
    if not ours:
        raise RetriableError("MB-HELD", f"another run takes line {removal.key[-1]} off {removal.scope}")
    send_within(batch, Removals, ours)
