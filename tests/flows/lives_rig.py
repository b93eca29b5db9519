"""Plays the lives of ``lives/*.yaml``: all lives of one world together, looked after in one of the ``WAYS``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from connectors.chargebee import webhooks
from flows.drain_inbox import drain_inbox
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.ledger import inbox, mappings
from meterbridge.ledger.ledger import Ledger
from meterbridge.sandbox import Sandbox, World
from meterbridge.settings import load_settings, use_environment
from tasks.report import RunReport
from tasks.services import open_ledger
from tests.flows.conftest import environment
from tests.flows.lives_rows import DAYS, ITEMS, PLANS, WORLDS, Life, day, epoch
from tests.flows.lives_world import CATALOG_CHANGES_ON, FIRST_SYNC, HOUR, live, make_world, write_catalog

WAYS = ("after each day", "at once", "only at the end", "told each day", "told at the end")
"""When somebody syncs; ``told``: what events name, in one batch, and the world's window only once all is over.

``at once``: a moment after what happened, and no more that day.
"""


@dataclass(slots=True)
class Played:
    """A world after all its lives, and what was wrong on the way."""

    plans: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    set_aside: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    syncs: int = 0


def play(home: Path, name: str, rows: list[Life], way: str) -> Played:
    """All lives of one world, after a first sync of it."""
    world = make_world(name, rows)
    played = Played()
    catalog = home / "catalog.yaml"
    home.mkdir(parents=True)
    write_catalog(catalog, changed=False)
    with Sandbox(world) as sandbox:
        settings = {**WORLDS[name], "METERBRIDGE_CATALOG": str(catalog)}
        use_environment(environment(sandbox, home, **settings))
        world.advance_to(epoch(FIRST_SYNC))
        sync_and_check(world, played, rows)
        told = {event["id"] for event in world.chargebee.events.rows()}
        for at in DAYS:
            live(world, rows, at)
            if name == "the catalog changes" and at == CATALOG_CHANGES_ON:
                write_catalog(catalog, changed=True)
            if way == "at once":
                sync_and_check(world, played, rows)
            world.advance_to(epoch(at) + HOUR)
            eventful = name == "plain" or any(at in life.steps for life in rows)
            if way == "told each day" or (way == "told at the end" and at == DAYS[-1]):
                tell(world, home, told)
            if (way == "after each day" and eventful) or at == DAYS[-1]:
                sync_and_check(world, played, rows)
        look(world, played, rows)
    return played


def tell(world: World, home: Path, told: set[str]) -> None:
    """Everything that happened since arrives as webhooks, the newest first, and is drained."""
    events = [event for event in world.chargebee.events.rows() if event["id"] not in told]
    told.update(event["id"] for event in events)
    ledger = Ledger.open(None, home=home, connection="default")
    with ledger.write() as tx:
        hints = [webhooks.parse(json.dumps(event).encode()) for event in reversed(events)]
        inbox.put_all(tx, [inbox.Event("chargebee", **asdict(hint)) for hint in hints])
        tx.commit()
    while drain_inbox.fn(limit=10_000) is not None:
        pass
    with ledger.read() as rx:
        assert inbox.backlog(rx).waiting == 0
    ledger.close()


# --- what must hold after every sync ------------------------------------------------------


def sync_and_check(world: World, played: Played, rows: list[Life]) -> None:
    """Sync, then sync again: nothing is missing, the second one writes nothing, and the invariants hold."""
    first = sync_subscriptions.fn()
    second = sync_subscriptions.fn()
    played.syncs += 2
    now = day_of_world(world)
    for report in (first, second):
        if report.missing or report.held:
            played.problems.append(f"{now}: missing {report.missing}, held {report.held}")
    if second.writes or second.intended:
        played.problems.append(f"{now}: the second run intends {second.intended}, wrote {dict(second.applied)}")
    played.problems += [f"{now}: {one}" for one in broken(world, second)]
    played.set_aside.clear()
    for row in second.quarantined:
        played.set_aside[owner_of(rows, row["key"])].append(row["code"])


def day_of_world(world: World) -> str:
    return datetime.fromtimestamp(world.clock.now(), UTC).strftime("%m-%d")


def owner_of(rows: list[Life], key: list[str]) -> str:
    """Whose row a quarantined record belongs to: ids begin with the row's name."""
    return next((life.name for life in rows if key[0] == life.name or key[0].startswith(f"{life.name}.")), str(key))


