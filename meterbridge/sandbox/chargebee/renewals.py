"""What happens to a subscription by the clock: start, renewal, scheduled change, end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterbridge.sandbox.chargebee.invoice_rows import InvoiceDraft, LineDraft, line_row, new_invoice, with_totals
from meterbridge.sandbox.chargebee.metered import bill_term, metered_item
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

    world.schedule_site(at, wake)


def _next_instant(subscription: Row) -> int | None:
    match subscription["status"]:
        case "future":
            return int(subscription["start_date"])
        case "in_trial":
            return int(subscription["trial_end"])
        case "active":
            term_end_at = int(subscription["current_term_end"])
            paused_at = int(subscription.get("pause_date") or term_end_at)
            return term_end_at if "resume_date" in subscription else min(term_end_at, paused_at)
        case "non_renewing":
            return int(subscription.get("cancelled_at") or subscription["current_term_end"])
        case "paused":
            return int(subscription["resume_date"]) if "resume_date" in subscription else None
    return None


def _turn(world: World, subscription: Row, at: int) -> None:
    match subscription["status"]:
        case "future":
            start_now(world, subscription, at)
        case "in_trial":
            if "cancelled_at" in subscription:
                cancel_now(world, subscription, at, source="scheduled_job")
            else:
                start_term(world, subscription, at, first=True)
        case "active":
            if subscription.get("pause_date") == at and "resume_date" not in subscription:
                pause_now(world, subscription, at, source="scheduled_job")
            else:
                _renew(world, subscription, at)
        case "non_renewing":
            cancel_now(world, subscription, at, source="scheduled_job")
        case "paused":
            resume_now(world, subscription, at, source="scheduled_job")


def start_now(world: World, subscription: Row, at: int) -> Row:
    """A future subscription begins: with its trial where it has one, else with its first term."""
    if subscription.get("trial_end", at) <= at:
        return start_term(world, subscription, at, first=True)
    state = world.chargebee
    begun = {"status": "in_trial", "started_at": at, "trial_start": at, "start_date": None}
    row = state.save(state.subscriptions, subscription | begun | {"next_billing_at": subscription["trial_end"]})
    content = {"subscription": row, "customer": state.customers.get(row["customer_id"]) or {}}
    state.emit("subscription_started", content, source="scheduled_job")
    schedule_next(world, row)
    return row


def start_term(world: World, subscription: Row, at: int, *, first: bool, anchored: bool = False) -> Row:
    """A new term from `at`; the first one activates the subscription and bills at once."""
    state = world.chargebee
    if first or anchored:
        state.anchors[subscription["id"]] = day_of(at)
    anchor = state.anchors.get(subscription["id"]) or day_of(subscription.get("started_at", at))
    end = term_end(at, subscription["billing_period"], subscription["billing_period_unit"], anchor)
    row = subscription | {
        "status": "active",
        "current_term_start": at,
        "current_term_end": end,
        "next_billing_at": end,
    }
    began = first and "started_at" not in row
    if first:
        row |= {"started_at": row.get("started_at", at), "activated_at": at, "start_date": None}
    row = state.save(state.subscriptions, row)
    customer = state.customers.get(row["customer_id"]) or {}
    pending = not first and row["create_pending_invoices"] and world.switches.metered_billing
    invoice = term_invoice(world, customer, row, pending=pending)
    if not first and "current_term_start" in subscription:
        invoice = bill_term(world, invoice, row["id"], subscription["current_term_start"], at)
    if first:
        content = {"subscription": row, "customer": customer, "invoice": invoice}
        if began:
            state.emit("subscription_started", {"subscription": row, "customer": customer}, source="scheduled_job")
        state.emit("subscription_activated", content, source="scheduled_job")
    schedule_next(world, row)
    return row


def pause_now(world: World, subscription: Row, at: int, *, source: str = "api") -> Row:
    """Service stops at `at`: no renewals until it is resumed."""
    state = world.chargebee
    paused = {"status": "paused", "pause_date": at, "next_billing_at": None}
    scheduled = state.resumptions.pop(subscription["id"], None)
    paused |= {} if scheduled is None else {"resume_date": scheduled}
    row = state.save(state.subscriptions, subscription | paused)
    content = {"subscription": row, "customer": state.customers.get(row["customer_id"]) or {}}
    state.emit("subscription_paused", content, source=source)
    schedule_next(world, row)
    return row


def resume_now(world: World, subscription: Row, at: int, *, source: str = "api") -> Row:
    """Service goes on at `at`: within the term that was paused, or with a new one where that has run out."""
    state = world.chargebee
    kept = world.switches.resumed_keeps_dates
    dates = {"pause_date": subscription["pause_date"], "resume_date": at} if kept else {}
    resumed = subscription | {"status": "active", "pause_date": None, "resume_date": None} | dates
    if at < resumed["current_term_end"]:
        row = state.save(state.subscriptions, resumed | {"next_billing_at": resumed["current_term_end"]})
        schedule_next(world, row)
    else:
        row = start_term(world, resumed, at, first=False, anchored=True)
    content = {"subscription": row, "customer": state.customers.get(row["customer_id"]) or {}}
    state.emit("subscription_resumed", content, source=source)
    return row


def with_items(world: World, subscription: Row, items: list[Row]) -> Row:
    """The subscription with other items; the billing period is the plan's."""
    plan = world.chargebee.item_prices.get(items[0]["item_price_id"]) or {}
    period = {"billing_period": plan.get("period", 1), "billing_period_unit": plan.get("period_unit", "month")}
    return subscription | {"subscription_items": items} | period


