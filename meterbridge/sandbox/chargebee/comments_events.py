"""/comments, /events."""

from __future__ import annotations

from meterbridge.sandbox.chargebee.call import Call, not_found
from meterbridge.sandbox.chargebee.invoices import add_comment
from meterbridge.sandbox.chargebee.lists import Listing
from meterbridge.sandbox.table import Row, Table
from meterbridge.sandbox.wire import Routes

routes = Routes()

COMMENTS = Listing(
    table=lambda call: call.state.comments,
    wrap=lambda _call, row: {"comment": row},
    filters={"created_at": "timestamp"},
    sorts=("created_at",),
    default_sort="created_at",
    plain=("entity_type", "entity_id"),
)
EVENTS = Listing(
    table=lambda call: call.state.events,
    wrap=lambda _call, row: {"event": row},
    filters={"id": "string", "event_type": "enum", "source": "enum", "occurred_at": "timestamp"},
    sorts=("occurred_at",),
    default_sort="occurred_at",
)
routes.add("GET", "/comments", COMMENTS.known(), None, COMMENTS)
routes.add("GET", "/events", EVENTS.known(), None, EVENTS)


@routes.get("/events/{id}")
def event(call: Call, event_id: str) -> Row:
    return {"event": call.existing(call.state.events, event_id, "event_id")}


@routes.get("/comments/{id}")
def comment(call: Call, comment_id: str) -> Row:
    return {"comment": call.existing(call.state.comments, comment_id, "comment_id")}


@routes.post("/comments", "entity_type", "entity_id", "notes")
def create_comment(call: Call) -> Row:
    entity_type, entity_id = call.required("entity_type"), call.required("entity_id", longest=100)
    tables: dict[str, Table] = {
        "invoice": call.state.invoices,
        "subscription": call.state.subscriptions,
        "customer": call.state.customers,
        "credit_note": call.state.credit_notes,
        "item_price": call.state.item_prices,
    }
    if entity_type not in tables or entity_id not in tables[entity_type]:
        raise not_found("entity_id", entity_id)
    add_comment(call, entity_id, call.required("notes", longest=1000), entity_type)
    return {"comment": call.state.comments.find("entity_id", entity_id)[-1]}


@routes.post("/comments/{id}/delete")
def delete_comment(call: Call, comment_id: str) -> Row:
    row = call.state.comments.get(comment_id)
    if row is None:
        raise not_found("comment_id", comment_id)
    call.state.comments.remove(comment_id, call.state.clock.now_ms())
    return {"comment": row}
