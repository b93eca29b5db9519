"""What both vendors sell in every scenario; `demo_catalog.yaml` is the map between the two."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from meterbridge.sandbox.m3ter import entities, organization, products
from meterbridge.sandbox.scenarios.chargebee_seed import put_item, put_price
from meterbridge.sandbox.table import Row

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

CURRENCIES = ("EUR", "USD", "JPY", "GBP")

_ITEMS = (
    ("api-pro", "plan", "API Pro"),
    ("support", "plan", "Support"),
    ("legacy", "plan", "Legacy"),
    ("storage", "addon", "Storage"),
    ("messages", "addon", "Messages"),
    ("priority", "addon", "Priority lane"),
    ("api-usage", "charge", "API calls"),
    ("storage-usage", "charge", "Storage used"),
)
# Chargebee item prices: (item, currency, period unit, price in minor units).
_PRICES = (
    ("api-pro", "EUR", "month", 4900),
    ("api-pro", "USD", "month", 5500),
    ("api-pro", "JPY", "month", 6000),
    ("api-pro", "GBP", "month", 4500),
    ("api-pro", "USD", "year", 60000),
    ("support", "EUR", "month", 2900),
    ("support", "USD", "month", 3200),
    ("legacy", "EUR", "month", 1900),
    ("storage", "EUR", "month", 0),
    ("storage", "USD", "month", 0),
    ("messages", "EUR", "month", 500),
    ("messages", "USD", "month", 500),
    ("priority", "EUR", "month", 1500),
    ("api-usage", "EUR", None, 1),
    ("api-usage", "USD", None, 1),
    ("storage-usage", "EUR", None, 1),
)
_PERIOD_NAMES = {"month": "-Monthly", "year": "-Yearly", None: ""}

# Meter code, field, unit, aggregation code, quantity per unit.
_METERS = (
    ("api", "api_calls", "calls", "call", "1k calls", 1000),
    ("api", "api_compute", "seconds", "s", "s", 1),
    ("storage", "storage_gb", "gb", "GB", "GB", 1),
    ("messages", "messages_sent", "messages", "message", "message", 1),
)
# Plan, product, currency, standing charge, then unit prices by aggregation: text keeps every digit.
_PLANS: tuple[tuple[str, str, str, str, dict[str, str]], ...] = (
    ("api-pro-eur", "api", "EUR", "0", {"api_calls": "1.00", "api_compute": "0.001"}),
    ("api-pro-usd", "api", "USD", "0", {"api_calls": "1.15", "api_compute": "0.00125"}),
    ("api-pro-jpy", "api", "JPY", "500", {"api_calls": "100", "api_compute": "0.07"}),
    ("storage-eur", "storage", "EUR", "0", {"storage_gb": "0.0455"}),
    ("storage-usd", "storage", "USD", "12.50", {"storage_gb": "0.0475"}),
    ("messages-eur", "messages", "EUR", "0", {"messages_sent": "0.00725"}),
    ("messages-usd", "messages", "USD", "0", {"messages_sent": "0.0083"}),
    ("support-eur", "support", "EUR", "15", {}),
    ("support-usd", "support", "USD", "16.50", {}),
)
# Charged for the month that begins: its service period ends after the bill's.
_IN_ADVANCE = frozenset({"support-eur"})
_PRICED_FROM = "2024-01-01T00:00:00.000Z"


def put_catalogue(world: World) -> None:
    """Both catalogues, the currencies and the organisation's configuration."""
    _put_chargebee(world)
    _put_organization(world)
    products_by_code = {
        code: entities.insert(world.m3ter, products.PRODUCT, {"name": code.capitalize(), "code": code})
        for code in ("api", "storage", "messages", "support")
    }
    aggregations = _put_meters(world, products_by_code)
    for code, product, currency, standing, prices in _PLANS:
        plan = _put_plan(world, code, products_by_code[product], currency, Decimal(standing))
        for name, unit_price in prices.items():
            _put_pricing(world, plan, aggregations[name], Decimal(unit_price))


