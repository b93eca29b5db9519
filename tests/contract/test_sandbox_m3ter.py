"""The imitated m3ter keeps the vendor's rules: each test is one rule over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterbridge.sandbox import M3TER_API_KEY, M3TER_API_SECRET, M3TER_ORGANIZATION_ID, Sandbox, scenarios
from meterbridge.sandbox.m3ter.periods import period_until
from meterbridge.sandbox.rating import price
from meterbridge.sandbox.scenarios import month

ROOT = f"/organizations/{M3TER_ORGANIZATION_ID}"
JANUARY, MARCH, APRIL = "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scenarios.build("demo")) as running:
        yield running


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    sandbox.world.switches.m3ter_token_seconds = 10**8
    with httpx.Client(base_url=sandbox.m3ter_url + ROOT) as client:
        client.headers["Authorization"] = f"Bearer {token(sandbox)}"
        yield client


def token(sandbox: Sandbox) -> str:
    grant = {"grant_type": "client_credentials"}
    answer = httpx.post(f"{sandbox.m3ter_url}/oauth/token", auth=(M3TER_API_KEY, M3TER_API_SECRET), json=grant)
    return str(answer.json()["access_token"])


def made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    return row


def exact(answer: httpx.Response) -> Any:
    return json.loads(answer.text, parse_float=Decimal)


def refused(answer: httpx.Response, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    assert words in answer.json()["message"]


def account(http: httpx.Client, code: str = "cust-larkspur", **more: Any) -> dict[str, Any]:
    body = {"name": "Larkspur", "code": code, "emailAddress": "ap@larkspur.example", "currency": "EUR"}
    return made(http.post("/accounts", json=body | more))


def plan_id(http: httpx.Client, code: str) -> str:
    return str(next(row["id"] for row in http.get("/plans").json()["data"] if row["code"] == code))


def attach(http: httpx.Client, owner: dict[str, Any], plan: str = "api-pro-eur", **more: Any) -> httpx.Response:
    body = {"accountId": owner["id"], "planId": plan_id(http, plan), "startDate": JANUARY}
    return http.post("/accountplans", json=body | more)


# Tokens, limits


def test_token_is_asked_for_by_json_or_form_and_wrong_key_is_401(sandbox: Sandbox) -> None:
    url = f"{sandbox.m3ter_url}/oauth/token"
    grant = {"grant_type": "client_credentials"}
    key = (M3TER_API_KEY, M3TER_API_SECRET)
    assert httpx.post(url, auth=key, json=grant).json()["expires_in"] == 18_000
    assert "access_token" in httpx.post(url, auth=key, data=grant).json()
    refused(httpx.post(url, auth=(M3TER_API_KEY, "wrong"), json=grant), 401, "invalid client")
    refused(httpx.post(url, auth=key, json={"grant_type": "password"}), 400, "grant_type")
    sandbox.world.switches.m3ter_wrong_key_status = 403
    assert httpx.post(url, auth=(M3TER_API_KEY, "wrong"), json=grant).status_code == 403


def test_expired_token_and_foreign_organisation_are_403(sandbox: Sandbox) -> None:
    headers = {"Authorization": f"Bearer {token(sandbox)}"}
    url = f"{sandbox.m3ter_url}{ROOT}/products"
    assert httpx.get(url, headers=headers).status_code == 200
    foreign = url.replace(M3TER_ORGANIZATION_ID, "00000000-0000-4000-8000-000000000000")
    assert httpx.get(foreign, headers=headers).status_code == 403
    sandbox.world.advance(18_001)
    assert httpx.get(url, headers=headers).status_code == 403
    assert httpx.get(url).status_code == 403


def test_request_beyond_the_limit_of_a_second_is_throttled(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.switches.m3ter_per_second = 3
    assert [http.get("/products").status_code for _ in range(4)] == [200, 200, 200, 429]
    sandbox.world.advance(1)
    assert http.get("/products").status_code == 200


def test_body_above_512000_bytes_is_a_firewall_403_without_json(http: httpx.Client) -> None:
    answer = http.post("/measurements", content=b" " * 512_001)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "text/html"


# Entities


def test_unknown_fields_and_parameters_are_refused_by_name_unless_lenient(sandbox: Sandbox, http: httpx.Client) -> None:
    body = {"name": "A", "code": "a", "emailAddress": "a@b.example", "emial": "x"}
    refused(http.post("/accounts", json=body), 400, "emial")
    refused(http.get("/accounts", params={"code": "a"}), 400, "code")
    sandbox.world.switches.lenient = True
    assert "emial" not in made(http.post("/accounts", json=body))
    assert http.get("/accounts", params={"code": "a"}).status_code == 200


def test_update_replaces_the_whole_object_and_checks_the_version(sandbox: Sandbox, http: httpx.Client) -> None:
    first = account(http, customFields={"tier": "gold"}, purchaseOrderNumber="7")
    assert first["version"] == 1
    whole = {name: value for name, value in first.items() if name not in ("customFields", "purchaseOrderNumber")}
    second = made(http.put(f"/accounts/{first['id']}", json=whole | {"name": "New"}))
    assert (second["version"], second["name"], second["dtCreated"]) == (2, "New", first["dtCreated"])
    assert "customFields" not in second
    assert "purchaseOrderNumber" not in second
    refused(http.put(f"/accounts/{first['id']}", json=whole), 400, "version")
    without = {name: value for name, value in whole.items() if name != "version"}
    refused(http.put(f"/accounts/{first['id']}", json=without), 400, "version")
    sandbox.world.switches.stale_version_status = 409
    refused(http.put(f"/accounts/{first['id']}", json=whole), 409, "version")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"emailAddress": None}, "emailAddress", id="no-email"),
        pytest.param({"code": " a"}, "code", id="outer-space-in-code"),
        pytest.param({"code": "x" * 81}, "code", id="long-code"),
        pytest.param({"currency": "ZZZ"}, "currency", id="undefined-currency"),
        pytest.param({"address": {"addressLine1": "x" * 51}}, "addressLine1", id="long-address"),
        pytest.param({"billEpoch": "2026-03-01T00:00:00Z"}, "billEpoch", id="date-time-for-a-date"),
        pytest.param({"parentAccountId": "0" * 36}, "parentAccountId", id="unknown-parent"),
    ],
)
def test_account_refuses(http: httpx.Client, change: dict[str, Any], words: str) -> None:
    body = {"name": "A", "code": "a", "emailAddress": "a@b.example"} | change
    refused(http.post("/accounts", json=body), 400, words)


def test_codes_of_accounts_clash_without_regard_to_case(sandbox: Sandbox, http: httpx.Client) -> None:
    account(http, "Acme")
    body = {"name": "A", "code": "acme", "emailAddress": "a@b.example"}
    refused(http.post("/accounts", json=body), 400, "code")
    sandbox.world.switches.duplicate_code_status = 409
    refused(http.post("/accounts", json=body), 409, "code")


def test_lists_are_newest_first_with_an_opaque_token(http: httpx.Client) -> None:
    codes = [account(http, f"c{number}")["code"] for number in range(5)]
    page = http.get("/accounts", params={"pageSize": 3}).json()
    assert [row["code"] for row in page["data"]] == ["c4", "c3", "c2"]
    page = http.get("/accounts", params={"pageSize": 3, "nextToken": page["nextToken"]}).json()
    assert [row["code"] for row in page["data"]][:2] == ["c1", "c0"]
    assert codes == ["c0", "c1", "c2", "c3", "c4"]
    refused(http.get("/accounts", params={"pageSize": 101}), 400, "pageSize")
    refused(http.get("/accounts", params={"pageSize": 0}), 400, "pageSize")
    refused(http.get("/accounts", params={"nextToken": "17"}), 400, "nextToken")


def test_filtered_list_pages_without_repeating_a_row(http: httpx.Client) -> None:
    owner = account(http)
    plans = [made(attach(http, owner, plan))["id"] for plan in ("api-pro-eur", "storage-eur", "messages-eur")]
    found: list[str] = []
    token = ""
    while len(found) < 9:
        page = http.get("/accountplans", params={"account": owner["id"], "pageSize": "1", "nextToken": token}).json()
        found += [row["id"] for row in page["data"]]
        token = page.get("nextToken", "")
        if not token:
            break
    assert found == plans[::-1]


def test_arrays_are_taken_repeated_or_joined_by_commas(http: httpx.Client) -> None:
    for code in ("a", "b", "c"):
        account(http, code)
    for query in ("codes=a&codes=c", "codes=a,c"):
        found = http.get(f"/accounts?{query}").json()["data"]
        assert [row["code"] for row in found] == ["c", "a"]


# Account plans


def test_interval_is_half_open_and_one_product_may_not_overlap(http: httpx.Client) -> None:
    owner = account(http)
    made(attach(http, owner, endDate=MARCH))
    made(attach(http, owner, startDate=MARCH))
    refused(attach(http, owner, startDate="2026-02-28T23:59:59Z", endDate=MARCH), 400, "active plan of this product")
    made(attach(http, owner, "storage-eur"))
    refused(attach(http, owner, "messages-eur", endDate=JANUARY), 400, "endDate")


def test_overlap_is_allowed_when_the_organisation_says_so(http: httpx.Client) -> None:
    config = made(http.get("/organizationconfig"))
    assert config["allowOverlappingPlans"] is False
    made(http.put("/organizationconfig", json=config | {"allowOverlappingPlans": True}))
    owner = account(http)
    made(attach(http, owner))
    made(attach(http, owner))


def test_replace_ends_the_old_one_at_the_start_of_the_new(http: httpx.Client) -> None:
    owner = account(http)
    old = made(attach(http, owner, code="one"))
    body = {"accountId": owner["id"], "planId": old["planId"], "startDate": MARCH, "code": "two"}
    both = made(http.post(f"/accountplans/{old['id']}/replace", json=body))
    assert both["originalAccountPlan"] | {"dtLastModified": ""} == old | {
        "endDate": MARCH,
        "version": 2,
        "dtLastModified": "",
    }
    assert (both["newAccountPlan"]["startDate"], both["newAccountPlan"]["code"]) == (MARCH, "two")
    before_start = body | {"startDate": JANUARY, "code": "three"}
    refused(http.post(f"/accountplans/{old['id']}/replace", json=before_start), 400, "startDate")


def test_list_of_account_plans_is_active_only_without_includeall(http: httpx.Client) -> None:
    owner = account(http)
    ended = made(attach(http, owner, endDate=MARCH))
    active = made(attach(http, owner, startDate=MARCH, endDate=APRIL))
    future = made(attach(http, owner, startDate=APRIL))

    def ids(**params: str) -> list[str]:
        return [row["id"] for row in http.get("/accountplans", params=params).json()["data"]]

    assert ids(account=owner["id"]) == [active["id"]]
    assert ids(account=owner["id"], includeall="true") == [future["id"], active["id"], ended["id"]]
    assert ids(account=owner["id"], date="2026-02-01") == [ended["id"]]
    assert ids(account=owner["id"], product=active["productId"]) == [active["id"]]
    refused(http.get("/accountplans", params={"product": active["productId"]}), 400, "product")


def test_deleted_account_plan_is_gone_and_frees_its_account(http: httpx.Client) -> None:
    owner = account(http)
    row = made(attach(http, owner))
    refused(http.delete(f"/accounts/{owner['id']}"), 400, "account plans")
    made(http.delete(f"/accountplans/{row['id']}"))
    refused(http.get(f"/accountplans/{row['id']}"), 404, row["id"])
    made(http.delete(f"/accounts/{owner['id']}"))
    account(http)


# Mappings


def test_mappings_are_found_from_both_sides(sandbox: Sandbox, http: httpx.Client) -> None:
    owner = account(http)
    odd = "Abo Städte 7/ß+@"
    body = {"m3terEntity": "Account", "m3terId": owner["id"], "externalSystem": "Chargebee"}
    body |= {"externalTable": "Customer", "externalId": odd}
    row = made(http.post("/externalmappings", json=body))
    assert http.get(f"/externalmappings/external/Account/{owner['id']}").json()["data"] == [row]
    quoted = "Abo%20St%C3%A4dte%207%2F%C3%9F%2B%40"
    assert http.get(f"/externalmappings/externalid/Chargebee/Customer/{quoted}").json()["data"] == [row]
    assert http.get(f"/externalmappings/externalid/Chargebee/Subscription/{quoted}").json()["data"] == []
    assert http.get("/externalmappings", params={"externalSystemId": "Chargebee"}).json()["data"] == [row]
    changed = made(http.put(f"/externalmappings/{row['id']}", json=row | {"externalId": "new"}))
    assert (changed["version"], changed["externalId"]) == (2, "new")
    made(http.delete(f"/externalmappings/{row['id']}"))
    refused(http.get(f"/externalmappings/{row['id']}"), 404, row["id"])


def test_mapping_names_come_from_the_configuration(sandbox: Sandbox, http: httpx.Client) -> None:
    assert "BillLineItem" in http.get("/externalmappingconfiguration").json()["m3terEntities"]
    body = {"m3terEntity": "BillLineItem", "m3terId": "x", "externalSystem": "Chargebee"}
    body |= {"externalTable": "InvoiceLineItem", "externalId": "li_1"}
    made(http.post("/externalmappings", json=body))
    made(http.post("/externalmappings", json=body))
    sandbox.world.switches.update({"mapping_entities": ["Account"], "duplicate_mappings": "refuse"})
    assert http.get("/externalmappingconfiguration").json()["m3terEntities"] == ["Account"]
    refused(http.post("/externalmappings", json=body), 400, "m3terEntity")
    refused(http.post("/externalmappings", json=body | {"externalId": ""}), 400, "externalId")


def test_native_integration_shows_in_the_list(http: httpx.Client) -> None:
    assert http.get("/integrationconfigs").json()["data"] == []
    body = {"name": "Native", "entityType": "Bill", "destination": "Chargebee", "configData": {}}
    made(http.post("/integrationconfigs", json=body))
    found = http.get("/integrationconfigs").json()["data"]
    assert [(row["destination"], row["enabled"]) for row in found] == [("Chargebee", True)]


# Usage


def measure(**change: Any) -> dict[str, Any]:
    row = {"uid": "u1", "meter": "api_calls", "account": "cust-larkspur", "ts": "2026-03-02T07:00:00Z"}
    return {"measurements": [row | {"measure": {"calls": 218}} | change]}


def failures(http: httpx.Client) -> list[str]:
    found = http.get("/events", params={"eventName": "ingest.validation.failure"}).json()["data"]
    return [event["m3terEvent"]["eventData"]["newDto"]["type"] for event in found]


def test_usage_for_an_unknown_code_makes_a_skeleton_account(http: httpx.Client) -> None:
    assert made(http.post("/measurements", json=measure())) == {"result": "accepted"}
    row = http.get("/accounts", params={"codes": "cust-larkspur"}).json()["data"][0]
    assert (row["code"], row["name"]) == ("cust-larkspur", "cust-larkspur-autocreated")
    http.post("/measurements", json=measure(account="CUST-larkspur", uid="u2"))
    assert failures(http) == ["InvalidAccountCode"]


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        pytest.param({"meter": "nothing"}, "UndefinedMeter", id="meter"),
        pytest.param({"measure": {"other": 1}}, "MissingField", id="field"),
        pytest.param({"what": {"calls": "x"}}, "DuplicateField", id="twice"),
        pytest.param({}, "DuplicateUid", id="uid"),
    ],
)
def test_rejected_usage_is_accepted_first_and_shows_as_event(
    http: httpx.Client, change: dict[str, Any], failure: str
) -> None:
    made(http.post("/measurements", json=measure()))
    assert made(http.post("/measurements", json=measure(**change))) == {"result": "accepted"}
    assert failures(http) == [failure]


def test_uid_is_forgotten_after_35_days(sandbox: Sandbox, http: httpx.Client) -> None:
    made(http.post("/measurements", json=measure()))
    sandbox.world.advance(35 * 86_400 + 1)
    made(http.post("/measurements", json=measure()))
    assert failures(http) == []


def test_malformed_usage_is_400(http: httpx.Client) -> None:
    refused(http.post("/measurements", json={"measurements": []}), 400, "1 to 1000")
    refused(http.post("/measurements", json=measure(ts="2026-03-02")), 400, "ts")
    refused(http.post("/measurements", json=measure(uid="x" * 51)), 400, "uid")
    refused(http.post("/measurements", json=measure(account="")), 400, "account")


# Bills


@pytest.fixture
def billed(sandbox: Sandbox, http: httpx.Client) -> dict[str, Any]:
    """The bill of March of the customer with fractional amounts."""
    attach(http, account(http, "cust-fractions"))
    report = month.use_and_bill(sandbox.world)
    assert (report.bills, report.approved) == (1, 1)
    return dict(exact(http.get("/bills", params={"includeBillTotal": "true"}))["data"][0])


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


# Rating, by hand

BANDS = [
    {"lowerLimit": 0, "fixedPrice": 0, "unitPrice": Decimal("0.10")},
    {"lowerLimit": 100, "fixedPrice": 5, "unitPrice": Decimal("0.05")},
]


@pytest.mark.parametrize(
    ("units", "cumulative", "amount"),
    [
        pytest.param("100", True, "10", id="first-band-full"),
        pytest.param("120", True, "16", id="tiered-10-plus-5-plus-1"),
        pytest.param("120", False, "11", id="volume-120-at-second-rate-plus-fixed"),
        pytest.param("0", True, "0", id="nothing"),
    ],
)
def test_bands(units: str, cumulative: bool, amount: str) -> None:
    assert price(Decimal(units), BANDS, cumulative=cumulative)[0] == Decimal(amount)


@pytest.mark.parametrize(
    ("last", "frequency", "every", "epoch", "start", "end"),
    [
        pytest.param("2026-03-31", "MONTHLY", 1, "2022-01-01", "2026-03-01", "2026-04-01", id="calendar-month"),
        pytest.param("2026-04-08", "MONTHLY", 1, "2025-11-10", "2026-02-10", "2026-03-10", id="anniversary-not-yet"),
        pytest.param("2026-04-09", "MONTHLY", 1, "2025-11-10", "2026-03-10", "2026-04-10", id="anniversary-complete"),
        pytest.param("2026-02-27", "MONTHLY", 1, "2025-12-31", "2026-01-31", "2026-02-28", id="short-month"),
        pytest.param("2026-03-31", "MONTHLY", 3, "2022-01-01", "2026-01-01", "2026-04-01", id="quarter"),
        pytest.param("2026-01-12", "WEEKLY", 1, "2022-01-04", "2026-01-06", "2026-01-13", id="week"),
    ],
)
def test_cycle(last: str, frequency: str, every: int, epoch: str, start: str, end: str) -> None:
    found = period_until(date.fromisoformat(last), frequency, every, date.fromisoformat(epoch))
    assert [day.isoformat() for day in found[:2]] == [start, end]
