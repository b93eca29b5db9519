"""Credits to Chargebee: without an id until they are answered, so looked for by their reference before every send."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from connectors.chargebee import requests
from connectors.transport import Request
from meterbridge.errors import RecordRefused
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.rules.keys import bare
from tasks.charge_corrections import still_decided
from tasks.charges import RESEND_SECONDS
from tasks.keyed_writes import answer, looked_before, mark
from tasks.receipts import Receipt
from tasks.runs import Run
from tasks.services import Services

logger = logging.getLogger(__name__)


def send(work: Services, run: Run, rows: Sequence[IntentRow]) -> Receipt:
    """Give the credits, one after the other; one that Chargebee refuses stops no other.

    Raises:
        RetriableError: Chargebee is down or an outcome is unknown; what was not sent is ready again.
        SetupError: Chargebee refuses our credentials.
    """
    receipt = Receipt(claimed=len(rows))
    try:
        for row in rows:
            _give(work, run, row, receipt)
    finally:
        with work.ledger.write() as tx:
            for row in rows:
                intents.release(tx, row.id, run.run_id)
            tx.commit()
    return receipt


def _give(work: Services, run: Run, row: IntentRow, receipt: Receipt) -> None:
    try:
        found = _look(work, row)
        if len(found) > 1:
            raise RecordRefused("MB-DOUBLE-CHARGE", f"credits {', '.join(found)} carry one reference")
        if found:
            _apply(work, run, row, receipt, found[0], written=row.state != "ready")
        elif row.state == "ready" and not still_decided(work, row.payload):
            with work.ledger.write() as tx:
                intents.supersede(tx, row.id, run.run_id)
                tx.commit()
            receipt.concluded += 1
        elif row.state == "ready" or _may_resend(work, row):
            name = f"credit {row.key}"
            sent = answer(work, run, row, mark(work, run, row, render(row), name), name)
            _apply(work, run, row, receipt, _checked(row, sent.json()), written=True)
        else:
            with work.ledger.write() as tx:
                intents.unknown(tx, row.id, run.run_id, "looked for again later")
                tx.commit()
    except RecordRefused as refusal:
        with work.ledger.write() as tx:
            receipt.set_aside(tx, run, row, refusal)
            tx.commit()


def _look(work: Services, row: IntentRow) -> list[str]:
    """Ids of the customer's credits that carry the row's reference."""
    is_note = row.payload["method"] == "credit_note"
    resource, name = ("credit_notes", "credit_note") if is_note else ("promotional_credits", "promotional_credit")
    text = "customer_notes" if is_note else "description"
    customer = {"customer_id[is]": row.payload["customer_id"]}
    entries = (entry[name] for entry in work.chargebee.rows(resource, customer))
    own = str(row.payload["reference"])
    marks = {f"[{own}]", f"[{bare(own)}]"}  # one that an earlier version gave has no mark of the connection
    texts = ((one, str(one.get(text) or "")) for one in entries if not one.get("deleted"))
    return [str(one["id"]) for one, said in texts if any(mark in said for mark in marks)]


def _may_resend(work: Services, row: IntentRow) -> bool:
    """While the vendor surely knows our key; later only after two looks that showed nothing."""
    return work.clock.epoch() - (row.attempt_started_at or 0) < RESEND_SECONDS or looked_before(work, row)


def _checked(row: IntentRow, body: Any) -> str:
    """The credit's id, if the answer shows the credit that was asked for."""
    note = row.payload["method"] == "credit_note"
    made = body.get("credit_note" if note else "promotional_credit") if isinstance(body, dict) else None
    amount = made.get("total" if note else "amount") if isinstance(made, dict) else None
    if not isinstance(made, dict) or amount != row.payload["amount"]:
        raise RecordRefused("MB-CHARGE-WRONG", f"credit {row.key[0]}: {row.payload['amount']} sent, {amount} booked")
    return str(made["id"])


def render(row: IntentRow) -> Request:
    """The exact request of a credit, stored before it is sent."""
    payload = row.payload
    words = f"Credit for usage billed before [{payload['reference']}]"
    if payload["method"] == "credit_note":
        return requests.create_credit_note(
            reference_invoice_id=payload["invoice_id"],
            type_=payload["type"],
            total=payload["amount"],
            customer_notes=words,
        )
    return requests.add_promotional_credit(
        customer_id=payload["customer_id"],
        amount=payload["amount"],
        currency_code=payload["currency"],
        description=words,
        reference=payload["reference"],
    )


def _apply(work: Services, run: Run, row: IntentRow, receipt: Receipt, credit_id: str, *, written: bool) -> None:
    credit = mappings.Mapping("credit", row.key, credit_id, row.fingerprint, row.payload["bill_id"], row.wanted)
    with work.ledger.write() as tx:
        if intents.applied(tx, row.id, run.run_id, {"credit_id": credit_id, "written": written}, mapping=credit):
            receipt.concluded += 1
            if written:
                receipt.took(row)
        tx.commit()
