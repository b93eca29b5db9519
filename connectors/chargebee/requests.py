"""Chargebee's writes as requests, built and not sent: the ledger stores them first.

The same arguments give the same bytes, which the idempotency key requires. Amounts are
Chargebee's integers, dates epoch seconds with ``date_to`` the last second included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, cast

from connectors.chargebee.encoding import FORM, Group, Parameter, form
from connectors.transport import Request, path
from meterbridge.errors import BrokenInvariant


class Charge(TypedDict):
    """An ad-hoc charge in a call that takes several."""

    amount: int
    description: str
    date_from: int
    date_to: int


class ChargeItem(TypedDict):
    """A charge item price in a call that takes several; ``description`` on invoices only."""

    item_price_id: str
    unit_price: int
    quantity: NotRequired[int]
    date_from: int
    date_to: int
    description: NotRequired[str]


class CreditLine(TypedDict):
    """A line of a credit note, taking back (part of) an invoice line."""

    reference_line_item_id: str
    amount: int
    description: NotRequired[str]


def add_charge(
    invoice_id: str,
    *,
    amount: int,
    description: str,
    date_from: int,
    date_to: int,
    subscription_id: str | None = None,
    comment: str | None = None,
) -> Request:
    """Put an ad-hoc line on a pending invoice; it is booked in the invoice's currency, whatever was meant."""
    return _post(
        path("invoices", invoice_id, "add_charge"),
        {
            "amount": _positive(amount),
            "description": description,
            "line_item": {"date_from": date_from, "date_to": date_to},
            "subscription_id": subscription_id,
            "comment": comment,
        },
    )


def add_charge_item(
    invoice_id: str,
    *,
    item_price_id: str,
    unit_price: int,
    quantity: int = 1,
    date_from: int,
    date_to: int,
    subscription_id: str | None = None,
    comment: str | None = None,
) -> Request:
    """Put a charge item price on a pending invoice, at our price; the site must allow the override."""
    item_price: Group = {
        "item_price_id": item_price_id,
        "quantity": quantity,
        "unit_price": _positive(unit_price),
        "date_from": date_from,
        "date_to": date_to,
    }
    return _post(
        path("invoices", invoice_id, "add_charge_item"),
        {"item_price": item_price, "subscription_id": subscription_id, "comment": comment},
    )


def delete_line_items(invoice_id: str, line_ids: Sequence[str]) -> Request:
    """Take lines off a pending invoice."""
    if not line_ids:
        raise BrokenInvariant("MB-INVARIANT", f"invoice {invoice_id}: no lines are named that should go")
    return _post(path("invoices", invoice_id, "delete_line_items"), {"line_items": [{"id": line} for line in line_ids]})


def create_for_charge_items_and_charges(
    *,
    subscription_id: str | None = None,
    customer_id: str | None = None,
    currency_code: str,
    charges: Sequence[Charge] = (),
    item_prices: Sequence[ChargeItem] = (),
    create_pending_invoice: bool,
    invoice_note: str | None = None,
    po_number: str | None = None,
    invoice_date: int | None = None,
    auto_collection: str | None = None,
) -> Request:
    """Make an invoice of its own, for exactly one of subscription and customer, all lines or none."""
    if (subscription_id is None) == (customer_id is None):
        raise BrokenInvariant("MB-INVARIANT", "an invoice is made for a subscription or for a customer, one of the two")
    return _post(
        path("invoices", "create_for_charge_items_and_charges"),
        {
            "subscription_id": subscription_id,
            "customer_id": customer_id,
            "currency_code": currency_code,
            "item_prices": _groups(item_prices),
            "charges": _groups(charges),
            "create_pending_invoice": create_pending_invoice,
            "invoice_note": invoice_note,
            "po_number": po_number,
            "invoice_date": invoice_date,
            "auto_collection": auto_collection,
        },
    )


def create_unbilled_charges(
    *,
    subscription_id: str,
    currency_code: str | None = None,
    charges: Sequence[Charge] = (),
    item_prices: Sequence[ChargeItem] = (),
) -> Request:
    """Leave charges for the subscription's next invoice."""
    return _post(
        path("unbilled_charges"),
        {
            "subscription_id": subscription_id,
            "currency_code": currency_code,
            "item_prices": _groups(item_prices),
            "charges": _groups(charges),
        },
    )


def delete_unbilled_charge(charge_id: str) -> Request:
    """Take an unbilled charge back."""
    return _post(path("unbilled_charges", charge_id, "delete"), {})


def create_credit_note(
    *,
    reference_invoice_id: str,
    type_: str,
    total: int | None = None,
    line_items: Sequence[CreditLine] = (),
    create_reason_code: str | None = None,
    comment: str | None = None,
    customer_notes: str | None = None,
) -> Request:
    """Credit a closed invoice; ``type_`` is adjustment (while unpaid) or refundable; by total or by lines."""
    if (total is None) == (not line_items):
        raise BrokenInvariant("MB-INVARIANT", "a credit note has a total or lines, one of the two")
    return _post(
        path("credit_notes"),
        {
            "reference_invoice_id": reference_invoice_id,
            "type": type_,
            "total": None if total is None else _positive(total),
            "line_items": _groups(line_items),
            "create_reason_code": create_reason_code,
            "comment": comment,
            "customer_notes": customer_notes,
        },
    )


def add_promotional_credit(
    *, customer_id: str, amount: int, currency_code: str, description: str, reference: str | None = None
) -> Request:
    """Give a customer credit that its next invoices use up."""
    return _post(
        path("promotional_credits", "add"),
        {
            "customer_id": customer_id,
            "amount": _positive(amount),
            "currency_code": currency_code,
            "description": description,
            "reference": reference,
        },
    )


def create_usage(
    *, subscription_id: str, usage_id: str, item_price_id: str, quantity: str, usage_date: int, note: str | None = None
) -> Request:
    """Record usage of a metered item under an id of ours; a second record of its second is refused."""
    return _post(
        path("subscriptions", subscription_id, "usages"),
        {
            "id": usage_id,
            "item_price_id": item_price_id,
            "quantity": quantity,
            "usage_date": usage_date,
            "note": note,
        },
    )


def delete_usage(*, subscription_id: str, usage_id: str) -> Request:
    """Take a usage record away; refused once it is invoiced."""
    return _post(path("subscriptions", subscription_id, "delete_usage"), {"id": usage_id})


def _post(address: str, parameters: Mapping[str, Parameter]) -> Request:
    return Request("POST", address, form(parameters), FORM)


def _positive(amount: int) -> int:
    # Chargebee has no negative lines and refuses zero ones; netting comes before.
    if amount < 1:
        raise BrokenInvariant("MB-INVARIANT", f"Chargebee takes amounts from 1 on, not {amount}")
    return amount


def _groups(rows: Sequence[Charge] | Sequence[ChargeItem] | Sequence[CreditLine]) -> list[Group]:
    return [cast(Group, row) for row in rows]
