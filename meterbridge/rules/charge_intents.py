"""The intents that put a charge on a pending invoice, or take over one that stands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from meterbridge.rules.adoption import Adopted, booked_dates
from meterbridge.rules.bill_lines import Charge
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.charge_text import describe, name_charge
from meterbridge.rules.keys import fingerprint, reference
from meterbridge.rules.money import major_text
from meterbridge.rules.portions import Wanted
from meterbridge.rules.records import Bill, Intent, Invoice

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def create_charge(
    bill: Bill, wanted: Wanted, invoice: Invoice, policy: BillPolicy, exponent: int, remarks: tuple[str, ...]
) -> Intent:
    """Intend one new line on a pending invoice; ``remarks`` go into the reason and, as warnings, to the operator."""
    facts = _facts(bill, wanted.charge, wanted.amount)
    mark = reference(wanted.key)
    payload: dict[str, Any] = {"invoice_id": invoice.id, **facts, **_provenance(bill, wanted.charge), "reference": mark}
    if payload["method"] == "add_charge":
        payload["description"] = describe(wanted.charge, policy.description_template, mark)
    payload["price_type"] = invoice.price_type
    amount = f"{major_text(wanted.amount, exponent)} {bill.currency}"
    where = f"of bill {bill.id} for subscription {wanted.charge.subscription_id}"
    reason = f"{name_charge(wanted.charge)} {where}: {amount} on draft {invoice.id}"
    return Intent(
        kind="charge",
        key=wanted.key,
        action="create",
        target="chargebee",
        payload=payload,
        fingerprint=fingerprint(facts),
        reason="; ".join([reason, *wanted.notes, *remarks]),
        scope=f"invoice:{invoice.id}",
        state=_state(bill, wanted.charge, invoice.id, facts, mark),
        amount=wanted.amount,
        currency=bill.currency,
        source_version=bill.version,
        warnings=remarks,
    )


def adopt_charge(bill: Bill, adopted: Adopted, exponent: int) -> Intent:
    """Take over a line that stands at Chargebee, at its own amount; nothing is written there."""
    charge, line, invoice = adopted.target.charge, adopted.line, adopted.invoice
    facts = _facts(bill, charge, line.amount)
    mark = reference(adopted.target.key)
    amount = f"{major_text(line.amount, exponent)} {bill.currency}"
    where = f"of bill {bill.id} for subscription {charge.subscription_id}"
    return Intent(
        kind="charge",
        key=adopted.target.key,
        action="adopt",
        target="chargebee",
        payload={
            "invoice_id": invoice.id,
            "line_id": line.id,
            **facts,
            **_provenance(bill, charge),
            "reference": mark,
            "price_type": invoice.price_type,
        },
        fingerprint=fingerprint(facts),
        reason=f"{name_charge(charge)} {where}: {amount} stands already as line {line.id} of invoice {invoice.id}",
        scope=f"invoice:{invoice.id}",
        state={**_state(bill, charge, invoice.id, facts, mark), "line_id": line.id},
        amount=line.amount,
        currency=bill.currency,
        source_version=bill.version,
    )


def _facts(bill: Bill, charge: Charge, amount: int) -> dict[str, Any]:
    """What must be true of the line; neither the draft's passing id nor the wording is."""
    first, last = booked_dates(charge)
    facts: dict[str, Any] = {
        "method": "add_charge_item" if charge.item_price_id else "add_charge",
        "amount": amount,
        "currency": bill.currency,
        "date_from": _epoch(first),
        "date_to": _epoch(last),
        "subscription_id": charge.subscription_id,
    }
    return {**facts, "item_price_id": charge.item_price_id} if charge.item_price_id else facts


def _provenance(bill: Bill, charge: Charge) -> dict[str, Any]:
    return {
        "bill_id": bill.id,
        "bill_version": bill.version,
        "bill_status": bill.status,
        "bill_last_calculated": bill.last_calculated,
        "line_ids": [line.id for line in charge.lines],
    }


def _state(bill: Bill, charge: Charge, invoice_id: str, facts: Mapping[str, Any], mark: str) -> dict[str, Any]:
    return {
        "bill_id": bill.id,
        "subscription_id": charge.subscription_id,
        "invoice_id": invoice_id,
        "amount": facts["amount"],
        "currency": bill.currency,
        "date_from": facts["date_from"],
        "date_to": facts["date_to"],
        "reference": mark,
        "entity_type": "charge_item_price" if charge.item_price_id else "adhoc",
        "entity_id": charge.item_price_id,
        "bill_line_ids": [line.id for line in charge.lines],
    }


def _epoch(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(seconds=1)
