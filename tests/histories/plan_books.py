"""What must hold of account plans after each settle, read off both vendors' rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from meterbridge.sandbox.clock import parse_rfc3339
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.world import World


def plan_complaints(world: World, report: Any) -> Iterator[str]:
    """No overlap of a product on an account, and what runs in m3ter is what lives at Chargebee."""
    aside = {name for row in report.quarantined for name in row["key"]}
    plans = list(world.m3ter.account_plans.rows())
    yield from _overlaps(plans)
    mapped = defaultdict(list)
    external = {
        row["m3terId"]: row["externalId"] for row in world.m3ter.mappings.rows() if row["m3terEntity"] == "AccountPlan"
    }
    for plan in plans:
        if plan["id"] in external:
            mapped[external[plan["id"]]].append(plan)
    for subscription in world.chargebee.subscriptions.rows():
        for item in subscription["subscription_items"]:
            name = f"{subscription['id']}-{item['item_price_id']}"
            if {subscription["id"], name, subscription["customer_id"]} & aside:
                continue
            yield from _against(subscription, name, mapped.get(name, []))


def _against(subscription: Row, name: str, plans: list[Row]) -> Iterator[str]:
    last = max(plans, key=lambda plan: plan["startDate"], default=None)
    end = last and last.get("endDate")
    status = subscription["status"]
    if status == "active" and not subscription["deleted"]:
        if last is None:
            yield f"{name} is active, no account plan"
        elif end:
            yield f"{name} is active, its account plan ends {end}"
        return
    if last is None or status in ("future", "in_trial"):
        return
    wanted = subscription.get("pause_date" if status == "paused" else "cancelled_at")
    if wanted is not None and not end:
        yield f"{name} is {status} at {wanted}, its account plan is open"
    elif wanted is not None and end and not subscription["deleted"] and _epoch(end) > wanted:
        yield f"{name} is {status} at {wanted}, its account plan ends later, {end}"


def _overlaps(plans: list[Row]) -> Iterator[str]:
    by_place = defaultdict(list)
    for plan in plans:
        by_place[plan["accountId"], plan.get("productId")].append(plan)
    for place, rows in by_place.items():
        rows.sort(key=lambda row: row["startDate"])
        for before, after in pairwise(rows):
            if not before.get("endDate") or before["endDate"] > after["startDate"]:
                yield f"two account plans overlap on {place}: {before['code']} and {after['code']}"


def _epoch(text: str) -> int:
    return parse_rfc3339(text) // 1000
