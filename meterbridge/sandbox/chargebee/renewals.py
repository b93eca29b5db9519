"""What happens to a subscription by the clock: start, renewal, scheduled change, end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterbridge.sandbox.chargebee.invoice_rows import InvoiceDraft, LineDraft, line_row, new_invoice, with_totals
from meterbridge.sandbox.chargebee.terms import day_of, term_end
from meterbridge.sandbox.table import Row

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World


def schedule_next(world: World, subscription: Row) -> None:
    """Wake this subscription at its next instant; a wake-up that no longer fits does nothing."""
    at = _next_instant(subscription)
    if at is None:
        return
    subscription_id = subscription["id"]

    def wake() -> None:
        row = world.chargebee.subscriptions.get(subscription_id)
        if row is not None and not row["deleted"] and _next_instant(row) == at:
            _turn(world, row, at)

    world.schedule(at, wake)


def _next_instant(subscription: Row) -> int | None:
    match subscription["status"]:
        case "future":
            return int(subscription["start_date"])
        case "active":
            return int(subscription["current_term_end"])
        case "non_renewing":
            return int(subscription.get("cancelled_at") or subscription["current_term_end"])
    return None


def _turn(world: World, subscription: Row, at: int) -> None:
    match subscription["status"]:
        case "future":
            start_term(world, subscription, at, first=True)
        case "active":
            _renew(world, subscription, at)
        case "non_renewing":
            cancel_now(world, subscription, at, source="scheduled_job")


def start_term(world: World, subscription: Row, at: int, *, first: bool) -> Row:
    """A new term from `at`; the first one activates the subscription and bills at once."""
    state = world.chargebee
    anchor = day_of(at if first else subscription.get("started_at", at))
    end = term_end(at, subscription["billing_period"], subscription["billing_period_unit"], anchor)
    row = subscription | {
        "status": "active",
        "current_term_start": at,
        "current_term_end": end,
        "next_billing_at": end,
    }
    if first:
        row |= {"started_at": at, "activated_at": at, "start_date": None}
    row = state.save(state.subscriptions, row)
    customer = state.customers.get(row["customer_id"]) or {}
    pending = not first and row["create_pending_invoices"] and world.switches.metered_billing
    invoice = term_invoice(world, customer, row, pending=pending)
    if first:
        content = {"subscription": row, "customer": customer, "invoice": invoice}
        state.emit("subscription_started", {"subscription": row, "customer": customer}, source="scheduled_job")
        state.emit("subscription_activated", content, source="scheduled_job")
    schedule_next(world, row)
    return row


def _renew(world: World, subscription: Row, at: int) -> None:
    state = world.chargebee
    change = state.scheduled.get(subscription["id"])
    if change is not None and change.at <= at:
        del state.scheduled[subscription["id"]]
        subscription = subscription | {"subscription_items": change.items, "has_scheduled_changes": False}
    row = start_term(world, subscription, at, first=False)
    customer = state.customers.get(row["customer_id"]) or {}
    content = {"subscription": row, "customer": customer}
    state.emit("subscription_renewed", content, source="scheduled_job")
    if change is not None:
        state.emit("subscription_changed", content, source="scheduled_job")


def term_invoice(world: World, customer: Row, subscription: Row, *, pending: bool) -> Row:
    """The invoice of the term that begins: prepaid lines of the new term; swept unbilled charges."""
    lines = [_item_line(world, subscription, item) for item in subscription["subscription_items"]]
    lines += _swept(world, subscription)
    if pending and customer.get("consolidated_invoicing"):
        joined = _join_consolidated(world, customer, subscription, lines)
        if joined is not None:
            return joined
    draft = InvoiceDraft(
        customer=customer,
        currency_code=subscription["currency_code"],
        date=world.clock.now(),
        lines=lines,
        pending=pending,
        subscription_id=subscription["id"],
    )
    return new_invoice(world, draft)


def _item_line(world: World, subscription: Row, item: Row) -> LineDraft:
    price = world.chargebee.item_prices.get(item["item_price_id"]) or {}
    return LineDraft(
        entity_type=f"{item['item_type']}_item_price",
        entity_id=item["item_price_id"],
        description=str(price.get("external_name", item["item_price_id"])),
        unit_amount=item.get("unit_price", 0),
        quantity=item.get("quantity", 1),
        date_from=subscription["current_term_start"],
        date_to=subscription["current_term_end"],
        subscription_id=subscription["id"],
        pricing_model=price.get("pricing_model"),
    )


def _swept(world: World, subscription: Row) -> list[LineDraft]:
    """Unbilled charges go on the next renewal's invoice."""
    state = world.chargebee
    lines = []
    for charge in state.unbilled_charges.find("subscription_id", subscription["id"]):
        if charge["deleted"]:
            continue
        lines.append(charge_line(charge))
        state.save(state.unbilled_charges, charge | {"deleted": True})
        state.emit("unbilled_charges_invoiced", {"unbilled_charge": charge}, source="scheduled_job")
    return lines


def charge_line(charge: Row) -> LineDraft:
    """The invoice line that an unbilled charge becomes."""
    return LineDraft(
        entity_type=charge["entity_type"],
        entity_id=charge.get("entity_id"),
        description=charge.get("description", ""),
        unit_amount=charge["unit_amount"],
        quantity=charge["quantity"],
        date_from=charge["date_from"],
        date_to=charge["date_to"],
        subscription_id=charge.get("subscription_id"),
    )


def _join_consolidated(world: World, customer: Row, subscription: Row, lines: list[LineDraft]) -> Row | None:
    """One draft for all subscriptions of a consolidated customer that renew at one instant; it names none of them."""
    state = world.chargebee
    for invoice in state.invoices.find("customer_id", customer["id"]):
        same = invoice["date"] == world.clock.now() and invoice["currency_code"] == subscription["currency_code"]
        if invoice["status"] == "pending" and invoice["recurring"] and same:
            added = [line_row(world, invoice["id"], customer["id"], line) for line in lines]
            row = {key: value for key, value in invoice.items() if key != "subscription_id"}
            row = state.save(state.invoices, with_totals(row | {"line_items": [*invoice["line_items"], *added]}))
            state.emit("pending_invoice_updated", {"invoice": row}, source="scheduled_job")
            return row
    return None


def cancel_now(world: World, subscription: Row, at: int, *, source: str = "api") -> tuple[Row, Row | None]:
    """The subscription ends at `at`; metered use of the last term gets a final draft, empty at first."""
    state = world.chargebee
    state.scheduled.pop(subscription["id"], None)
    row = state.save(
        state.subscriptions,
        subscription
        | {
            "status": "cancelled",
            "cancelled_at": at,
            "next_billing_at": None,
            "start_date": None,
            "has_scheduled_changes": False,
        },
    )
    customer = state.customers.get(row["customer_id"]) or {}
    invoice = None
    if row["create_pending_invoices"] and world.switches.metered_billing and "started_at" in row:
        draft = InvoiceDraft(customer, row["currency_code"], at, [], pending=True, subscription_id=row["id"])
        invoice = new_invoice(world, draft)
    content = {"subscription": row, "customer": customer}
    state.emit("subscription_cancelled", content | ({"invoice": invoice} if invoice else {}), source=source)
    return row, invoice
