"""The imitated m3ter's rules for bills; each test is one rule over HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios import month
from tests.contract.sandbox_m3ter.conftest import APRIL, MARCH, account, attach, exact, made, measure, refused


def test_bill_rates_usage_exactly(billed: dict[str, Any]) -> None:
    assert (billed["startDate"], billed["endDate"], billed["billDate"]) == ("2026-03-01", "2026-04-01", "2026-04-01")
    assert (billed["status"], billed["currency"]) == ("APPROVED", "EUR")
    assert {line["convertedSubtotal"] for line in billed["lineItems"]} == {Decimal("10.335"), Decimal("20.335")}
    assert billed["billTotal"] == Decimal("30.67")
    assert {line["lineItemType"] for line in billed["lineItems"]} == {"USAGE"}
    assert billed["lineItems"][0]["servicePeriodEndDate"] == "2026-04-01T00:00:00.000Z"


def test_lists_of_bills_filter_and_leave_out(http: httpx.Client, billed: dict[str, Any]) -> None:
    def count(**params: str) -> int:
        return len(http.get("/bills", params=params).json()["data"])

    assert count(status="APPROVED") == count(locked="false") == count(billDate="2026-04-01") == 1
    assert count(status="PENDING") == count(locked="true") == 0
    assert count(billDateStart="2026-04-01", billDateEnd="2026-04-02") == 1
    assert count(billDateStart="2026-03-01", billDateEnd="2026-04-01") == 0
    assert count(ids=billed["id"], accountId=billed["accountId"]) == 1
    row = http.get("/bills", params={"excludeLineItems": "true"}).json()["data"][0]
    assert "lineItems" not in row
    assert "billTotal" not in row
    refused(http.get("/bills", params={"billDateStart": "April"}), 400, "billDate")


def test_recalculation_keeps_the_bill_and_returns_it_to_pending(http: httpx.Client, billed: dict[str, Any]) -> None:
    more = measure(account="cust-fractions", meter="api_calls", uid="late", ts="2026-03-31T23:00:00Z")
    made(http.post("/measurements", json=more))
    job = made(http.post("/billjobs/recalculate", json={"billIds": [billed["id"]]}))
    assert job["status"] == "PENDING"
    assert made(http.get(f"/billjobs/{job['id']}"))["status"] == "COMPLETE"
    again = exact(http.get(f"/bills/{billed['id']}"))
    assert (again["status"], again["version"]) == ("PENDING", billed["version"] + 1)
    assert "dtApproved" not in again
    assert again["billTotal"] == Decimal("30.67") + Decimal("0.218")
    assert not {line["id"] for line in again["lineItems"]} & {line["id"] for line in billed["lineItems"]}


def test_line_ids_may_survive_recalculation(sandbox: Sandbox, http: httpx.Client, billed: dict[str, Any]) -> None:
    sandbox.world.switches.line_ids_on_recalculation = "keep"
    made(http.post("/billjobs/recalculate", json={"billIds": [billed["id"]]}))
    again = made(http.get(f"/bills/{billed['id']}"))
    assert [line["id"] for line in again["lineItems"]] == [line["id"] for line in billed["lineItems"]]


def test_locked_bill_never_changes(http: httpx.Client, billed: dict[str, Any]) -> None:
    path = f"/bills/{billed['id']}"
    made(http.put(f"{path}/status", json={"status": "PENDING"}))
    refused(http.put(f"{path}/lock"), 400, "pending")
    made(http.post("/bills/approve", json={"billIds": [billed["id"]]}))
    locked = made(http.put(f"{path}/lock"))
    made(http.post("/billjobs/recalculate", json={"billIds": [billed["id"]]}))
    assert made(http.get(path)) == locked
    refused(http.put(f"{path}/status", json={"status": "PENDING"}), 400, "locked")
    refused(http.delete(path), 400, "locked")


def test_line_items_of_a_bill_page_by_themselves(http: httpx.Client, billed: dict[str, Any]) -> None:
    page = http.get(f"/bills/{billed['id']}/lineitems", params={"pageSize": 1}).json()
    assert page["data"][0]["billId"] == billed["id"]
    assert "bandUsage" in page["data"][0]
    page = http.get(f"/bills/{billed['id']}/lineitems", params={"pageSize": 1, "nextToken": page["nextToken"]}).json()
    assert "nextToken" not in page


def test_credit_memo_is_negative_on_the_bill_and_names_no_plan(http: httpx.Client, billed: dict[str, Any]) -> None:
    line = billed["lineItems"][0]
    body = {"amount": 5, "description": "Goodwill", "productId": line["productId"]}
    body |= {"accountingProductId": line["productId"], "referencedBillId": billed["id"]}
    body |= {"referencedLineItemId": line["id"], "servicePeriodStartDate": MARCH, "servicePeriodEndDate": APRIL}
    made(http.post(f"/bills/{billed['id']}/creditlineitems", json=body))
    again = exact(http.get(f"/bills/{billed['id']}"))
    assert again["billTotal"] == Decimal("25.67")
    assert (again["lineItems"][-1]["lineItemType"], again["lineItems"][-1]["convertedSubtotal"]) == ("CREDIT_MEMO", -5)
    assert "planId" not in again["lineItems"][-1]


def test_deleted_bill_shows_only_as_event(http: httpx.Client, billed: dict[str, Any]) -> None:
    made(http.delete(f"/bills/{billed['id']}"))
    assert http.get("/bills").json()["data"] == []
    events = http.get("/events", params={"eventName": "billing.bill.deleted"}).json()["data"]
    assert events[0]["m3terEvent"]["eventData"]["oldDto"]["id"] == billed["id"]


def test_approval_shows_as_update_event_with_old_and_new(http: httpx.Client, billed: dict[str, Any]) -> None:
    event = http.get("/events", params={"eventName": "billing.bill.updated"}).json()["data"][0]
    content = event["m3terEvent"]["eventData"]
    assert (content["oldDto"]["status"], content["newDto"]["status"]) == ("PENDING", "APPROVED")


def test_events_are_kept_for_28_days(sandbox: Sandbox, http: httpx.Client, billed: dict[str, Any]) -> None:
    sandbox.world.advance(28 * 86_400 + 60)
    assert http.get("/events").json()["data"] == []


def test_bill_without_a_conversion_is_not_generated(sandbox: Sandbox, http: httpx.Client) -> None:
    attach(http, account(http, currency="JPY"))
    assert month.use_and_bill(sandbox.world).bills == 0
    assert len(http.get("/events", params={"eventName": "billing.bill.failure"}).json()["data"]) == 1


def test_amount_of_22_digits_leaves_with_all_of_them(sandbox: Sandbox, http: httpx.Client) -> None:
    config = {row["code"]: row for row in http.get("/picklists/currency").json()["data"]}["EUR"]
    bare = {name: value for name, value in config.items() if name != "maxDecimalPlaces"}
    made(http.put(f"/picklists/currency/{config['id']}", json=bare))
    attach(http, account(http))
    sandbox.world.facts["usage"]["cust-larkspur"] = {"api_calls": Decimal("1234567890123123.456789")}
    month.use_and_bill(sandbox.world)
    text = http.get("/bills").text
    assert '"convertedSubtotal":1234567890123.123456789,' in text


def test_charge_in_advance_serves_the_month_that_begins(sandbox: Sandbox, http: httpx.Client) -> None:
    attach(http, account(http), "support-eur")
    month.use_and_bill(sandbox.world)
    line = exact(http.get("/bills"))["data"][0]["lineItems"][0]
    assert (line["lineItemType"], line["convertedSubtotal"]) == ("STANDING_CHARGE", 15)
    assert line["servicePeriodStartDate"] == "2026-04-01T00:00:00.000Z"
    assert line["servicePeriodEndDate"] == "2026-05-01T00:00:00.000Z"


def test_anniversary_cycle_follows_the_bill_epoch(sandbox: Sandbox, http: httpx.Client) -> None:
    attach(http, account(http, "cust-tenth"), billEpoch="2025-11-10")
    month.use_and_bill(sandbox.world)
    bill = made(http.get("/bills"))["data"][0]
    assert (bill["startDate"], bill["endDate"]) == ("2026-03-10", "2026-04-10")


def test_second_month_makes_a_second_bill_and_a_repeated_job_none(sandbox: Sandbox, http: httpx.Client) -> None:
    attach(http, account(http))
    month.use_and_bill(sandbox.world)
    month.use_and_bill(sandbox.world)
    assert [bill["startDate"] for bill in http.get("/bills").json()["data"]] == ["2026-04-01", "2026-03-01"]
    made(http.post("/billjobs", json={"lastDateInBillingPeriod": "2026-03-31"}))
    assert len(http.get("/bills").json()["data"]) == 2


def test_month_that_is_used_twice_counts_once(sandbox: Sandbox, http: httpx.Client) -> None:
    attach(http, account(http))
    month.pass_month(sandbox.world)
    # Two meters of four measurements each.
    assert [month.use(sandbox.world), month.use(sandbox.world)] == [8, 0]


def test_bill_of_the_designated_customer_stays_pending(sandbox: Sandbox, http: httpx.Client) -> None:
    attach(http, account(http, "cust-pending-bill"))
    report = month.use_and_bill(sandbox.world)
    assert (report.approved, report.left_pending) == (0, 1)
    assert http.get("/bills").json()["data"][0]["status"] == "PENDING"
