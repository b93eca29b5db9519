"""/webhook_endpoints: where events are sent to, at most five a site."""

from __future__ import annotations

import re

from meterbridge.sandbox.chargebee.call import Call, refusal, wrong_value
from meterbridge.sandbox.chargebee.lists import Listing
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()
MOST = 5
_TEXTS = ("name", "url", "api_version", "basic_auth_username", "basic_auth_password")
_FLAGS = ("primary_url", "disabled", "send_card_resource")
_FIELDS = (*_TEXTS, *_FLAGS, "chargebee_response_schema_type", "enabled_events[]")
_SECRET = ("basic_auth_username", "basic_auth_password")

ENDPOINTS = Listing(
    table=lambda call: call.state.webhook_endpoints,
    wrap=lambda _call, row: {"webhook_endpoint": shown(row)},
    filters={},
)
routes.add("GET", "/webhook_endpoints", ENDPOINTS.known(), None, ENDPOINTS)


def shown(row: Row) -> Row:
    """The answer never holds the credentials."""
    return {name: value for name, value in row.items() if name not in _SECRET}


@routes.post("/webhook_endpoints", *_FIELDS)
def create(call: Call) -> Row:
    if len(call.state.webhook_endpoints) >= MOST:
        raise refusal(400, "resource_limit_exceeded", f"a site has at most {MOST} webhook endpoints")
    name, url = call.required("name", longest=50), call.required("url", longest=500)
    row: Row = {
        "id": call.state.ids.short("whv2_", name, url),
        "object": "webhook_endpoint",
        "api_version": "v2",
        "disabled": False,
        "primary_url": False,
        "send_card_resource": False,
    }
    return {"webhook_endpoint": shown(_save(call, row))}


@routes.get("/webhook_endpoints/{id}")
def retrieve(call: Call, endpoint_id: str) -> Row:
    return {"webhook_endpoint": shown(call.existing(call.state.webhook_endpoints, endpoint_id))}


@routes.post("/webhook_endpoints/{id}", *(name for name in _FIELDS if name != "chargebee_response_schema_type"))
def update(call: Call, endpoint_id: str) -> Row:
    before = call.existing(call.state.webhook_endpoints, endpoint_id)
    return {"webhook_endpoint": shown(_save(call, before))}


@routes.post("/webhook_endpoints/{id}/delete")
def delete(call: Call, endpoint_id: str) -> Row:
    row = call.existing(call.state.webhook_endpoints, endpoint_id)
    call.state.webhook_endpoints.remove(endpoint_id, call.state.clock.now_ms())
    return {"webhook_endpoint": shown(row)}


def _save(call: Call, before: Row) -> Row:
    url = call.text("url")
    if url is not None and not re.match(r"https?://", url):
        raise wrong_value("url", "should be a URL")
    row = before | {name: call.text(name) for name in _TEXTS if name in call.params}
    row |= {name: call.boolean(name) for name in _FLAGS if name in call.params}
    events = [value for name, value in call.params.items() if name.startswith("enabled_events[")]
    if events:
        row["enabled_events"] = events
    return call.state.save(call.state.webhook_endpoints, row)
