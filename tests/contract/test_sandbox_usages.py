"""Usages of metered items in the imitated Chargebee: each test is one rule over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from meterbridge.sandbox import CHARGEBEE_API_KEY, Sandbox, scenarios
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.chargebee_seed import (
    SubscriptionSeed,
    put_customer,
    put_item,
    put_price,
    put_subscription,
)

CALLS, SEATS, PEAK = "calls-EUR-Monthly", "seats-EUR-Monthly", "peak-EUR-Monthly"
METERED = {CALLS: "sum_of_usages", SEATS: "last_usage", PEAK: "max_usage"}
PATH = "/subscriptions/sub-metered/usages"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    world = scenarios.build("empty")
    with world.clock.held(epoch(2026, 3, 16, 12) * 1000):
        for price, calculation in METERED.items():
            item = price.partition("-")[0]
            put_item(world, item, "addon", item.title(), calculation=calculation)
            put_price(world, price, item, "EUR", 7, unit="month")
        put_customer(world, "cust-metered", "Metered Ltd", "EUR")
        prices = ("api-pro-EUR-Monthly", *METERED)
        put_subscription(world, SubscriptionSeed("sub-metered", "cust-metered", prices, epoch(2026, 1, 1)))
        put_subscription(
            world, SubscriptionSeed("sub-plain", "cust-metered", ("api-pro-EUR-Monthly",), epoch(2026, 1, 1))
        )
    with Sandbox(world) as running:
        yield running


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.chargebee_url, auth=(CHARGEBEE_API_KEY, "")) as client:
        yield client


def add(http: httpx.Client, price: str, day: int, quantity: str, **more: str) -> httpx.Response:
    sent = {"item_price_id": price, "quantity": quantity, "usage_date": str(epoch(2026, 3, day))}
    return http.post(PATH, data=sent | more)


def usage(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()["usage"]
    return made


def refused(answer: httpx.Response, status: int, code: str, param: str = "") -> None:
    assert (answer.status_code, answer.json()["api_error_code"]) == (status, code), answer.text
    assert answer.json().get("param", "") == param


def draft(http: httpx.Client) -> dict[str, Any]:
    params = {"subscription_id[is]": "sub-metered", "status[is]": "pending"}
    found: dict[str, Any] = http.get("/invoices", params=params).json()["list"][0]["invoice"]
    return found


def metered(invoice: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {line["entity_id"]: (line["quantity"], line["amount"]) for line in invoice["line_items"] if line["metered"]}


def test_a_usage_is_kept_under_its_own_id_and_read_back(http: httpx.Client) -> None:
    made = usage(add(http, CALLS, 2, "5", id="u1", note="one"))
    assert (made["id"], made["quantity"], made["source"]) == ("u1", "5", "api")
    assert usage(http.get(PATH, params={"id": "u1"})) == made
    refused(http.get(PATH, params={"id": "u2"}), 404, "resource_not_found", "id")
    listed = http.get("/usages", params={"subscription_id[is]": "sub-metered", "sort_by[asc]": "usage_date"})
    assert [entry["usage"]["id"] for entry in listed.json()["list"]] == ["u1"]


def test_an_id_and_a_second_are_taken_once(http: httpx.Client) -> None:
    usage(add(http, CALLS, 2, "5", id="u1"))
    refused(add(http, CALLS, 3, "5", id="u1"), 400, "duplicate_entry", "id")
    refused(add(http, CALLS, 2, "6", id="u2"), 400, "duplicate_entry", "usage_date")
    assert usage(add(http, CALLS, 2, "6", id="u2", dedupe_option="skip"))["quantity"] == "5"
    replaced = usage(add(http, CALLS, 2, "6", id="u2", dedupe_option="update_existing"))
    assert (replaced["id"], replaced["quantity"]) == ("u1", "6")
    assert usage(add(http, SEATS, 2, "6", id="u3"))["id"] == "u3"


def test_only_metered_items_of_the_subscription_take_usages(http: httpx.Client) -> None:
    refused(add(http, "api-pro-EUR-Monthly", 2, "5"), 400, "param_wrong_value", "item_price_id")
    sent = {"item_price_id": CALLS, "quantity": "5", "usage_date": str(epoch(2026, 3, 2))}
    refused(http.post("/subscriptions/sub-plain/usages", data=sent), 400, "param_wrong_value", "item_price_id")
    refused(http.post("/subscriptions/nobody/usages", data=sent), 404, "resource_not_found", "subscription_id")


@pytest.mark.parametrize("quantity", ["0", "0.5", "-1", "1e3", "five", "1" * 41])
def test_a_quantity_is_a_number_from_one_on(http: httpx.Client, quantity: str) -> None:
    refused(add(http, CALLS, 2, quantity), 400, "param_wrong_value", "quantity")


def test_a_subscription_takes_so_many_usages_in_its_life(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.switches.usages_per_subscription = 2
    usage(add(http, CALLS, 2, "5", id="u1"))
    usage(add(http, CALLS, 3, "5", id="u2"))
    assert http.post("/subscriptions/sub-metered/delete_usage", data={"id": "u1"}).status_code == 200
    refused(add(http, CALLS, 4, "5", id="u3"), 400, "resource_limit_exhausted", "subscription_id")


def test_the_renewal_bills_the_term_that_ended_item_by_item(sandbox: Sandbox, http: httpx.Client) -> None:
    for day, quantity in ((2, "5"), (20, "2.5"), (10, "4")):
        for price in METERED:
            usage(add(http, price, day, quantity))
    sandbox.world.advance_to(epoch(2026, 4, 1))
    # 5 + 2.5 + 4 = 11.5 calls at 7 are 80.5; the last is 2.5 seats: 17.5; the highest 5: 35
    assert metered(draft(http)) == {CALLS: (11, 81), SEATS: (2, 18), PEAK: (5, 35)}
    assert {entry["usage"]["invoice_id"] for entry in http.get("/usages").json()["list"]} == {draft(http)["id"]}


def test_without_usage_there_is_no_metered_line(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.advance_to(epoch(2026, 4, 1))
    assert metered(draft(http)) == {}
    assert [line["entity_id"] for line in draft(http)["line_items"]] == ["api-pro-EUR-Monthly"]


def test_a_late_usage_is_picked_up_while_the_invoice_is_pending_and_never_after(
    sandbox: Sandbox, http: httpx.Client
) -> None:
    usage(add(http, CALLS, 2, "5", id="u1"))
    sandbox.world.advance_to(epoch(2026, 4, 1))
    usage(add(http, CALLS, 3, "6", id="u2"))
    assert "invoice_id" not in usage(http.get(PATH, params={"id": "u2"}))
    assert metered(http.post(f"/invoices/{draft(http)['id']}/sync_usages").json()["invoice"]) == {CALLS: (11, 77)}
    usage(add(http, CALLS, 4, "1", id="u3"))
    final = http.post(f"/invoices/{draft(http)['id']}/close").json()["invoice"]
    assert metered(final) == {CALLS: (12, 84)}
    assert usage(http.get(PATH, params={"id": "u3"}))["invoice_id"] == final["id"]
    usage(add(http, CALLS, 5, "9", id="u4"))
    sandbox.world.advance_to(epoch(2026, 5, 1))
    assert metered(draft(http)) == {}
    assert "invoice_id" not in usage(http.get(PATH, params={"id": "u4"}))


def test_an_invoiced_usage_stays_until_its_invoice_is_voided(sandbox: Sandbox, http: httpx.Client) -> None:
    usage(add(http, CALLS, 2, "5", id="u1"))
    sandbox.world.advance_to(epoch(2026, 4, 1))
    refused(http.post("/subscriptions/sub-metered/delete_usage", data={"id": "u1"}), 409, "invalid_state_for_request")
    final = http.post(f"/invoices/{draft(http)['id']}/close").json()["invoice"]
    assert http.post(f"/invoices/{final['id']}/void").status_code == 200
    assert "invoice_id" not in usage(http.get(PATH, params={"id": "u1"}))
    assert http.post("/subscriptions/sub-metered/delete_usage", data={"id": "u1"}).status_code == 200


def test_a_deleted_draft_takes_its_usages_along(sandbox: Sandbox, http: httpx.Client) -> None:
    usage(add(http, CALLS, 2, "5", id="u1"))
    sandbox.world.advance_to(epoch(2026, 4, 1))
    assert http.post(f"/invoices/{draft(http)['id']}/delete").status_code == 200
    refused(http.get(PATH, params={"id": "u1"}), 404, "resource_not_found", "id")


def test_the_last_term_of_a_cancelled_subscription_is_billed(sandbox: Sandbox, http: httpx.Client) -> None:
    usage(add(http, CALLS, 2, "5", id="u1"))
    http.post("/subscriptions/sub-metered/cancel_for_items")
    assert metered(draft(http)) == {CALLS: (5, 35)}
