"""The imitated m3ter's rules for account plans; each test is one rule over HTTP."""

from __future__ import annotations

import httpx

from tests.contract.sandbox_m3ter.conftest import APRIL, JANUARY, MARCH, account, attach, made, refused


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
