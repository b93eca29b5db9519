"""What became of a charge: read off the invoice, recorded, and a wrong line taken off again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from connectors.chargebee import requests
from connectors.transport import Request
from meterbridge.clock import boottime
from meterbridge.errors import OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import intents
from meterbridge.ledger.intents import IntentRow
from meterbridge.rules.booked import Absent, Booked, TooMany, Verdict, Wrong, judge
from meterbridge.rules.keys import fingerprint
from meterbridge.rules.records import Intent, InvoiceLine
from tasks.charge_desk import Desk, item_price, lease_lost
from tasks.charges import RESEND_SECONDS, wish


@dataclass(frozen=True, slots=True)
class Seen:
    """An invoice's lines as they stand, and what of them is not this charge's.

    ``taken`` stood before or have another owner; ``alike``: open charges of this
    signature, as many new lines are no double charge; ``pending``: lines can still go.
    """

    lines: Sequence[InvoiceLine]
    taken: Collection[str]
    alike: int
    pending: bool


def verdict_on(row: IntentRow, seen: Seen) -> Verdict:
    """Judge what the invoice shows of the charge."""
    return judge(wish(row), seen.lines, seen.taken, open_alike=seen.alike)


def settle(desk: Desk, row: IntentRow, seen: Seen) -> None:
    """Record what the invoice shows of the charge; a line that is right is written down with the invoice's next one.

    Until then the row stays ``sending``: after a crash its request is a replay.

    Raises:
        RecordRefused: What was booked is not what was sent; a single wrong line has been taken off again.
    """
    invoice_id = row.payload["invoice_id"]
    match verdict_on(row, seen):
        case Booked(line_id):
            desk.booked[row.scope] = (row, line_id)
        case Wrong(line_id, amount):
            with desk.lock:
                desk.stopped_items |= {item_price(row) or ""} - {""}
            if seen.pending:
                take_off(desk, row, line_id, requests.delete_line_items(invoice_id, [line_id]))
            gone = "was taken off again" if seen.pending else "stands on the closed invoice"
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


def take_off(desk: Desk, row: IntentRow, line_id: str, request: Request) -> None:
    """Delete a line that Chargebee booked wrongly: a write like any other, with an intent of its own.

    Args:
        row: The charge, with the invoice that the line is on.
        request: What takes the line away.
    """
    invoice_id = row.payload["invoice_id"]
    decided = {name: row.payload[name] for name in ("bill_id", "bill_version", "bill_status", "bill_last_calculated")}
    payload = {"invoice_id": invoice_id, "line_ids": [line_id], "charge": list(row.key), **decided}
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
    claimed = _claim_removal(desk, removal, request)
    if claimed is None:
        raise RetriableError("MB-HELD", f"another run takes line {line_id} off invoice {invoice_id}")
    try:
        desk.work.chargebee.send(
            request, idempotency_key=claimed.idempotency_key, resend_until=boottime() + RESEND_SECONDS
        )
    except RecordRefused as refusal:
        if request.path.startswith("/invoices") and _is_there(desk, invoice_id, line_id):
            _close(desk, claimed, refusal)
            raise
    except OutcomeUnknown as lost:
        with desk.work.ledger.write() as tx:
            intents.unknown(tx, claimed.id, desk.run.run_id, lost.message)
            tx.commit()
        raise
    with desk.work.ledger.write() as tx:
        intents.applied(tx, claimed.id, desk.run.run_id, {"line_id": line_id}, mapping=None)
        tx.commit()


def _is_there(desk: Desk, invoice_id: str, line_id: str) -> bool:
    return any(line.id == line_id for line in desk.work.chargebee.invoice(invoice_id).line_items)


def _claim_removal(desk: Desk, removal: Intent, request: Request) -> IntentRow | None:
    """Write the removal down, or take over the one that a crash left; None while another run has it."""
    work, run, kinds = desk.work, desk.run, ("charge_removal",)
    lease, scopes = work.settings.lease_seconds, {removal.scope}
    with work.ledger.write() as tx:
        intents.record(tx, run.run_id, "", [removal], site=work.settings.chargebee_site, kinds=(), keys_decided=())
        begun = intents.stale(tx, run.run_id, kinds=kinds, lease_seconds=lease, scopes=scopes)
        fresh = intents.claim(tx, run.run_id, kinds=kinds, limit=100, lease_seconds=lease, scopes=scopes)
        ours = None
        for one in (*begun, *fresh):
            if one.key != removal.key:
                intents.release(tx, one.id, run.run_id)
            elif one.state == "ready":
                intents.mark_sending(tx, one.id, run.run_id, request.to_json(), {}, at=work.clock.epoch())
                ours = one
            else:
                intents.reattempt(tx, one.id, run.run_id, at=one.attempt_started_at)
                ours = one
        tx.commit()
    return ours


def _close(desk: Desk, claimed: IntentRow, refusal: RecordRefused) -> None:
    with desk.work.ledger.write() as tx:
        if not intents.refused(tx, claimed.id, desk.run.run_id, refusal.code, refusal.message):
            raise lease_lost(claimed)
        tx.commit()