def broken(world: World, report: RunReport) -> Iterator[str]:
    """Overlaps, ends that are not Chargebee's, and account plans that the ledger and m3ter see differently."""
    plans = list(world.m3ter.account_plans.rows())
    if not world.m3ter.organization["allowOverlappingPlans"]:
        yield from overlaps(plans)
    yield from wrong_ends(world, {tuple(row["key"][:2]) for row in report.quarantined})
    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        known = {row.remote_id: row.state for row in mappings.all(rx, "account_plan", active_only=True)}
    ledger.close()
    found = {plan["id"]: (day(plan["startDate"]), day(plan.get("endDate")), plan["accountId"]) for plan in plans}
    ours = {one: (day(s["start"]), day(s["end"]), s["account_id"]) for one, s in known.items()}
    for one in sorted({*found, *ours}):
        if found.get(one) != ours.get(one):
            yield f"account plan {one}: m3ter {found.get(one)}, ledger {ours.get(one)}"


def overlaps(plans: list[dict[str, Any]]) -> Iterator[str]:
    by_place: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for plan in plans:
        by_place[plan["accountId"], plan["productId"]].append(plan)
    for place in by_place.values():
        ordered = sorted(place, key=lambda plan: plan["startDate"])
        for one, other in pairwise(ordered):
            if one.get("endDate", "9999") > other["startDate"]:
                yield f"{one['code']} and {other['code']} overlap"


def wrong_ends(world: World, quarantined: set[tuple[str, ...]]) -> Iterator[str]:
    """The last account plan of each item that a subscription has ends when the subscription does."""
    last: dict[str, dict[str, Any]] = {}
    codes = {row["id"]: external for row, external in mapped(world)}
    for plan in sorted(world.m3ter.account_plans.rows(), key=lambda plan: plan["startDate"]):
        last[codes.get(plan["id"], "")] = plan
    # A subscription that is cancelled while it pauses was metered until the pause.
    told = [
        event["content"]["subscription"] for event in world.chargebee.events.find("event_type", "subscription_paused")
    ]
    pauses = {(row["id"], day(datetime.fromtimestamp(row["pause_date"], UTC).isoformat())) for row in told}
    for subscription in world.chargebee.subscriptions.rows():
        never = subscription.get("activated_at") == subscription.get("cancelled_at")  # or for no time
        if subscription["deleted"] or subscription["status"] == "transferred" or never:
            continue
        until = {"paused": "pause_date", "active": ""}.get(subscription["status"], "cancelled_at")
        ends = subscription.get(until)
        for item in subscription["subscription_items"]:
            key = (subscription["id"], item["item_price_id"])
            plan = last.get("-".join(key))
            if plan is None or key in quarantined or item["item_price_id"] == ITEMS["storage"]:
                continue
            text = None if ends is None else datetime.fromtimestamp(ends, UTC).isoformat()
            if day(text) != day(plan.get("endDate")) and (key[0], day(plan.get("endDate"))) not in pauses:
                yield f"{'-'.join(key)} ends {day(plan.get('endDate'))}, Chargebee says {day(text)}"


def mapped(world: World) -> Iterator[tuple[dict[str, Any], str]]:
    """Account plans with the external id that m3ter's mapping gives them; empty where there is none, or several."""
    by_plan: dict[str, list[str]] = defaultdict(list)
    for mapping in world.m3ter.mappings.rows():
        if mapping["m3terEntity"] == "AccountPlan":
            by_plan[mapping["m3terId"]].append(mapping["externalId"])
    for plan in world.m3ter.account_plans.rows():
        externals = by_plan.get(plan["id"], [])
        yield plan, externals[0] if len(externals) == 1 else ""


# --- what stands in the end ----------------------------------------------------------------


def look(world: World, played: Played, rows: list[Life]) -> None:
    """Every account plan as its row would write it: subscription, item, start, end, account and plan where unusual."""
    accounts = {row["id"]: row for row in world.m3ter.accounts.rows()}
    played.accounts = {row["code"]: row for row in accounts.values()}
    codes = {row["id"]: row["code"] for row in world.m3ter.plans.rows()}
    by_price = {price: item for item, price in ITEMS.items()}
    for plan, external in sorted(mapped(world), key=lambda one: (one[1], one[0]["startDate"])):
        price = next((price for price in by_price if external.endswith(f"-{price}")), "")
        subscription = external.removesuffix(f"-{price}")
        life = next((one for one in rows if subscription.startswith(f"{one.name}.")), None)
        if life is None:
            played.problems.append(f"account plan {plan['code']} is mapped to {external!r}")
            continue
        item, code = by_price[price], accounts[plan["accountId"]]["code"]
        shown = [subscription.removeprefix(f"{life.name}."), item, day(plan["startDate"]), day(plan.get("endDate"))]
        if code != life.name:
            shown += ["on", code.removeprefix(f"{life.name}.").replace(f"{life.name}~{life.name}.", "~")]
        if codes[plan["planId"]] != PLANS[item]:
            shown += ["as", codes[plan["planId"]]]
        played.plans[life.name].append(" ".join(shown))
