"""Checks that everything which the catalog map names exists at both vendors, in one currency."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from connectors.chargebee.encoding import in_list
from meterbridge.catalog import Catalog
from meterbridge.cli.findings import Finding, failure, ok, warning
from meterbridge.cli.vendor_checks import Clients

IDS_PER_LIST = 50
CODES_OF = {
    "product": "/products",
    "pricing": "/pricings",
    "aggregation": "/aggregations",
    "compound_aggregation": "/compoundaggregations",
}
"""Where the codes are that a row of ``charges`` may name; plans are read anyway."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What both vendors have: item prices by id, the currency of each m3ter plan by code."""

    item_prices: dict[str, dict[str, Any]]
    plan_currencies: dict[str, str | None]


def catalog_at_vendors(clients: Clients, catalog: Catalog) -> Iterator[Finding]:
    """One failure line for each unknown id, one warning for each pair of currencies that differ."""
    offered = Offered(_item_prices(clients, catalog), _plan_currencies(clients))
    findings = [*_plans(catalog, offered), *_charges(catalog, offered), *_names(clients, catalog, offered)]
    if findings:
        yield from findings
    else:
        yield ok("catalog ids", "every id exists on both sides, in one currency")
    yield from shared_plans(catalog, offered)


def shared_plans(catalog: Catalog, offered: Offered) -> Iterator[Finding]:
    """Tell of m3ter plans that several item prices of one subscription may stand for: it has one plan item at most."""
    for plan, prices in catalog.shared.items():
        kinds = {one: str((offered.item_prices.get(one) or {}).get("item_type", "unknown")) for one in prices}
        if any(kind != "plan" for kind in kinds.values()):
            named = ", ".join(f"{one} ({kind})" for one, kind in kinds.items())
            one_for_all = "a subscription with several of them has one account plan, mapped to each"
            yield ok("catalog plans", f"{named} stand for m3ter plan {plan}: {one_for_all}")


def _item_prices(clients: Clients, catalog: Catalog) -> dict[str, dict[str, Any]]:
    wanted = sorted({row.item_price for row in catalog.plans} | {row.item_price for row in catalog.charges})
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(wanted), IDS_PER_LIST):
        params = {"id[in]": in_list(wanted[start : start + IDS_PER_LIST])}
        for row in clients.chargebee.rows("item_prices", params):
            found[row["item_price"]["id"]] = row["item_price"]
    return found


def _plan_currencies(clients: Clients) -> dict[str, str | None]:
    templates = {row["id"]: row.get("currency") for row in clients.m3ter.plan_templates()}
    return {row["code"]: templates.get(row.get("planTemplateId")) for row in clients.m3ter.plans()}


def _plans(catalog: Catalog, offered: Offered) -> Iterator[Finding]:
    for row in catalog.plans:
        price = offered.item_prices.get(row.item_price)
        yield from _exists(row.item_price, price, ("plan", "addon"))
        if row.plan not in offered.plan_currencies:
            yield failure("catalog ids", f"m3ter has no plan {row.plan!r}", "Create it, or correct the catalog.")
            continue
        currency = offered.plan_currencies[row.plan]
        if price is not None and currency not in (None, price["currency_code"]):
            found = f"item price {row.item_price} is in {price['currency_code']}, plan {row.plan} in {currency}"
            yield warning(
                "currencies", f"{found}: its subscriptions are set aside", "Map it to a plan of its currency."
            )


def _charges(catalog: Catalog, offered: Offered) -> Iterator[Finding]:
    for row in catalog.charges:
        price = offered.item_prices.get(row.item_price)
        yield from _exists(row.item_price, price, ("charge",))
        if price is not None and row.currency not in (None, price["currency_code"]):
            found = f"charge item price {row.item_price} is in {price['currency_code']}, its row says {row.currency}"
            yield failure("currencies", found, "Name a charge item price of the row's currency.")


def _exists(item_price: str, found: dict[str, Any] | None, types: tuple[str, ...]) -> Iterator[Finding]:
    if found is None:
        yield failure(
            "catalog ids", f"Chargebee has no item price {item_price!r}", "Create it, or correct the catalog."
        )
    elif found["item_type"] not in types:
        is_a = f"item price {item_price} is of type {found['item_type']}, not {' or '.join(types)}"
        yield failure("catalog ids", is_a, "Correct the catalog.")
    elif found.get("status") not in (None, "active"):
        yield warning(
            "catalog ids", f"item price {item_price} is {found['status']}", "Existing subscriptions still sync."
        )


def _names(clients: Clients, catalog: Catalog, offered: Offered) -> Iterator[Finding]:
    """Codes or ids in ``charges`` that m3ter does not have: such a row never matches a bill line."""
    for field, below in CODES_OF.items():
        named = {value for row in catalog.charges if (value := getattr(row, field)) is not None}
        if named:
            known = {str(one) for row in _every(clients, below) for one in (row.get("code"), row.get("id"))}
            yield from (_never(field, value) for value in sorted(named - known))
    plans = {row.plan for row in catalog.charges if row.plan is not None}
    yield from (_never("plan", value) for value in sorted(plans - set(offered.plan_currencies)))


def _never(field: str, value: str) -> Finding:
    return warning("catalog ids", f"m3ter has no {field} {value!r}: that row never matches", "Correct the catalog.")


def _every(clients: Clients, below: str) -> Iterable[dict[str, Any]]:
    for page in clients.m3ter.list(below, exact=True):
        yield from page
