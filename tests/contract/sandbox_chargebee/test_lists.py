"""The imitated Chargebee's rules for lists and events: pages, filters, lag; each test is one rule over HTTP."""

from __future__ import annotations

import json

import httpx
import pytest

from meterbridge.sandbox import Sandbox
from tests.contract.sandbox_chargebee.conftest import every, refused, rows


def test_deleted_subscription_is_404_by_id_and_listed_only_on_request(http: httpx.Client) -> None:
    refused(http.get("/subscriptions/cust-deleted-sub"), 404, "resource_not_found")
    params = {"customer_id[is]": "cust-deleted"}
    assert rows(http.get("/subscriptions", params=params), "subscription") == []
    found = rows(http.get("/subscriptions", params=params | {"include_deleted": "true"}), "subscription")
    assert [row["deleted"] for row in found] == [True]


def test_pages_by_opaque_offset_show_each_row_once(http: httpx.Client) -> None:
    whole = every(http, "/subscriptions", "subscription", limit=100, include_deleted="true")
    pages = every(http, "/subscriptions", "subscription", limit=7, include_deleted="true")
    ascending = every(
        http, "/subscriptions", "subscription", **{"limit": 7, "include_deleted": "true", "sort_by[asc]": "updated_at"}
    )
    ids = [row["id"] for row in whole]
    assert len(ids) == len(set(ids)) == 35
    assert [row["id"] for row in pages] == ids
    assert {row["id"] for row in ascending} == set(ids)
    stamps = [row.get("updated_at", -1) for row in ascending]
    assert stamps == sorted(stamps)
    first = http.get("/subscriptions", params={"limit": 7, "sort_by[asc]": "updated_at"})
    assert [part.isdigit() for part in json.loads(first.json()["next_offset"])] == [True, True]


def test_filter_on_updated_at_drops_rows_that_have_none(http: httpx.Client) -> None:
    window = {"updated_at[between]": "[1,1999999999]", "sort_by[asc]": "updated_at", "limit": "100"}
    found = {row["id"] for row in rows(http.get("/customers", params=window), "customer")}
    assert "cust-before-2016" not in found
    assert "cust-larkspur" in found


def test_between_includes_both_ends_and_refuses_equal_ends(http: httpx.Client) -> None:
    at = http.get("/customers/cust-fennel").json()["customer"]["updated_at"]
    found = rows(http.get("/customers", params={"updated_at[between]": f"[{at - 1},{at}]"}), "customer")
    assert "cust-fennel" in {row["id"] for row in found}
    found = rows(http.get("/customers", params={"updated_at[between]": f"[{at},{at + 1}]"}), "customer")
    assert "cust-fennel" in {row["id"] for row in found}
    refused(http.get("/customers", params={"updated_at[between]": f"[{at},{at}]"}), 400, "param_wrong_value")


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        pytest.param({"id[in]": '["cust-fennel","cust-tansy"]'}, {"cust-fennel", "cust-tansy"}, id="in"),
        pytest.param({"id[in]": "['cust-fennel']"}, {"cust-fennel"}, id="in-with-the-quotes-of-the-sdk"),
        pytest.param({"id[starts_with]": "cust-fe"}, {"cust-fennel"}, id="prefix"),
        pytest.param({"email[is_present]": "false"}, {"cust-no-email"}, id="absent"),
    ],
)
def test_operators(http: httpx.Client, params: dict[str, str], ids: set[str]) -> None:
    assert {row["id"] for row in rows(http.get("/customers", params=params), "customer")} == ids


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"limit": "101"}, id="limit-above-100"),
        pytest.param({"offset": "17"}, id="foreign-offset"),
        pytest.param({"sort_by[asc]": "email"}, id="unsortable"),
        pytest.param({"id[in]": '[["a"]]'}, id="array-twice"),
        pytest.param({"id[in]": "a,b"}, id="no-brackets"),
    ],
)
def test_wrong_list_parameters_are_400(http: httpx.Client, params: dict[str, str]) -> None:
    refused(http.get("/customers", params=params), 400, "param_wrong_value")


def test_lagging_lists_show_the_past_while_get_is_current(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.switches.list_lag_seconds = 60
    assert http.post("/customers", data={"id": "fresh"}).status_code == 200
    assert http.get("/customers/fresh").status_code == 200
    assert rows(http.get("/customers", params={"id[is]": "fresh"}), "customer") == []
    sandbox.world.advance(61)
    assert len(rows(http.get("/customers", params={"id[is]": "fresh"}), "customer")) == 1


def test_events_hold_snapshots(http: httpx.Client) -> None:
    http.post("/customers/cust-larkspur", data={"company": "One"})
    http.post("/customers/cust-larkspur", data={"company": "Two"})
    found = rows(http.get("/events", params={"event_type[is]": "customer_changed", "limit": 2}), "event")
    assert [event["content"]["customer"]["company"] for event in found] == ["Two", "One"]
    assert http.get(f"/events/{found[1]['id']}").json()["event"] == found[1]
