"""The worlds of ``lives/*.yaml`` at the vendors: what is there first, and what happens on a day. No bridge in sight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from meterbridge.sandbox.chargebee import entry
from meterbridge.sandbox.scenarios import build, catalogue
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_price, put_subscription
from meterbridge.sandbox.wire import HttpRequest
from meterbridge.sandbox.world import World
from tests.flows.lives_rows import ITEMS, PLANS, Life, epoch

HOUR = 3_600
FIRST_SYNC = "03-17T10"
CATALOG_CHANGES_ON = "03-24"
NOT_MAPPED_YET = "messages"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def make_world(name: str, rows: list[Life]) -> World:
    world = build("empty")
    world.m3ter.organization["allowOverlappingPlans"] = "overlap allowed" in name
    world.switches.merge_deletes_source = name == "other settings"
    with world.clock.held((world.facts["start"] - 21 * HOUR) * 1000):
        product = next(row for row in world.m3ter.products.rows() if row["code"] == "api")
        catalogue._put_plan(world, "api-plus-eur", product, "EUR", Decimal(0))
        for item, kind, unit in (
            ("api-plus", "plan", "month"),
            ("nowhere", "plan", "month"),
            ("calls", "addon", "month"),
        ):
            catalogue.put_item(world, item, kind, item)
            put_price(world, f"{item}-EUR-Monthly", item, "EUR", 900, unit=unit)
        put_price(world, "api-pro-EUR-Yearly", "api-pro", "EUR", 50_000, unit="year")
        for life in rows:
            put_seeds(world, life)
    return world


def put_seeds(world: World, life: Life) -> None:
    """The subscriptions that are there before the first sync; each says what is not usual about it."""
    put_customer(world, life.name, f"{life.name} Ltd", "EUR")
    for name, seed in life.seeds.items():
        owner = identity(life, seed.get("customer", ""))
        if owner not in world.chargebee.customers:
            put_customer(world, owner, f"{owner} Ltd", "EUR")
        prices = tuple(ITEMS[item] for item in seed.get("items", ["api"]))
        times = {"started_at": epoch(seed.get("since", "01-01T00")), "status": seed.get("status", "active")}
        ends = epoch(seed["ends"]) if "ends" in seed else None
        put_subscription(
            world, SubscriptionSeed(identity(life, name), owner, prices, ends_at=ends, **times), invoice=False
        )


def identity(life: Life, name: str) -> str:
    """The id of a row's customer (no name), further customer, or subscription."""
    return f"{life.name}.{name}" if name else life.name


def live(world: World, rows: list[Life], at: str) -> None:
    """Everything that happens on one day, at noon."""
    world.advance_to(epoch(at))
    with world.lock:
        for number, life in enumerate(rows):
            with world.clock.held(epoch(at) * 1000 + number % 900):
                for step in life.steps.get(at, ()):
                    for path, fields in step.items():
                        act(world, life, path, dict(fields or {}))


def act(world: World, life: Life, path: str, fields: dict[str, Any]) -> None:
    """One operation: ``s/pause``, ``create s2``, ``customers/…``, or a row ``put`` as the vendor might."""
    if path.startswith("put "):
        put(world, identity(life, path[4:]), fields)
        return
    params: dict[str, Any] = {}
    for number, (item, quantity) in enumerate(dict(fields.pop("items", {})).items()):
        params[f"subscription_items[item_price_id][{number}]"] = ITEMS[item]
        params[f"subscription_items[quantity][{number}]"] = quantity or 1
    for name, value in fields.items():
        params[name] = _value(life, name, value)
    if path.startswith("create "):
        owner = identity(life, str(params.pop("customer", "") or ""))
        post(world, f"/customers/{owner}/subscription_for_items", {"id": identity(life, path[7:]), **params})
    elif path.startswith("customers"):
        post(world, "/" + path.replace("{c}", life.name), params)
    else:
        name, operation = path.split("/")
        post(world, f"/subscriptions/{identity(life, name)}/{operation}", params)


def _value(life: Life, name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and re.fullmatch(r"\d\d-\d\d(T\d\d)?", value):
        return epoch(value)
    if name.endswith("customer_id") or name == "invoice_owner_id" or (name == "id" and value):
        return identity(life, value if value != "c" else "")
    return value


def put(world: World, name: str, fields: dict[str, Any]) -> None:
    """Change a subscription's row without an operation, with the event that the vendor would send."""
    state = world.chargebee
    event = fields.pop("event", "subscription_changed")
    changed = {key: _value(Life("", "", (), {}, {}, (), (), (), ()), key, value) for key, value in fields.items()}
    row = state.save(state.subscriptions, (state.subscriptions.get(name) or {}) | changed)
    state.emit(event, {"subscription": row, "customer": state.customers.get(row["customer_id"]) or {}})


def post(world: World, path: str, params: Mapping[str, Any]) -> None:
    reply = entry.answer(world, HttpRequest("POST", f"/api/v2{path}", "", FORM, urlencode(params).encode()))
    assert reply.status == 200, f"{path}: {reply.body!r}"


def write_catalog(path: Path, *, changed: bool) -> None:
    """The catalog map; ``changed`` maps messages, api to another plan, yearly to another product, storage no more."""
    plans = {item: plan for item, plan in PLANS.items() if item != NOT_MAPPED_YET}
    if changed:
        plans |= {NOT_MAPPED_YET: PLANS[NOT_MAPPED_YET], "api": "api-plus-eur", "yearly": "storage-eur"}
        del plans["storage"]
    rows = [{"item_price": ITEMS[item], "plan": plan} for item, plan in plans.items()]
    path.write_text(yaml.safe_dump({"plans": rows}))
