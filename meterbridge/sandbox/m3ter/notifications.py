"""/notifications/configurations, /integrationdestinations/webhooks: rules on events, and where they are sent to."""

from __future__ import annotations

import re
from typing import Any

from meterbridge.sandbox.m3ter import entities, fields
from meterbridge.sandbox.m3ter.call import Call, refusal
from meterbridge.sandbox.m3ter.state import M3terState
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()
_CLAUSE = re.compile(r"\(?\s*(new|old)\.(\w+)\s*(==|!=)\s*\"([^\"]*)\"\s*\)?")


def flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


NOTIFICATION = entities.Kind(
    path="notifications/configurations",
    name="NotificationConfiguration",
    table=lambda state: state.notifications,
    fields={
        "name": fields.text(1, 200),
        "code": fields.code,
        "description": fields.text(1, 1000),
        "eventName": fields.text(1, 200),
        "active": flag,
        "alwaysFireEvent": flag,
        "calculation": fields.text(1, 2000),
    },
    required=("name", "code", "description", "eventName"),
    filters={"ids": "id", "eventName": "eventName"},
)

WEBHOOK = entities.Kind(
    path="integrationdestinations/webhooks",
    name="WebhookDestination",
    table=lambda state: state.webhook_destinations,
    fields={
        "name": fields.text(1, 200),
        "description": fields.text(1, 1000),
        "code": fields.code,
        "url": fields.text(1, 1000),
        "active": flag,
        "credentials": fields.mapping,
    },
    required=("name", "description", "url", "credentials"),
    filters={"ids": "id"},
    complete=lambda call, row, before: _signed(call, {"active": True if before is None else before["active"]} | row),
    identity=("name",),
)
entities.register(routes, NOTIFICATION)
entities.register(routes, WEBHOOK)


def _signed(call: Call, row: Row) -> Row:
    """Credentials are an entity of their own: the answer holds its id and what it is for."""
    credentials = row["credentials"]
    if credentials.get("type") != "M3TER_SIGNED_REQUEST" or not credentials.get("apiKey"):
        raise refusal(400, "credentials: type M3TER_SIGNED_REQUEST with apiKey and secret is needed")
    stored = {"id": call.state.ids.uuid("Credentials", row["name"]), "destination": "Webhook"}
    return row | {"credentials": credentials | stored}


@routes.post("/notifications/evaluate")
def evaluate(call: Call) -> Row:
    body = call.body if isinstance(call.body, dict) else {}
    if not body.get("eventName") or not body.get("calculation"):
        raise refusal(400, "eventName and calculation must not be empty")
    understood = _clauses(body["calculation"]) is not None
    return {"success": understood} | ({} if understood else {"errorMessage": "the calculation cannot be parsed"})


def recipients(state: M3terState, event: Row) -> list[Row]:
    """Webhooks that the rules in force send an event to, once for each rule that is linked to them."""
    found = []
    for rule in state.notifications.rows():
        if rule["eventName"] != event["eventName"] or not rule.get("active", True) or not _fires(rule, event):
            continue
        for link in state.integration_configs.rows():
            linked = (link["entityType"], link["destination"], link.get("entityId"))
            if linked == ("Notification", "Webhook", rule["id"]) and link["enabled"]:
                webhook = state.webhook_destinations.get(link.get("destinationId", ""))
                found += [webhook] if webhook and webhook["active"] else []
    return found


def _fires(rule: Row, event: Row) -> bool:
    if rule.get("alwaysFireEvent"):
        return True
    content = event["m3terEvent"]["eventData"]
    sides = {"new": content.get("newDto") or {}, "old": content.get("oldDto") or {}}
    clauses = _clauses(rule.get("calculation", ""))
    return clauses is not None and all(
        (sides[side].get(name) == value) is (operator == "==") for side, name, operator, value in clauses
    )


def _clauses(calculation: str) -> list[tuple[str, str, str, str]] | None:
    """`new.a == "x" AND old.b != "y"` in parts; None for anything else: the sandbox knows no more of the language."""
    parts = [_CLAUSE.fullmatch(part.strip()) for part in calculation.split(" AND ")]
    found = [(part[1], part[2], part[3], part[4]) for part in parts if part is not None]
    return found if len(found) == len(parts) else None
