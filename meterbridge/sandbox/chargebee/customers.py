"""/customers, /configurations."""

from __future__ import annotations

from typing import Any

from meterbridge.sandbox.chargebee.call import Call, invalid_state, refusal
from meterbridge.sandbox.chargebee.lists import Listing
from meterbridge.sandbox.credentials import CHARGEBEE_SITE
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()

_TEXTS = {
    "first_name": 150,
    "last_name": 150,
    "email": 70,
    "company": 250,
    "phone": 50,
    "preferred_currency_code": 3,
    "locale": 50,
    "auto_collection": 3,
    "meta_data": 65_535,
}
_ADDRESS = ("first_name", "last_name", "company", "line1", "line2", "line3", "city", "state", "zip", "country")
_BOOLEANS = ("consolidated_invoicing", "auto_close_invoices")
_FIELDS = (*_TEXTS, *_BOOLEANS, "net_term_days", *(f"billing_address[{name}]" for name in _ADDRESS))

CUSTOMERS = Listing(
    table=lambda call: call.state.customers,
    wrap=lambda _call, row: {"customer": row},
    filters={
        "id": "string",
        "email": "string",
        "company": "string",
        "created_at": "timestamp",
        "updated_at": "timestamp",
    },
    sorts=("created_at", "updated_at"),
    default_sort="created_at",
    include_deleted=True,
)
routes.add("GET", "/customers", CUSTOMERS.known(), None, CUSTOMERS)


@routes.get("/configurations")
def configurations(call: Call) -> Row:
    version = call.world.switches.product_catalog_version
    schema = "items" if version == "v2" else "plans_addons"
    return {
        "configurations": [
            {
                "object": "configuration",
                "domain": CHARGEBEE_SITE,
                "product_catalog_version": version,
                "chargebee_response_schema_type": schema,
            }
        ]
    }


@routes.get("/customers/{id}")
def retrieve(call: Call, customer_id: str) -> Row:
    return {"customer": call.existing(call.state.customers, customer_id)}


@routes.post("/customers", "id", *_FIELDS)
def create(call: Call) -> Row:
    customer_id = call.text("id", longest=50) or call.state.ids.short("", "customer")
    if customer_id in call.state.customers:
        raise refusal(400, "duplicate_entry", f"The value {customer_id} is already present", param="id")
    row: dict[str, Any] = {
        "id": customer_id,
        "object": "customer",
        "auto_collection": "off",
        "net_term_days": 0,
        "deleted": False,
        "created_at": call.state.clock.now(),
    }
    customer = call.state.save(call.state.customers, row | _sent(call))
    call.state.emit("customer_created", {"customer": customer})
    return {"customer": customer}


@routes.post("/customers/{id}", *_FIELDS)
def update(call: Call, customer_id: str) -> Row:
    before = call.existing(call.state.customers, customer_id)
    customer = call.state.save(call.state.customers, before | _sent(call))
    call.state.emit("customer_changed", {"customer": customer})
    return {"customer": customer}


@routes.post("/customers/{id}/delete")
def delete(call: Call, customer_id: str) -> Row:
    before = call.existing(call.state.customers, customer_id)
    living = [row for row in call.state.subscriptions.find("customer_id", customer_id) if not row["deleted"]]
    if any(row["status"] != "cancelled" for row in living):
        raise invalid_state(f"{customer_id} has subscriptions that are not cancelled")
    customer = call.state.save(call.state.customers, before | {"deleted": True})
    call.state.emit("customer_deleted", {"customer": customer})
    return {"customer": customer}


@routes.post("/customers/merge", "from_customer_id", "to_customer_id")
def merge(call: Call) -> Row:
    """All that one customer has becomes the other's; the first one stays, with nothing, unless the switch says so."""
    state = call.state
    source = call.existing(state.customers, call.required("from_customer_id"), "from_customer_id")
    target = call.existing(state.customers, call.required("to_customer_id"), "to_customer_id")
    if source["id"] == target["id"]:
        raise refusal(400, "invalid_request", "the two customers are the same", param="to_customer_id")
    for row in state.subscriptions.find("customer_id", source["id"]):
        moved = state.save(state.subscriptions, row | {"customer_id": target["id"]})
        if call.world.switches.moves_emit_events and not row["deleted"]:
            state.emit("subscription_moved_out", {"subscription": row, "customer": source})
            state.emit("subscription_moved_in", {"subscription": moved, "customer": target})
    for table in (state.invoices, state.credit_notes, state.unbilled_charges):
        for row in table.find("customer_id", source["id"]):
            state.save(table, row | {"customer_id": target["id"]})
    left = state.save(state.customers, source | {"deleted": call.world.switches.merge_deletes_source})
    target = state.save(state.customers, target)
    state.emit("customer_deleted" if left["deleted"] else "customer_changed", {"customer": left})
    state.emit("customer_changed", {"customer": target})
    return {"customer": target}


@routes.post("/customers/{id}/relationships", "parent_id", "payment_owner_id", "invoice_owner_id")
def relationships(call: Call, customer_id: str) -> Row:
    before = call.existing(call.state.customers, customer_id)
    owners = {name: call.text(name) for name in ("parent_id", "payment_owner_id", "invoice_owner_id")}
    for name, owner in owners.items():
        if owner is not None:
            call.existing(call.state.customers, owner, name)
    related = {"object": "relationship"} | before.get("relationship", {}) | {k: v for k, v in owners.items() if v}
    customer = call.state.save(call.state.customers, before | {"relationship": related})
    call.state.emit("customer_changed", {"customer": customer})
    return {"customer": customer}


@routes.post("/customers/{id}/delete_relationship")
def delete_relationship(call: Call, customer_id: str) -> Row:
    before = call.existing(call.state.customers, customer_id)
    if "relationship" not in before:
        raise invalid_state(f"{customer_id} has no relationship")
    customer = call.state.save(call.state.customers, before | {"relationship": None})
    call.state.emit("customer_changed", {"customer": customer})
    return {"customer": customer}


def _sent(call: Call) -> dict[str, Any]:
    """Fields of the request; an empty text clears one (None is dropped when saved)."""
    row: dict[str, Any] = {}
    for name, longest in _TEXTS.items():
        if name in call.params:
            row[name] = call.text(name, longest=longest)
    for name in _BOOLEANS:
        if name in call.params:
            row[name] = call.boolean(name)
    if "net_term_days" in call.params:
        row["net_term_days"] = call.integer("net_term_days", least=0)
    address = {name: call.text(f"billing_address[{name}]") for name in _ADDRESS}
    if any(f"billing_address[{name}]" in call.params for name in _ADDRESS):
        row["billing_address"] = {"object": "billing_address"} | {k: v for k, v in address.items() if v is not None}
    return row
