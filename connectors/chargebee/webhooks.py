"""Chargebee's webhooks: Basic auth, a bare event as body, at least once and in no order."""

from __future__ import annotations

import base64
from typing import Any

from connectors.hints import NOTHING, SAMPLE, Hint, event_object, same, text, unreadable

SAMPLE_PREFIX = "cbdemo_"
"""How the ids of the entities in Chargebee's test webhooks begin."""

EVENTS = (
    "customer_created",
    "customer_changed",
    "customer_deleted",
    "customer_moved_in",
    "customer_moved_out",
    "subscription_created",
    "subscription_created_with_backdating",
    "subscription_started",
    "subscription_activated",
    "subscription_activated_with_backdating",
    "subscription_changed",
    "subscription_changed_with_backdating",
    "subscription_trial_extended",
    "subscription_renewed",
    "subscription_items_renewed",
    "subscription_cancelled",
    "subscription_canceled_with_backdating",
    "subscription_cancellation_scheduled",
    "subscription_scheduled_cancellation_removed",
    "subscription_reactivated",
    "subscription_reactivated_with_backdating",
    "subscription_paused",
    "subscription_pause_scheduled",
    "subscription_scheduled_pause_removed",
    "subscription_resumed",
    "subscription_deleted",
    "subscription_moved_in",
    "subscription_moved_out",
)
"""The events to subscribe to: those after which a customer or a subscription reads otherwise."""

_SUBJECTS = (("subscription_", "subscription"), ("customer_", "customer"))


def authorized(header: bytes | None, user: str, password: str) -> bool:
    """True if an Authorization header holds this user and password, compared in constant time."""
    expected = b"Basic " + base64.b64encode(f"{user}:{password}".encode())
    return same(header or b"", expected)


def parse(body: bytes) -> Hint:
    """What an event tells to read again.

    Raises:
        RecordRefused: MB-WEBHOOK, the body is no Chargebee event.
    """
    event = event_object(body)
    event_id, event_type, content = text(event.get("id")), text(event.get("event_type")), event.get("content")
    if not event_id or not event_type or not isinstance(content, dict):
        raise unreadable("id, event_type or content is missing")
    found = [part for part in content.values() if isinstance(part, dict)]
    if any(text(part.get("id")).startswith(SAMPLE_PREFIX) for part in found):
        return Hint(event_id, event_type, SAMPLE)
    occurred = _whole(event.get("occurred_at"))
    for prefix, resource in _SUBJECTS:
        if event_type.startswith(prefix):
            part = content.get(resource)
            named = text(part.get("id")) if isinstance(part, dict) else ""
            if not isinstance(part, dict) or not named:
                raise unreadable(f"{event_type} without a {resource}")
            return Hint(event_id, event_type, resource, named, occurred, _whole(part.get("resource_version")))
    return Hint(event_id, event_type, NOTHING, "", occurred)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None
