"""The intents that put a charge on a pending invoice, or take over one that stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from meterbridge.rules.adoption import Adopted, booked_dates
from meterbridge.rules.bill_lines import Charge, is_correction
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.charge_text import describe, describe_correction, name_charge
from meterbridge.rules.keys import fingerprint, reference, reference_on
from meterbridge.rules.money import major_text
from meterbridge.rules.portions import Wanted
from meterbridge.rules.records import Bill, Intent, Invoice, Key, Ref, StandingLine
from meterbridge.rules.standing import is_unbilled, subscription_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def create_charge(
    bill: Bill,
    wanted: Wanted,
    invoice: Invoice,
    policy: BillPolicy,
    exponent: int,
    *,
    remarks: tuple[str, ...],
    after: tuple[Ref, ...] = (),
    unnamed: bool = False,
) -> Intent:
    """Intend one new line on a pending invoice.

    ``remarks`` go into the reason and, as warnings, to the operator; ``after`` are
    the removals that must be done first. ``unnamed``: the request does not name the
    subscription, for it is another customer's by now; the invoice is its own, so the line is.
    """
    facts = facts_of(bill, wanted.charge, wanted.amount)
    mark = reference(wanted.key, policy.mark)
    payload: dict[str, Any] = {"invoice_id": invoice.id, **facts, **_provenance(bill, wanted.charge), "reference": mark}
    if payload["method"] == "add_charge":
        payload["description"] = words_of(wanted.charge, policy, mark)
    payload["price_type"] = invoice.price_type
    if unnamed:
        payload["unnamed"] = True
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
        depends_on=after,
        state={**state_of(bill, wanted.charge, facts, mark), **_on(invoice)},
        amount=wanted.amount,
        currency=bill.currency,
        source_version=bill.version,
        warnings=remarks,
    )


def adopt_charge(
    bill: Bill, adopted: Adopted, exponent: int, *, carried: Sequence[Mapping[str, Any]] = (), mark: str = ""
) -> Intent:
    """Take over a line that stands at Chargebee, at its own amount; nothing is written there.

    ``carried`` is what it was lowered by for other bills; ``mark`` is that of the connection.
    """
    charge, line, invoice = adopted.target.charge, adopted.line, adopted.invoice
    facts = facts_of(bill, charge, line.amount)
    key = adopted.target.key
    mark = reference_on(line.description, key, mark) or reference(key, mark)
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
        state={
            **state_of(bill, charge, facts, mark),
            **_on(invoice),
            "line_id": line.id,
            "adopted": True,
            **({"carried": list(carried)} if carried else {}),
        },
        amount=line.amount,
        currency=bill.currency,
        source_version=bill.version,
    )


def adopt_netted(
    bill: Bill, key: Key, charge: Charge, *, carried: Sequence[Mapping[str, Any]], mark: str = ""
) -> Intent:
    """Take over a charge that other bills' surplus had used up whole: it stands on no invoice."""
    facts = facts_of(bill, charge, 0)
    mark = reference(key, mark)
    bills = ", ".join(str(part["bill_id"]) for part in carried)
    where = f"of bill {bill.id} for subscription {charge.subscription_id}"
    return Intent(
        kind="charge",
        key=key,
        action="adopt",
        target="chargebee",
        payload={**facts, **decided_on(bill), "invoice_id": "", "line_id": "", "line_ids": [], "reference": mark},
        fingerprint=fingerprint([facts, list(carried)]),
        reason=f"{name_charge(charge)} {where} was lowered to nothing by what was charged too much for bill {bills}",
        scope=f"subscription:{charge.subscription_id}",
        state={
            **state_of(bill, charge, facts, mark),
            "bill_line_ids": [],
            "invoice_id": "",
            "carried": list(carried),
        },
        amount=0,
        currency=bill.currency,
        source_version=bill.version,
    )


def remove_charge(bill: Bill, line: StandingLine, why: str) -> Intent:
    """Take one of our lines off its pending invoice, or delete an unbilled charge; the ledger keeps it as history."""
    here = {"invoice_id": line.invoice_id, "line_ids": [line.line_id], "charge": list(line.key)}
    payload = {**here, **decided_on(bill)}
    return Intent(
        kind="charge_removal",
        key=(*line.key, line.line_id),
        action="delete",
        target="chargebee",
        payload=payload,
        fingerprint=fingerprint([line.invoice_id, line.line_id]),
        reason=f"{removal_words(line.invoice_id, line.line_id)}: {why}",
        scope=f"invoice:{line.invoice_id}",
        amount=-line.amount,
        currency=line.currency,
        source_version=bill.version,
    )


def removal_words(invoice_id: str, line_id: str) -> str:
    """What becomes of a line that is not wanted where it stands."""
    if is_unbilled(invoice_id):
        return f"unbilled charge {line_id} of subscription {subscription_of(invoice_id)} is deleted"
    return f"line {line_id} is taken off draft {invoice_id}"


def facts_of(bill: Bill, charge: Charge, amount: int) -> dict[str, Any]:
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


def words_of(charge: Charge, policy: BillPolicy, mark: str) -> str:
    """What the customer reads on the line, with our reference at its end."""
    if is_correction(charge.identity):
        return describe_correction(charge, mark)
    return describe(charge, policy.description_template, mark)


def decided_on(bill: Bill) -> dict[str, Any]:
    """The state of the bill that a write was decided on; read again right before it."""
    return {
        "bill_id": bill.id,
        "bill_version": bill.version,
        "bill_status": bill.status,
        "bill_last_calculated": bill.last_calculated,
    }


def _provenance(bill: Bill, charge: Charge) -> dict[str, Any]:
    return {**decided_on(bill), "line_ids": _bill_lines(charge)}


def _bill_lines(charge: Charge) -> list[str]:
    """A correction is no bill line's: those are mapped to the lines that they were first charged as."""
    return [] if is_correction(charge.identity) else [line.id for line in charge.lines]


def state_of(bill: Bill, charge: Charge, facts: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """What the ledger shall know of the line, wherever it stands."""
    return {
        "bill_id": bill.id,
        "subscription_id": charge.subscription_id,
        "amount": facts["amount"],
        "currency": bill.currency,
        "date_from": facts["date_from"],
        "date_to": facts["date_to"],
        "reference": mark,
        "entity_type": "charge_item_price" if charge.item_price_id else "adhoc",
        "entity_id": charge.item_price_id,
        "bill_line_ids": _bill_lines(charge),
    }


def _on(invoice: Invoice) -> dict[str, Any]:
    """Where the line stands."""
    return {
        "invoice_id": invoice.id,
        "invoice_status": invoice.status,
        "invoice_date": None if invoice.date is None else _epoch(invoice.date),
        "customer_id": invoice.customer_id,
    }


def _epoch(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(seconds=1)
