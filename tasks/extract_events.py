"""Chargebee's events into ``raw_chargebee__events``: each shows its record as it was after one change."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from connectors.chargebee.encoding import id_filters, in_list, not_before
from meterbridge.errors import RecordRefused
from meterbridge.ledger import mappings, watermarks
from meterbridge.ledger.inbox import Event
from meterbridge.staging.database import Staging
from tasks.services import Services

SUBSCRIPTION_EVENTS = tuple(
    f"subscription_{what}"
    for what in (
        *("created", "created_with_backdating", "started", "activated", "activated_with_backdating", "trial_extended"),
        *("changed", "changed_with_backdating", "changes_scheduled", "scheduled_changes_removed"),
        *("renewed", "items_renewed", "ramp_applied"),
        *("cancelled", "canceled_with_backdating", "cancellation_scheduled", "scheduled_cancellation_removed"),
        *("reactivated", "reactivated_with_backdating"),
        *("paused", "pause_scheduled", "scheduled_pause_removed"),
        *("resumed", "resumption_scheduled", "scheduled_resumption_removed"),
        *("deleted", "moved_in", "business_entity_changed"),
    )
)
CUSTOMER_EVENTS = tuple(
    f"customer_{what}" for what in ("created", "changed", "deleted", "moved_in", "business_entity_changed")
)

BACKDATED = "_with_backdating"
"""Such an event names the instant of its change, which the record does not keep."""

FEW = 10
"""Up to this many records are read one by one, strongly; more by lists first, and strongly what the list has late."""

MOST_PAGES = 5
"""So many pages of events a batch looks back: the older change that was not told of is nearly always a recent one."""

READ = (
    "select entry.subscription.id as id, "
    "max_by(entry.subscription.customer_id, try_cast(entry.subscription.resource_version as bigint)) as customer_id, "
    "coalesce(max(try_cast(entry.subscription.resource_version as bigint)), 0) as version "
    "from raw_chargebee__subscriptions where entry.subscription.id is not null group by all"
)


def land_since(work: Services, file: Staging, since: int, types: Sequence[str]) -> int:
    """Land the events of these types that occurred since an instant (epoch seconds)."""
    pages = work.chargebee.pages("events", _occurred(since, types), sort_by="occurred_at")
    return file.land_pages("events", (page.body for page in pages))


def _occurred(since: int, types: Sequence[str]) -> dict[str, str]:
    return {"occurred_at[after]": not_before(since), "event_type[in]": in_list(types)}


def land_between(work: Services, file: Staging, hints: Iterable[Event]) -> int:
    """Land what the events of a batch showed before the version that was read, and what happened in between.

    The event of an older change may be on its way yet, or lost: where a subscription changed that is known already,
    the newest events since the watermark are listed, once for the batch and at most :data:`MOST_PAGES` pages. An event
    whose snapshot is the record as it was read costs no request; versions that the ledger has applied cost none either.
    A subscription that cannot be read at all is missing only if Chargebee itself has the event that named it.

    Returns:
        How many events landed.
    """
    told: dict[str, dict[int, Event]] = defaultdict(dict)
    for event in hints:
        if event.event_type in SUBSCRIPTION_EVENTS and event.resource_version is not None:
            told[event.resource_id][event.resource_version] = event
    read = {row["id"]: row for row in file.rows(READ) if row["id"] in told}
    applied = _applied(work, {row["customer_id"] for row in read.values() if row["customer_id"] is not None})
    changed = {name: row for name, row in read.items() if row["version"] > applied.get(name, 0)}
    landed, whole = 0, False
    if any(name in applied for name in changed):
        landed, whole = _land_newest(work, file)
    moved_on = [
        event.occurred_at
        for name, row in changed.items()
        if max(told[name]) < row["version"]
        for event in told[name].values()
        if event.occurred_at is not None
    ]
    if moved_on and not whole:
        landed += land_since(work, file, math.floor(min(moved_on)), SUBSCRIPTION_EVENTS)
    wanted = [
        event
        for name, row in changed.items()
        for version, event in told[name].items()
        if version > applied.get(name, 0) and _is_late(event, row["version"])
    ]
    wanted += [event for name, versions in told.items() if name not in read for event in versions.values()]
    return landed + _land_by_id(work, file, [event.event_id for event in wanted])


def _land_newest(work: Services, file: Staging) -> tuple[int, bool]:
    """Land the newest events of subscriptions since the watermark; how many, and whether these are all.

    What occurred before it, the scheduled runs have seen.
    """
    with work.ledger.read() as rx:
        mark = watermarks.get(rx, "sync_subscriptions")
    if mark is None:
        return 0, False
    since = math.floor(mark.position) - work.settings.overlap_seconds
    window = _occurred(since, SUBSCRIPTION_EVENTS)
    listed = work.chargebee.pages("events", window, sort_by="occurred_at", newest_first=True)
    pages = list(islice(listed, MOST_PAGES))
    whole = not pages or pages[-1].next_offset is None
    return file.land_pages("events", (page.body for page in pages)), whole


def _is_late(event: Event, version: int) -> bool:
    """True if the record as it was read does not show what the event did."""
    return (event.resource_version or 0) < version or event.event_type.endswith(BACKDATED)


def _applied(work: Services, customers: Iterable[str]) -> Mapping[str, int]:
    """The newest version of each subscription that the ledger has applied for these customers."""
    newest: dict[str, int] = {}
    with work.ledger.read() as rx:
        for row in mappings.of_customers(rx, "account_plan", frozenset(customers)):
            name = row.state["subscription_id"]
            newest[name] = max(newest.get(name, 0), row.source_version or 0)
    return newest


def _absent(file: Staging, ids: Iterable[str]) -> list[str]:
    landed = {row["id"] for row in file.rows("select entry.event.id as id from raw_chargebee__events")}
    return [one for one in dict.fromkeys(ids) if one not in landed]


def _land_by_id(work: Services, file: Staging, ids: list[str]) -> int:
    missing = _absent(file, ids)
    landed = 0
    if len(missing) > FEW:
        for some in id_filters("id", missing):
            pages = work.chargebee.pages("events", some, sort_by="occurred_at")
            landed += file.land_pages("events", (page.body for page in pages))
        missing = _absent(file, missing)
    if not missing:
        return landed
    with ThreadPoolExecutor(work.settings.deliver_threads) as pool:
        found = pool.map(lambda one: entry_or_none(work.chargebee.event, one), missing)
        entries = [entry for entry in found if entry is not None]
    return landed + file.land_pages("events", [json.dumps({"list": entries}).encode()])


def entry_or_none(read: Callable[[str], dict[str, Any]], name: str) -> dict[str, Any] | None:
    """A list entry read by id; None where Chargebee has no such record (any more)."""
    try:
        return read(name)
    except RecordRefused as refusal:
        if refusal.status != 404:
            raise
        return None
