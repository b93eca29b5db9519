"""/item_families, /items, /item_prices: reads; the catalogue is seeded by the scenario."""

from __future__ import annotations

from meterbridge.sandbox.chargebee.call import Call
from meterbridge.sandbox.chargebee.lists import Listing
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()


ITEM_FAMILIES = Listing(
    table=lambda call: call.state.item_families,
    wrap=lambda _call, row: {"item_family": row},
    filters={"id": "string", "name": "string", "updated_at": "timestamp"},
)
ITEMS = Listing(
    table=lambda call: call.state.items,
    wrap=lambda _call, row: {"item": row},
    filters={
        "id": "string",
        "type": "enum",
        "status": "enum",
        "metered": "boolean",
        "item_family_id": "string",
        "updated_at": "timestamp",
    },
    sorts=("updated_at",),
    default_sort="updated_at",
    deleted_by_status=True,
)
ITEM_PRICES = Listing(
    table=lambda call: call.state.item_prices,
    wrap=lambda _call, row: {"item_price": row},
    filters={
        "id": "string",
        "item_id": "string",
        "item_type": "enum",
        "currency_code": "string",
        "status": "enum",
        "updated_at": "timestamp",
    },
    sorts=("updated_at",),
    default_sort="created_at",
    deleted_by_status=True,
)
routes.add("GET", "/item_families", ITEM_FAMILIES.known(), None, ITEM_FAMILIES)
routes.add("GET", "/items", ITEMS.known(), None, ITEMS)
routes.add("GET", "/item_prices", ITEM_PRICES.known(), None, ITEM_PRICES)


@routes.get("/item_families/{id}")
def item_family(call: Call, family_id: str) -> Row:
    return {"item_family": call.existing(call.state.item_families, family_id)}


@routes.get("/items/{id}")
def item(call: Call, item_id: str) -> Row:
    return {"item": call.existing(call.state.items, item_id)}


@routes.get("/item_prices/{id}")
def item_price(call: Call, price_id: str) -> Row:
    return {"item_price": call.existing(call.state.item_prices, price_id)}
