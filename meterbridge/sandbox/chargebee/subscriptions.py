"""/subscriptions: reads, creation, deletion."""

from __future__ import annotations

from meterbridge.sandbox.chargebee.call import Call, not_found, refusal, wrong_value
from meterbridge.sandbox.chargebee.lists import Listing
from meterbridge.sandbox.chargebee.renewals import schedule_next, term_invoice
from meterbridge.sandbox.chargebee.terms import day_of, term_end
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()

ITEM_PARAMS = (
    "subscription_items[item_price_id][]",
    "subscription_items[quantity][]",
    "subscription_items[unit_price][]",
)
_MOST_SUBSCRIPTIONS = 900


def _with_customer(call: Call, row: Row) -> Row:
    return {"subscription": row, "customer": call.state.customers.get(row["customer_id"]) or {}}


SUBSCRIPTIONS = Listing(
    table=lambda call: call.state.subscriptions,
    wrap=_with_customer,
    filters={
        "id": "string",
        "customer_id": "string",
        "status": "enum",
        "cancelled_at": "timestamp",
        "created_at": "timestamp",
        "next_billing_at": "timestamp",
        "activated_at": "timestamp",
        "updated_at": "timestamp",
        "has_scheduled_changes": "boolean",
    },
    sorts=("created_at", "updated_at"),
    default_sort="created_at",
    include_deleted=True,
)
routes.add("GET", "/subscriptions", SUBSCRIPTIONS.known(), None, SUBSCRIPTIONS)


@routes.get("/subscriptions/{id}")
def retrieve(call: Call, subscription_id: str) -> Row:
    return _with_customer(call, call.existing(call.state.subscriptions, subscription_id))


@routes.get("/customers/{id}/subscriptions", "limit", "offset")
def of_customer(call: Call, customer_id: str) -> Row:
    call.existing(call.state.customers, customer_id)
    limit = call.integer("limit", least=1) or 10
    start = call.integer("offset", least=0) or 0
    rows = [row for row in call.state.subscriptions.find("customer_id", customer_id) if not row["deleted"]]
    answer: Row = {"list": [{"subscription": row} for row in rows[start : start + limit]]}
    if len(rows) > start + limit:
        answer["next_offset"] = str(start + limit)
    return answer


@routes.get("/subscriptions/{id}/retrieve_with_scheduled_changes")
def with_scheduled_changes(call: Call, subscription_id: str) -> Row:
    row = call.existing(call.state.subscriptions, subscription_id)
    change = call.state.scheduled.get(subscription_id)
    if change is None:
        raise refusal(400, "invalid_request", f"{subscription_id} has no scheduled changes")
    return _with_customer(call, row | {"subscription_items": change.items})


@routes.post(
    "/customers/{id}/subscription_for_items",
    "id",
    "start_date",
    "trial_end",
    "create_pending_invoices",
    "auto_close_invoices",
    "first_invoice_pending",
    "meta_data",
    "po_number",
    *ITEM_PARAMS,
)
def create(call: Call, customer_id: str) -> Row:
    customer = call.existing(call.state.customers, customer_id, "customer_id")
    if len(call.state.subscriptions.find("customer_id", customer_id)) >= _MOST_SUBSCRIPTIONS:
        raise refusal(400, "resource_limit_exceeded", "a customer cannot have more than 900 subscriptions")
    subscription_id = call.text("id", longest=50) or call.state.ids.short("", "subscription", customer_id)
    if subscription_id in call.state.subscriptions:
        raise refusal(400, "duplicate_entry", f"The value {subscription_id} is already present", param="id")
    items = items_sent(call)
    plan = call.state.item_prices.get(items[0]["item_price_id"]) or {}
    row: Row = {
        "id": subscription_id,
        "object": "subscription",
        "customer_id": customer_id,
        "currency_code": plan["currency_code"],
        "billing_period": plan.get("period", 1),
        "billing_period_unit": plan.get("period_unit", "month"),
        "created_at": call.state.clock.now(),
        "subscription_items": items,
        "create_pending_invoices": _wants_pending(call, items),
        "auto_close_invoices": call.boolean("auto_close_invoices"),
        "po_number": call.text("po_number", longest=100),
        "meta_data": call.text("meta_data", longest=65_535),
        "has_scheduled_changes": False,
        "has_scheduled_advance_invoices": False,
        "decommissioned": False,
        "deleted": False,
    }
    return _begin(call, customer, row)