def _put_chargebee(world: World) -> None:
    state = world.chargebee
    family = {"id": "metering", "object": "item_family", "name": "Metering", "status": "active"}
    state.save(state.item_families, family)
    for item_id, kind, name in _ITEMS:
        put_item(world, item_id, kind, name)
    for item_id, currency, unit, price in _PRICES:
        put_price(world, f"{item_id}-{currency}{_PERIOD_NAMES[unit]}", item_id, currency, price, unit=unit)


def _put_organization(world: World) -> None:
    for code in CURRENCIES:
        places = 2 if code == "JPY" else 5
        row = {"name": code, "code": code, "maxDecimalPlaces": places, "roundingMode": "HALF_UP"}
        entities.insert(world.m3ter, organization.CURRENCY, row | {"archived": False})
    configuration = {
        "currency": "EUR",
        "currencyConversions": [{"from": "EUR", "to": "GBP", "multiplier": Decimal("0.85")}],
        "timezone": "UTC",
        "yearEpoch": "2022-01-01",
        "monthEpoch": "2022-01-01",
        "weekEpoch": "2022-01-04",
        "dayEpoch": "2022-01-01",
        "daysBeforeBillDue": 30,
        "scheduledBillInterval": 0,
        "externalInvoiceDate": "FIRST_DAY_OF_NEXT_PERIOD",
        "standingChargeBillInAdvance": False,
        "suppressedEmptyBills": True,
        "consolidateBills": False,
        "allowNegativeBalances": False,
        "allowOverlappingPlans": False,
    }
    organization.set_organization(world.m3ter, configuration)


def _put_meters(world: World, by_code: dict[str, Row]) -> dict[str, Row]:
    """One meter for each field, coded like its aggregation."""
    aggregations = {}
    for product, code, name, unit, billed_unit, per_unit in _METERS:
        row = {
            "name": code.replace("_", " "),
            "code": code,
            "productId": by_code[product]["id"],
            "dataFields": [{"category": "MEASURE", "code": name, "name": name, "unit": unit}],
            "derivedFields": [],
        }
        meter = entities.insert(world.m3ter, products.METER, row)
        aggregation = {
            "name": code.replace("_", " "),
            "code": code,
            "meterId": meter["id"],
            "productId": by_code[product]["id"],
            "targetField": name,
            "aggregation": "SUM",
            "rounding": "NONE",
            "quantityPerUnit": per_unit,
            "unit": billed_unit,
            "segmentedFields": [],
        }
        aggregations[code] = entities.insert(world.m3ter, products.AGGREGATION, aggregation)
    return aggregations


def _put_plan(world: World, code: str, product: Row, currency: str, standing: Decimal) -> Row:
    template = {
        "productId": product["id"],
        "name": f"{product['name']} {currency}",
        "code": code,
        "currency": currency,
        "billFrequency": "MONTHLY",
        "billFrequencyInterval": 1,
        "standingCharge": standing,
        "standingChargeBillInAdvance": code in _IN_ADVANCE,
    }
    saved = entities.insert(world.m3ter, products.PLAN_TEMPLATE, template)
    row = {"planTemplateId": saved["id"], "name": template["name"], "code": code, "productId": product["id"]}
    return entities.insert(world.m3ter, products.PLAN, row | {"bespoke": False})


def _put_pricing(world: World, plan: Row, aggregation: Row, unit_price: Decimal) -> None:
    pricing = {
        "planId": plan["id"],
        "aggregationId": aggregation["id"],
        "description": aggregation["name"],
        "type": "DEBIT",
        "cumulative": True,
        "startDate": _PRICED_FROM,
        "pricingBands": [{"lowerLimit": 0, "fixedPrice": 0, "unitPrice": unit_price}],
    }
    entities.insert(world.m3ter, products.PRICING, pricing)