def _renew(world: World, subscription: Row, at: int) -> None:
    state = world.chargebee
    change = state.scheduled.get(subscription["id"])
    if change is not None and change.at <= at:
        del state.scheduled[subscription["id"]]
        cleared = {"has_scheduled_changes": False, "changes_scheduled_at": None}
        subscription = with_items(world, subscription, change.items) | cleared
    row = start_term(world, subscription, at, first=False)
    customer = state.customers.get(row["customer_id"]) or {}
    content = {"subscription": row, "customer": customer}
    state.emit("subscription_renewed", content, source="scheduled_job")
    if change is not None:
        state.emit("subscription_changed", content, source="scheduled_job")


def term_invoice(world: World, customer: Row, subscription: Row, *, pending: bool) -> Row:
    """The invoice of the term that begins: prepaid lines of the new term; swept unbilled charges."""
    prepaid = [i for i in subscription["subscription_items"] if metered_item(world, i["item_price_id"]) is None]
    lines = [_item_line(world, subscription, item) for item in prepaid]
    lines += _swept(world, subscription)
    if pending and customer.get("consolidated_invoicing"):
        joined = _join_consolidated(world, customer, subscription, lines)
        if joined is not None:
            return joined
    draft = InvoiceDraft(
        customer=customer,
        currency_code=subscription["currency_code"],
        date=world.chargebee.clock.now(),
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
        lines.append(take_up(world, charge))
        state.emit("unbilled_charges_invoiced", {"unbilled_charge": charge}, source="scheduled_job")
    return lines


def take_up(world: World, charge: Row) -> LineDraft:
    """The invoice line that an unbilled charge becomes; from then on it is none any more."""
    state = world.chargebee
    state.save(state.unbilled_charges, charge | {"deleted": True})
    state.invoiced_charges.add(charge["id"])
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
        same = invoice["date"] == state.clock.now() and invoice["currency_code"] == subscription["currency_code"]
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
    over = {"status": "cancelled", "cancelled_at": at, "next_billing_at": None, "start_date": None}
    over |= {"has_scheduled_changes": False, "changes_scheduled_at": None, "pause_date": None, "resume_date": None}
    row = state.save(state.subscriptions, subscription | over)
    customer = state.customers.get(row["customer_id"]) or {}
    invoice = None
    if row["create_pending_invoices"] and world.switches.metered_billing and "activated_at" in row:
        draft = InvoiceDraft(customer, row["currency_code"], at, [], pending=True, subscription_id=row["id"])
        invoice = new_invoice(world, draft)
        invoice = bill_term(world, invoice, row["id"], row["current_term_start"], at)
    content = {"subscription": row, "customer": customer}
    # The vendor spells the one that is backdated with one l.
    event_type = "subscription_canceled_with_backdating" if at < state.clock.now() else "subscription_cancelled"
    state.emit(event_type, content | ({"invoice": invoice} if invoice else {}), source=source)
    return row, invoice