def _begin(call: Call, customer: Row, row: Row) -> Row:
    state, now = call.state, call.state.clock.now()
    start = call.integer("start_date") or now
    trial_end = call.integer("trial_end")
    if trial_end is not None and trial_end <= max(start, now):
        raise wrong_value("trial_end", "should be after the start")
    row |= {"trial_end": trial_end}
    answer: Row = {"customer": customer}
    if start > now:
        waiting = {"status": "future", "start_date": start, "next_billing_at": trial_end or start}
        subscription = state.save(state.subscriptions, row | waiting)
    elif trial_end is not None:
        trial = {"status": "in_trial", "started_at": start, "trial_start": start, "next_billing_at": trial_end}
        subscription = state.save(state.subscriptions, row | trial)
    else:
        state.anchors[row["id"]] = day_of(start)
        term = _present_term(start, now, row)
        began = {"status": "active", "started_at": start, "activated_at": start} | term
        subscription = state.save(state.subscriptions, row | began)
        pending = bool(call.boolean("first_invoice_pending")) and call.world.switches.metered_billing
        answer["invoice"] = term_invoice(call.world, customer, subscription, pending=pending)
    answer = {"subscription": subscription} | answer
    suffix = "_with_backdating" if start < now else ""
    state.emit(f"subscription_created{suffix}", answer)
    schedule_next(call.world, subscription)
    return answer


def _present_term(start: int, now: int, row: Row) -> Row:
    """The term that holds `now`; of a backdated subscription the earlier ones are over."""
    period, unit, anchor = row["billing_period"], row["billing_period_unit"], day_of(start)
    begin, end = start, term_end(start, period, unit, anchor)
    while end <= now:
        begin, end = end, term_end(end, period, unit, anchor)
    return {"current_term_start": begin, "current_term_end": end, "next_billing_at": end}


@routes.post("/subscriptions/{id}/delete")
def delete(call: Call, subscription_id: str) -> Row:
    before = call.existing(call.state.subscriptions, subscription_id)
    call.state.scheduled.pop(subscription_id, None)
    row = call.state.save(call.state.subscriptions, before | {"deleted": True})
    answer = _with_customer(call, row)
    call.state.emit("subscription_deleted", answer)
    return answer


def items_sent(call: Call, base: list[Row] | None = None) -> list[Row]:
    """The items of the request, laid over `base` (items kept from before), the plan first.

    Refuses what the vendor refuses: unknown or archived prices, two currencies, not exactly one plan.
    """
    items = {item["item_price_id"]: item for item in base or []}
    for group in call.groups("subscription_items"):
        price_id = group.required("item_price_id", longest=100)
        price = call.state.item_prices.get(price_id)
        if price is None:
            raise not_found("subscription_items[item_price_id]", price_id)
        if price["status"] != "active":
            raise wrong_value("subscription_items[item_price_id]", f"{price_id} is {price['status']}")
        if price["item_type"] == "plan":
            items = {key: item for key, item in items.items() if item["item_type"] != "plan"}
        unit_price = group.integer("unit_price", least=0)
        items[price_id] = item_row(price, group.integer("quantity", least=1) or 1, unit_price)
    _check(call, list(items.values()))
    return sorted(items.values(), key=lambda item: item["item_type"] != "plan")


def item_row(price: Row, quantity: int, unit_price: int | None = None) -> Row:
    each = price["price"] if unit_price is None else unit_price
    return {
        "object": "subscription_item",
        "item_price_id": price["id"],
        "item_type": price["item_type"],
        "quantity": quantity,
        "unit_price": each,
        "amount": each * quantity,
    }


def _check(call: Call, items: list[Row]) -> None:
    prices = [call.state.item_prices.get(item["item_price_id"]) or {} for item in items]
    if sum(price["item_type"] == "plan" for price in prices) != 1:
        raise wrong_value("subscription_items[item_price_id]", "exactly one plan item price is needed")
    currencies = {price["currency_code"] for price in prices}
    if len(currencies) > 1:
        message = f"currency of the item(s) is different from the expected value '{sorted(currencies)[0]}'"
        raise refusal(400, "invalid_request", message, param="subscription_items", legacy="currency_mismatched")


def _wants_pending(call: Call, items: list[Row]) -> bool:
    wanted = call.boolean("create_pending_invoices")
    if wanted is not None:
        return wanted
    prices = [call.state.item_prices.get(item["item_price_id"]) or {} for item in items]
    return any((call.state.items.get(price["item_id"]) or {}).get("metered") for price in prices)
