"""Unbilled charges: they belong to a subscription, stand on no invoice yet, and only a list shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from connectors.chargebee.encoding import id_filters
from connectors.chargebee.models import Customer, Invoice, LineItem, UnbilledCharge
from connectors.records import read_record
from meterbridge.ledger import mappings
from meterbridge.rules.charge_sets import pair
from meterbridge.rules.standing import UNBILLED, subscription_of, unbilled_place
from meterbridge.staging.database import Staging
from tasks.charges import lines_of, wish_of
from tasks.services import Services

NET = "tax_exclusive"
DAY = 86_400


def living(work: Services, subscription_ids: Iterable[str]) -> Iterator[UnbilledCharge]:
    """The subscriptions' unbilled charges that still wait for an invoice; lists lag."""
    for some in id_filters("subscription_id", sorted(set(subscription_ids))):
        for entry in work.chargebee.rows("unbilled_charges", some):
            charge = read_record(UnbilledCharge, entry.get("unbilled_charge"), resource="unbilled charge")
            if not (charge.deleted or charge.is_voided):
                yield charge


def as_lines(charges: Iterable[UnbilledCharge]) -> tuple[LineItem, ...]:
    """The charges as the invoice lines that they will be."""
    return tuple(
        LineItem(
            id=one.id,
            entity_type=one.entity_type,
            entity_id=one.entity_id,
            description=one.description,
            date_from=one.date_from or 0,
            date_to=one.date_to or 0,
            unit_amount=one.amount,
            amount=one.amount,
            subscription_id=one.subscription_id,
            customer_id=one.customer_id,
        )
        for one in charges
    )


def in_place_of_invoices(charges: Sequence[UnbilledCharge]) -> Iterator[Invoice]:
    """One for each subscription: what stands for it off the invoices, in an invoice's form."""
    for subscription_id in dict.fromkeys(one.subscription_id for one in charges if one.subscription_id):
        own = [one for one in charges if one.subscription_id == subscription_id]
        total = sum(one.amount for one in own)
        yield Invoice(
            id=unbilled_place(subscription_id),
            status=UNBILLED,
            customer_id=own[0].customer_id or "",
            subscription_id=subscription_id,
            currency_code=own[0].currency_code,
            price_type=NET,
            date=0,
            total=total,
            sub_total=total,
            line_items=as_lines(own),
        )


def in_place_of_invoice(work: Services, place: str) -> Invoice | None:
    """What stands for one subscription off the invoices; None when nothing does."""
    return next(in_place_of_invoices(list(living(work, [subscription_of(place)]))), None)


def billed_on(work: Services, charge: mappings.Mapping) -> str | None:
    """The invoice that has taken up an unbilled charge of the ledger's, as far as the list shows: it lags."""
    state = charge.state
    since = {"date[after]": str(max(0, int(state["invoice_date"] or 0) - DAY)), "include_deleted": "true"}
    with work.ledger.read() as rx:
        held = mappings.by_state(rx, "charge", "subscription_id", state["subscription_id"])
        others = {one.remote_id for one in held if one.active and one.key != charge.key}
    for whose in _may_be_on(work, {state["customer_id"]}, {state["subscription_id"]}):
        for entry in work.chargebee.rows("invoices", {**whose, **since}, sort_by="date"):
            invoice = read_record(Invoice, entry.get("invoice"), resource="invoice")
            if pair([wish_of(state)], lines_of(invoice), others).booked:
                return invoice.id
    return None


def land_unbilled(work: Services, file: Staging, subscription_ids: Sequence[str]) -> int:
    """Land the subscriptions' unbilled charges beside the invoices; returns how many subscriptions have some."""
    places = in_place_of_invoices(list(living(work, subscription_ids)))
    entries = [{"invoice": {**place.model_dump(mode="json"), "date": None}} for place in places]
    return file.land_pages("invoices", [json.dumps({"list": entries}).encode()]) if entries else 0


def land_billed(work: Services, file: Staging, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ledger's unbilled charges that are unbilled no more; lands the invoices that they may be on."""
    if not rows:
        return []
    waiting = {one.id for one in living(work, (row["subscription_id"] for row in rows))}
    gone = [row for row in rows if row["line_id"] not in waiting]
    earliest = min((int(row["invoice_date"] or 0) for row in gone), default=0) - DAY
    since = {"date[after]": str(max(0, earliest)), "include_deleted": "true"}
    customers = {row["customer_id"] for row in gone if row["customer_id"]}
    for whose in _may_be_on(work, customers, {row["subscription_id"] for row in gone}):
        pages = work.chargebee.pages("invoices", {**whose, **since}, sort_by="date")
        file.land_pages("invoices", (page.body for page in pages))
    return gone


def _may_be_on(work: Services, customers: set[str], subscriptions: set[str]) -> Iterator[dict[str, str]]:
    """Filters for the invoices of whoever pays for these customers when unbilled charges are invoiced.

    That is the customer, its invoice owner, or one that it had in between, whose
    invoice names the subscription.
    """
    yield from id_filters("customer_id", sorted(customers | set(_payers(work, sorted(customers)))))
    yield from id_filters("subscription_id", sorted(subscriptions))


def _payers(work: Services, customers: Sequence[str]) -> Iterator[str]:
    """The customers that are invoiced in place of these, as Chargebee says now."""
    for some in id_filters("id", customers):
        for entry in work.chargebee.rows("customers", {**some, "include_deleted": "true"}, sort_by="created_at"):
            owner = read_record(Customer, entry.get("customer"), resource="customer").relationship
            if owner is not None and owner.invoice_owner_id:
                yield owner.invoice_owner_id
