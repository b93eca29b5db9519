"""Rows of the imitated Chargebee site, put there without the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meterbridge.sandbox.chargebee.invoice_rows import InvoiceDraft, LineDraft, new_invoice
from meterbridge.sandbox.chargebee.renewals import schedule_next
from meterbridge.sandbox.chargebee.subscriptions import item_row
from meterbridge.sandbox.chargebee.terms import day_of, term_end
from meterbridge.sandbox.table import Row

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World


def put_item(world: World, item_id: str, kind: str, name: str, *, calculation: str | None = None) -> None:
    """`calculation`: the item is metered, and this is how its usages come together."""
    state = world.chargebee
    row = {
        "id": item_id,
        "object": "item",
        "name": name,
        "external_name": name,
        "type": kind,
        "item_family_id": "metering",
        "status": "active",
        "metered": calculation is not None,
        "usage_calculation": calculation,
        "enabled_for_checkout": True,
        "deleted": False,
    }
    state.save(state.items, row)


def put_price(world: World, price_id: str, item_id: str, currency: str, price: int, *, unit: str | None) -> None:
    """`price` in minor units; `unit` of the period, None for a charge item."""
    state = world.chargebee
    item = state.items.get(item_id) or {}
    row: dict[str, Any] = {
        "id": price_id,
        "object": "item_price",
        "name": price_id,
        "external_name": item["external_name"],
        "item_id": item_id,
        "item_type": item["type"],
        "item_family_id": item["item_family_id"],
        "currency_code": currency,
        "price": price,
        "pricing_model": "per_unit",
        "free_quantity": 0,
        "is_taxable": True,
        "status": "active",
        "created_at": world.chargebee.clock.now(),
        "deleted": False,
    }
    if unit is not None:
        row |= {"period": 1, "period_unit": unit}
    state.save(state.item_prices, row)


def put_customer(world: World, customer_id: str, name: str, currency: str, **more: Any) -> Row:
    """A field given as None is left out."""
    state = world.chargebee
    row = {
        "id": customer_id,
        "object": "customer",
        "company": name,
        "email": f"billing@c{len(state.customers) + 1}.example",
        "auto_collection": "off",
        "net_term_days": 0,
        "preferred_currency_code": currency,
        "billing_address": {"object": "billing_address", "line1": "1 Main Street", "city": "Cork", "country": "IE"},
        "created_at": world.chargebee.clock.now(),
        "deleted": False,
    }
    customer = state.save(state.customers, row | more)
    state.emit("customer_created", {"customer": customer}, source="admin_console")
    return customer


@dataclass(frozen=True, slots=True)
class SubscriptionSeed:
    """One subscription as it stands when the scenario begins; instants in epoch seconds."""

    id: str
    customer_id: str
    prices: tuple[str, ...]
    started_at: int
    status: str = "active"
    ends_at: int | None = None
    create_pending_invoices: bool = True
    quantity: int = 1


def put_subscription(world: World, seed: SubscriptionSeed, *, invoice: bool = True) -> Row:
    """Emits its creation, bills the current term, and wakes it when its term ends."""
    state = world.chargebee
    prices = [state.item_prices.get(price_id) or {} for price_id in seed.prices]
    plan = prices[0]
    row: Row = {
        "id": seed.id,
        "object": "subscription",
        "customer_id": seed.customer_id,
        "currency_code": plan["currency_code"],
        "status": seed.status,
        "billing_period": plan["period"],
        "billing_period_unit": plan["period_unit"],
        "created_at": world.chargebee.clock.now(),
        "subscription_items": [item_row(price, seed.quantity) for price in prices],
        "create_pending_invoices": seed.create_pending_invoices,
        "has_scheduled_changes": False,
        "has_scheduled_advance_invoices": False,
        "decommissioned": False,
        "deleted": False,
    }
    subscription = state.save(state.subscriptions, row | _times(seed, plan, world.facts["start"]))
    customer = state.customers.get(seed.customer_id) or {}
    content = {"subscription": subscription, "customer": customer}
    state.emit("subscription_created", content, source="admin_console")
    schedule_next(world, subscription)
    if invoice and seed.status in ("active", "non_renewing"):
        _put_paid_invoice(world, customer, subscription)
    return subscription


def _times(seed: SubscriptionSeed, plan: Row, at: int) -> Row:
    if seed.status == "future":
        return {"start_date": seed.started_at, "next_billing_at": seed.started_at}
    start = seed.started_at
    anchor = day_of(start)
    end = term_end(start, plan["period"], plan["period_unit"], anchor)
    until = seed.ends_at if seed.status == "cancelled" and seed.ends_at is not None else at
    while end <= until:
        start, end = end, term_end(end, plan["period"], plan["period_unit"], anchor)
    times: Row = {
        "started_at": seed.started_at,
        "activated_at": seed.started_at,
        "current_term_start": start,
        "current_term_end": end,
    }
    match seed.status:
        case "active":
            times["next_billing_at"] = end
        case "non_renewing":
            times |= {"cancelled_at": seed.ends_at or end, "cancel_schedule_created_at": start}
        case "cancelled":
            times |= {"cancelled_at": seed.ends_at, "current_term_end": seed.ends_at}
    return times


def _put_paid_invoice(world: World, customer: Row, subscription: Row) -> None:
    """The invoice of the current term, closed long ago: what a list of open drafts must not return."""
    lines = [
        LineDraft(
            entity_type=f"{item['item_type']}_item_price",
            entity_id=item["item_price_id"],
            description=item["item_price_id"],
            unit_amount=item["unit_price"],
            quantity=item["quantity"],
            date_from=subscription["current_term_start"],
            date_to=subscription["current_term_end"],
            subscription_id=subscription["id"],
        )
        for item in subscription["subscription_items"]
    ]
    draft = InvoiceDraft(
        customer=customer,
        currency_code=subscription["currency_code"],
        date=subscription["current_term_start"],
        lines=lines,
        pending=False,
        subscription_id=subscription["id"],
    )
    row = new_invoice(world, draft)
    paid = {"status": "paid", "amount_paid": row["total"], "amount_due": 0, "amount_to_collect": 0}
    world.chargebee.save(world.chargebee.invoices, row | paid | {"paid_at": world.chargebee.clock.now()})
