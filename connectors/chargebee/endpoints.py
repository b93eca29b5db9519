"""Requests about Chargebee's webhook endpoints: where it sends its events."""

from __future__ import annotations

from connectors.chargebee.encoding import FORM, Parameter, form
from connectors.chargebee.webhooks import EVENTS
from connectors.transport import Request, path


def create_endpoint(*, name: str, url: str, user: str, password: str) -> Request:
    """A new endpoint for the events that concern us; a site has at most five."""
    return Request("POST", path("webhook_endpoints"), form(_fields(name, url, user, password)), FORM)


def update_endpoint(endpoint_id: str, *, name: str, url: str, user: str, password: str) -> Request:
    """The endpoint as it should be, switched on; the password cannot be read, so it is always sent."""
    fields = {**_fields(name, url, user, password), "disabled": False}
    return Request("POST", path("webhook_endpoints", endpoint_id), form(fields), FORM)


def delete_endpoint(endpoint_id: str) -> Request:
    """Take an endpoint away; events that are under way may still come."""
    return Request("POST", path("webhook_endpoints", endpoint_id, "delete"), "", FORM)


def _fields(name: str, url: str, user: str, password: str) -> dict[str, Parameter]:
    return {
        "name": name,
        "url": url,
        "api_version": "v2",
        "basic_auth_username": user,
        "basic_auth_password": password,
        "send_card_resource": False,
        "enabled_events": list(EVENTS),
    }
