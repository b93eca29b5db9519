"""Credits of our own: for what is negative after netting, and for what a closed invoice has too much of.

A credit stands against its portion like a line with a negative amount. Its reference
is a function of the portion, so that one that was given before is found again.
"""

from __future__ import annotations

from typing import Any

from meterbridge.rules.keys import canonical, fingerprint, reference
from meterbridge.rules.money import major_text
from meterbridge.rules.portions import Portion
from meterbridge.rules.records import BillCase, Intent, Key
from meterbridge.rules.standing import Stand

CREDIT = '["credit",'

UNPAID = ("posted", "payment_due", "not_paid")
"""Invoices that an adjustment credit note lowers; a paid one takes a refundable one."""


def credit_of(
    case: BillCase, portion: Portion, stand: Stand, amount: int, *, method: str, exponent: int, mark: str = ""
) -> Intent | None:
    """Intend a credit of ``amount`` (> 0, minor units); None where nobody, or no invoice, can be credited.

    Args:
        method: ``promotional_credit`` for the paying customer, ``credit_note`` on a closed invoice of the portion.
        mark: The connection's, on the reference.
    """
    number = sum(one.line.key[2].startswith(CREDIT) for one in stand.stood)
    key: Key = (case.bill.id, portion.subscription_id, canonical(["credit", number]))
    subscription = case.subscriptions.get(portion.subscription_id)
    if subscription is None or subscription.currency != case.bill.currency:
        return None
    mark = reference(key, mark)
    facts: dict[str, Any] = {
        "method": method,
        "customer_id": subscription.invoice_owner_id or subscription.customer_id,
        "amount": amount,
        "currency": case.bill.currency,
    }
    if method == "credit_note":
        invoice_id = _fullest(stand)
        invoice = next((one for one in case.invoices if one.id == invoice_id), None)
        if invoice is None:
            return None
        kind = "adjustment" if invoice.status in UNPAID else "refundable"
        facts |= {"invoice_id": invoice.id, "type": kind, "customer_id": invoice.customer_id}
    bill = case.bill
    provenance = {"bill_id": bill.id, "bill_version": bill.version, "bill_status": bill.status}
    state = {"bill_id": bill.id, "subscription_id": portion.subscription_id, "amount": -amount}
    money = f"{major_text(amount, exponent)} {bill.currency}"
    return Intent(
        kind="credit",
        key=key,
        action="create",
        target="chargebee",
        payload={**facts, **provenance, "bill_last_calculated": bill.last_calculated, "reference": mark},
        fingerprint=fingerprint(facts),
        reason=f"{method.replace('_', ' ')} of {money} for bill {bill.id}, subscription {portion.subscription_id}",
        scope=f"customer:{facts['customer_id']}",
        state={**state, "currency": bill.currency, "invoice_id": facts.get("invoice_id", ""), "reference": mark},
        amount=-amount,
        currency=bill.currency,
        source_version=bill.version,
    )


def _fullest(stand: Stand) -> str | None:
    """The closed invoice that holds most of the portion."""
    held: dict[str, int] = {}
    for one in stand.at("fixed"):
        if one.line.line_id and not one.line.carried:
            held[one.line.invoice_id] = held.get(one.line.invoice_id, 0) + one.amount
    return max(held, key=lambda name: (held[name], name), default=None)
