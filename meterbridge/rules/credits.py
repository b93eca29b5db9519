"""Credits of our own: for what is negative after netting, and for what a closed invoice has too much of.

A credit stands against its portion like a line with a negative amount. Its reference
is a function of the portion, so that one that was given before is found again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from meterbridge.rules.charge_intents import decided_on
from meterbridge.rules.keys import bare, canonical, fingerprint, reference
from meterbridge.rules.money import amount_text, major_text
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
    taken = [json.loads(one.line.key[2])[1] for one in stand.stood if one.line.key[2].startswith(CREDIT)]
    key = _key(case.bill.id, portion.subscription_id, max(taken, default=-1) + 1)
    subscription = case.subscriptions.get(portion.subscription_id)
    if subscription is None or subscription.currency != case.bill.currency:
        return None
    mark = reference(key, mark)
    payer = subscription.invoice_owner_id or subscription.customer_id
    facts = _facts(method, payer, amount, case.bill.currency)
    if method == "credit_note":
        invoice_id = _fullest(stand)
        invoice = next((one for one in case.invoices if one.id == invoice_id), None)
        if invoice is None:
            return None
        kind = "adjustment" if invoice.status in UNPAID else "refundable"
        facts |= {"invoice_id": invoice.id, "type": kind, "customer_id": invoice.customer_id}
    bill = case.bill
    money = f"{major_text(amount, exponent)} {bill.currency}"
    return Intent(
        kind="credit",
        key=key,
        action="create",
        target="chargebee",
        payload={**facts, **decided_on(bill), "reference": mark},
        fingerprint=fingerprint(facts),
        reason=f"{_named(method)} of {money} for bill {bill.id}, subscription {portion.subscription_id}",
        scope=f"customer:{facts['customer_id']}",
        state=_state(key, amount, bill.currency, facts.get("invoice_id", ""), mark),
        amount=-amount,
        currency=bill.currency,
        source_version=bill.version,
    )


@dataclass(frozen=True, slots=True)
class FoundCredit:
    """A credit that stands at Chargebee; ``amount`` > 0, minor units.

    ``reference`` is what its text carries; a credit note has the invoice that it is for, and its type.
    """

    id: str
    method: str
    customer_id: str
    amount: int
    currency: str
    reference: str
    invoice_id: str = ""
    type: str = ""


def given_for(
    found: Iterable[FoundCredit], portions: Sequence[tuple[str, str]], mark: str
) -> tuple[dict[Key, FoundCredit], list[FoundCredit]]:
    """Find which portion each credit was given for; also those of ours that are of no portion, or given twice.

    Args:
        portions: Bill id and subscription id of each portion that there is.
        mark: The connection's. A reference without one is an older one of ours; another connection's is not.
    """
    ours: dict[str, list[FoundCredit]] = defaultdict(list)
    for one in found:
        if one.reference in (bare(one.reference), _marked(one, mark)):
            ours[bare(one.reference)].append(one)
    claimed: dict[Key, FoundCredit] = {}
    unclaimed = set(ours)
    for number in range(len(ours)):
        for key in (_key(*portion, number) for portion in portions) if unclaimed else ():
            if (name := reference(key)) in unclaimed:
                unclaimed.remove(name)
                claimed[key] = ours[name].pop(0)
    return claimed, [one for same in ours.values() for one in same]


def _marked(one: FoundCredit, mark: str) -> str:
    return f"{bare(one.reference)}-{mark}"


def adopt_credit(key: Key, found: FoundCredit) -> Intent:
    """Take over a credit that stands, at its amount."""
    facts = _facts(found.method, found.customer_id, found.amount, found.currency)
    if found.method == "credit_note":
        facts |= {"invoice_id": found.invoice_id, "type": found.type}
    what = f"{_named(found.method)} of {amount_text(found.amount, found.currency)}"
    return Intent(
        kind="credit",
        key=key,
        action="adopt",
        target="chargebee",
        payload={**facts, "bill_id": key[0], "credit_id": found.id, "reference": found.reference},
        fingerprint=fingerprint(facts),
        reason=f"{what} for bill {key[0]}, subscription {key[1]} stands already as {found.id}",
        scope=f"customer:{found.customer_id}",
        state=_state(key, found.amount, found.currency, found.invoice_id, found.reference),
        amount=-found.amount,
        currency=found.currency,
    )


def _key(bill_id: str, subscription_id: str, number: int) -> Key:
    return (bill_id, subscription_id, canonical(["credit", number]))


def _facts(method: str, customer_id: str, amount: int, currency: str) -> dict[str, Any]:
    return {"method": method, "customer_id": customer_id, "amount": amount, "currency": currency}


def _state(key: Key, amount: int, currency: str, invoice_id: str, mark: str) -> dict[str, Any]:
    """Return the state that the ledger keeps of a credit."""
    return {
        "bill_id": key[0],
        "subscription_id": key[1],
        "amount": -amount,
        "currency": currency,
        "invoice_id": invoice_id,
        "reference": mark,
    }


def _named(method: str) -> str:
    return method.replace("_", " ")


def _fullest(stand: Stand) -> str | None:
    """The closed invoice that holds most of the portion."""
    held: dict[str, int] = {}
    for one in stand.at("fixed"):
        if one.line.line_id and not one.line.carried:
            held[one.line.invoice_id] = held.get(one.line.invoice_id, 0) + one.amount
    return max(held, key=lambda name: (held[name], name), default=None)
