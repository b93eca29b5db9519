"""The vendors as a case says they stand before anything happens. No bridge in sight."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.m3ter import entities
from meterbridge.sandbox.m3ter.mappings import MAPPING
from meterbridge.sandbox.m3ter.organization import CURRENCY
from meterbridge.sandbox.scenarios import build, catalog_path, catalogue
from meterbridge.sandbox.scenarios.chargebee_seed import (
    SubscriptionSeed,
    put_customer,
    put_item,
    put_price,
    put_subscription,
)
from meterbridge.sandbox.scenarios.living import put_account, put_plan
from meterbridge.sandbox.world import World
from tests.practice.case import Case
from tests.practice.words import minor, moment

A_DAY = 86_400
SINCE = "2026-01-01"


def make_world(case: Case) -> World:
    """A sandbox's world; it begins on 2026-03-17 at nine, its rows were made the day before."""
    world = build("empty")
    # The sandbox's time stands still between our steps: on a slow machine a case is the same.
    began = world.clock._began
    world.clock._monotonic = lambda: began
    world.switches.update(dict(case.part("switches")))
    world.m3ter.organization.update(case.part("organisation", "settings"))
    with world.clock.held((world.facts["start"] - 21 * 3_600) * 1000):
        for name, price in case.part("site", "prices").items():
            _put_price(world, name, price)
        for name, customer in case.part("site", "customers").items():
            _put_customer(world, name, dict(customer or {}))
        for name, subscription in case.part("site", "subscriptions").items():
            for one in _copies(name, subscription):
                _put_subscription(world, one, subscription)
        for code, plan in case.part("organisation", "plans").items():
            if not world.m3ter.currencies.find("code", plan["currency"]):
                currency = {"name": plan["currency"], "code": plan["currency"], "maxDecimalPlaces": 5}
                entities.insert(world.m3ter, CURRENCY, currency | {"roundingMode": "HALF_UP", "archived": False})
            product = next(row for row in world.m3ter.products.rows() if row["code"] == plan["product"])
            catalogue._put_plan(world, code, product, plan["currency"], Decimal(0))
        _put_accounts(world, case)
    return world


def _put_price(world: World, name: str, told: Mapping[str, Any]) -> None:
    item = told["item"]
    if item not in world.chargebee.items:
        put_item(world, item, told.get("kind", "plan"), item)
    currency = str(told["price"]).split()[-1]
    put_price(world, name, item, currency, minor(told["price"]) or 0, unit=told.get("every", "month"))


def _put_customer(world: World, name: str, told: dict[str, Any]) -> None:
    company = told.pop("company", name.capitalize() + " Ltd")
    if payer := told.pop("paid_by", None):
        told["relationship"] = {"invoice_owner_id": payer}
    put_customer(world, name, company, told.pop("currency", "EUR"), **told)


def _copies(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    if "copies" not in told:
        yield name
        return
    yield from (f"{name}-{number:03d}" for number in range(1, told["copies"] + 1))


def _put_subscription(world: World, name: str, told: Mapping[str, Any]) -> None:
    for item in told["items"]:
        if item not in world.chargebee.item_prices:
            raise ValueError(f"subscription {name}: the site has no item price {item}")
    if told["customer"] not in world.chargebee.customers:
        raise ValueError(f"subscription {name}: the site has no customer {told['customer']}")
    seed = SubscriptionSeed(
        name,
        told["customer"],
        tuple(told["items"]),
        moment(told.get("since", SINCE)),
        status=told.get("status", "active"),
        ends_at=moment(told["ends"]) if "ends" in told else None,
        create_pending_invoices=told.get("pending_invoices", True),
        quantity=told.get("quantity", 1),
    )
    row = put_subscription(world, seed)
    if "business_entity" in told:
        world.chargebee.save(world.chargebee.subscriptions, row | {"business_entity_id": told["business_entity"]})


def _put_accounts(world: World, case: Case) -> None:
    accounts = {}
    for code, told in case.part("organisation", "accounts").items():
        more = {"currency": told["currency"]} if "currency" in told else {}
        more |= {"customFields": {"chargebee_site": told["site"]}} if "site" in told else {}
        accounts[code] = put_account(world, code, told["name"], told.get("email", f"{code}@m3ter.example"), **more)
    if name := case.part("organisation").get("native_integration"):
        body = {"name": name, "entityType": "Bill", "entityId": "x", "destination": "Chargebee", "configData": {}}
        world.m3ter.save(world.m3ter.integration_configs, body | {"id": "native", "enabled": True}, None)
    for told in case.part("organisation").get("account_plans") or ():
        end = {"endDate": rfc3339(1_000 * moment(told["until"]))} if "until" in told else {}
        plan = put_plan(world, accounts[told["account"]], told["plan"], rfc3339(1_000 * moment(told["from"])), **end)
        if "mapped_as" in told:
            mapping = {"m3terEntity": "AccountPlan", "m3terId": plan["id"], "externalSystem": "Chargebee"}
            mapping |= {"externalTable": "Subscription", "externalId": told["mapped_as"]}
            entities.insert(world.m3ter, MAPPING, mapping)


def write_catalog(home: Path, told: Mapping[str, Any]) -> Path:
    """The sandbox's catalog map with what a case adds to it, or maps otherwise; a plan of null is not mapped."""
    catalog = copy.deepcopy(yaml.safe_load(catalog_path().read_text()))
    plans = {row["item_price"]: row for row in catalog["plans"]}
    for item_price, plan in (told.get("plans") or {}).items():
        plans[item_price] = plan if isinstance(plan, dict) else {"item_price": item_price, "plan": plan}
    catalog["plans"] = [row for row in plans.values() if row.get("plan")]
    catalog["charges"] = [*(told.get("charges") or ()), *catalog["charges"]]
    path = home / "catalog.yaml"
    path.write_text(yaml.safe_dump(catalog))
    return path
