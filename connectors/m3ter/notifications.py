"""Requests about m3ter's notifications: a rule on events, a webhook, and the integration that links the two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connectors.m3ter.requests import JSON
from connectors.m3ter.webhooks import APPROVED, BILL_EVENT
from connectors.transport import Request, path

RULES = "/notifications/configurations"
WEBHOOKS = "/integrationdestinations/webhooks"
LINKS = "/integrationconfigs"


def rule(name: str) -> dict[str, Any]:
    """The rule that fires when a bill is approved."""
    return {
        "name": name,
        "code": name,
        "description": "A bill was approved: meterbridge charges it in Chargebee.",
        "eventName": BILL_EVENT,
        "calculation": APPROVED,
        "alwaysFireEvent": False,
        "active": True,
    }


def webhook(name: str, *, url: str, key: str) -> dict[str, Any]:
    """The webhook; m3ter signs with the key in a way that is not published, so path and key guard it."""
    credentials = {"type": "M3TER_SIGNED_REQUEST", "apiKey": key, "secret": key}
    about = "meterbridge serve"
    return {"name": name, "code": name, "description": about, "url": url, "active": True, "credentials": credentials}


def link(name: str, *, rule_id: str, webhook_id: str) -> dict[str, Any]:
    """The integration configuration that sends the rule's notifications to the webhook."""
    ends = {"entityType": "Notification", "entityId": rule_id, "destination": "Webhook", "destinationId": webhook_id}
    return {"name": name, "configData": {}, **ends}


def create(org: str, below: str, body: Mapping[str, Any]) -> Request:
    """A new object of one of the three kinds."""
    return Request("POST", _at(org, below), _text(body), JSON)


def update(org: str, below: str, row_id: str, body: Mapping[str, Any]) -> Request:
    """The object as it should be; ``body`` holds the version that was read."""
    return Request("PUT", _at(org, below, row_id), _text(body), JSON)


def delete(org: str, below: str, row_id: str) -> Request:
    """Take an object away."""
    return Request("DELETE", _at(org, below, row_id))


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _at(org: str, below: str, *segments: str) -> str:
    return path("organizations", org, *below.strip("/").split("/"), *segments)
