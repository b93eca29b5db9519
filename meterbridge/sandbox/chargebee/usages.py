"""/usages, /subscriptions/{id}/usages: usage records of metered items."""

from __future__ import annotations

import re
from decimal import Decimal

from meterbridge.sandbox.chargebee.call import Call, invalid_state, not_found, refusal, wrong_value
from meterbridge.sandbox.chargebee.lists import Listing
from meterbridge.sandbox.chargebee.metered import metered_item
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()

USAGES = Listing(
    table=lambda call: call.state.usages,
    wrap=lambda _call, row: {"usage": row},
    filters={
        "id": "string",
        "subscription_id": "string",
        "item_price_id": "string",
        "invoice_id": "string",
        "source": "enum",
        "usage_date": "timestamp",
        "updated_at": "timestamp",
    },
    sorts=("usage_date", "updated_at"),
    default_sort="usage_date",
)
routes.add("GET", "/usages", USAGES.known(), None, USAGES)


@routes.get("/subscriptions/{id}/usages", "id")
def retrieve(call: Call, subscription_id: str) -> Row:
    return {"usage": _usage(call, subscription_id, call.required("id", longest=100))}


@routes.post("/subscriptions/{id}/usages", "id", "item_price_id", "quantity", "usage_date", "dedupe_option", "note")
def create(call: Call, subscription_id: str) -> Row:
    subscription = call.existing(call.state.subscriptions, subscription_id, "subscription_id")
    price_id = _metered_price(call, subscription)
    quantity = _quantity(call)
    date = call.required_integer("usage_date", least=0)
    usage_id = call.text("id", longest=100)
    option = call.one_of("dedupe_option", ("skip", "update_existing"))
    state = call.state
    alike = [
        usage
        for usage in state.usages.find("subscription_id", subscription_id)
        if (usage["item_price_id"], usage["usage_date"]) == (price_id, date)
    ]
    if alike and option == "skip":
        return {"usage": alike[0]}
    if alike and option == "update_existing":
        if alike[0].get("invoice_id"):
            raise invalid_state(f"the usage {alike[0]['id']} is invoiced")
        return {"usage": state.save(state.usages, alike[0] | {"quantity": quantity})}
    if usage_id is not None and usage_id in state.usages:
        raise refusal(400, "duplicate_entry", f"The value {usage_id} is already present", param="id")
    if alike:
        message = "a usage of this item price at this usage_date is already present"
        raise refusal(400, "duplicate_entry", message, param="usage_date")
    _count(call, subscription_id)
    row: Row = {
        "id": usage_id or state.ids.short("", "usage", subscription_id, price_id, date),
        "object": "usage",
        "subscription_id": subscription_id,
        "item_price_id": price_id,
        "quantity": quantity,
        "usage_date": date,
        "source": "api",
        "note": call.text("note", longest=500),
        "created_at": call.state.clock.now(),
    }
    return {"usage": state.save(state.usages, row)}


@routes.post("/subscriptions/{id}/delete_usage", "id")
def delete(call: Call, subscription_id: str) -> Row:
    usage = _usage(call, subscription_id, call.required("id", longest=100))
    if usage.get("invoice_id"):
        raise invalid_state(f"the usage {usage['id']} is invoiced with {usage['invoice_id']}")
    return {"usage": call.state.usages.remove(usage["id"], call.state.clock.now_ms())}


def _count(call: Call, subscription_id: str) -> None:
    """One more in the subscription's life, if that holds one more."""
    made, most = call.state.usages_made.get(subscription_id, 0), call.world.switches.usages_per_subscription
    if made >= most:
        message = f"a subscription cannot have more than {most} usages"
        raise refusal(400, "resource_limit_exhausted", message, param="subscription_id")
    call.state.usages_made[subscription_id] = made + 1


def _usage(call: Call, subscription_id: str, usage_id: str) -> Row:
    call.existing(call.state.subscriptions, subscription_id, "subscription_id")
    usage = call.state.usages.get(usage_id)
    if usage is None or usage["subscription_id"] != subscription_id:
        raise not_found("id", usage_id)
    return usage


def _metered_price(call: Call, subscription: Row) -> str:
    price_id = call.required("item_price_id", longest=100)
    call.existing(call.state.item_prices, price_id, "item_price_id")
    if metered_item(call.world, price_id) is None:
        raise wrong_value("item_price_id", f"{price_id} is not metered")
    if price_id not in call.state.ever_held.get(subscription["id"], ()):
        raise wrong_value("item_price_id", f"{price_id} was never in the subscription {subscription['id']}")
    return price_id


def _quantity(call: Call) -> str:
    text = call.required("quantity", longest=40)
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise wrong_value("quantity", "should be a number")
    if call.world.switches.usage_quantity_from_one and Decimal(text) < 1:
        raise wrong_value("quantity", "should be greater than or equal to 1")
    return text
