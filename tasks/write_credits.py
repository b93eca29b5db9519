"""Credits to Chargebee: without an id until they are answered, so looked for by their reference before every send."""

from __future__ import annotations

from typing import Any

from connectors.chargebee import requests
from connectors.transport import Answer, Request
from meterbridge.errors import RecordRefused
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.credits import FoundCredit
from meterbridge.rules.keys import bare
from tasks.batch import Batch, stored
from tasks.credits_given import given
from tasks.write_protocol import Done, Later, Send, Step, Write


class Credits(Write):
    """See the module."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._work = batch.work

    def look(self, row: IntentRow) -> Step:
        """Look for the customer's credits that carry the row's reference."""
        found = self._found(row)
        if len(found) > 1:
            ids = ", ".join(one.id for one in found)
            raise RecordRefused("MB-DOUBLE-CHARGE", f"credits {ids} carry one reference")
        if found:
            return self._given(row, found[0].id, found[0].amount, written=row.state != "ready")
        request = stored(row, render(row))
        if row.state == "ready" or self._batch.knows_key(row):
            return Send(request, again=row.state != "ready")
        return Send(request) if self._batch.looked_before(row) else Later("looked for again later")

    def read(self, row: IntentRow, sent: Send, answer: Answer) -> Done:
        """The credit's id, if the answer shows the credit that was asked for."""
        del sent
        body: Any = answer.json()
        is_note = row.payload["method"] == "credit_note"
        made = body.get("credit_note" if is_note else "promotional_credit") if isinstance(body, dict) else None
        amount = made.get("total" if is_note else "amount") if isinstance(made, dict) else None
        if not isinstance(made, dict) or amount != row.payload["amount"]:
            words = f"credit {row.key[0]}: {row.payload['amount']} sent, {amount} booked"
            raise RecordRefused("MB-CHARGE-WRONG", words)
        return self._given(row, str(made["id"]), amount, written=True)

    def _found(self, row: IntentRow) -> list[FoundCredit]:
        own = str(row.payload["reference"])  # one that an earlier version gave has no mark of the connection
        there = given(self._work.chargebee, row.payload["method"], row.payload["customer_id"])
        return [one for one in there if one.reference in (own, bare(own))]

    def _given(self, row: IntentRow, credit_id: str, amount: int, *, written: bool) -> Done:
        """A credit that was found counts at its own amount: a ledger that was lost may want another one by now."""
        state = {**row.wanted, "amount": -amount}
        credit = mappings.Mapping("credit", row.key, credit_id, row.fingerprint, row.payload["bill_id"], state)
        outcome = {"credit_id": credit_id, "written": written}

        def close(tx: Writer) -> bool:
            return intents.applied(tx, row.id, self._batch.run.run_id, outcome, mapping=credit)

        return Done(close, written=written)


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
