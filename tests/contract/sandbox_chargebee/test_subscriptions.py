"""The imitated Chargebee's rules for subscriptions: terms, renewals, changes; each test is one rule over HTTP."""

from __future__ import annotations

import httpx

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.clock import epoch
from tests.contract.sandbox_chargebee.conftest import APRIL, MAY, draft_of, in_april, refused, rows


def test_renewal_leaves_a_draft_dated_at_the_end_of_the_term(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    draft = draft_of(http, "cust-larkspur")
    assert draft["id"].startswith("draft_inv_")
    assert draft["subscription_id"] == "cust-larkspur-sub"
    assert "generated_at" not in draft
    assert [(line["entity_id"], line["date_from"], line["date_to"]) for line in draft["line_items"]] == [
        ("api-pro-EUR-Monthly", APRIL, MAY)
    ]
    subscription = http.get("/subscriptions/cust-larkspur-sub").json()["subscription"]
    assert (subscription["current_term_start"], subscription["next_billing_at"]) == (APRIL, MAY)
    assert draft_of(http, "cust-tenth", epoch(2026, 4, 10))["date"] == epoch(2026, 4, 10)


def test_consolidated_customer_gets_one_draft_that_names_no_subscription(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    found = rows(
        http.get("/invoices", params={"customer_id[is]": "cust-consolidated", "status[is]": "pending"}), "invoice"
    )
    assert len(found) == 1
    assert "subscription_id" not in found[0]
    assert {line["subscription_id"] for line in found[0]["line_items"]} == {
        "cust-consolidated-sub",
        "cust-consolidated-support",
    }


def test_non_renewing_ends_at_its_term_with_a_final_draft(sandbox: Sandbox, http: httpx.Client) -> None:
    before = http.get("/subscriptions/cust-leaving-sub").json()["subscription"]
    assert (before["status"], before["cancelled_at"]) == ("non_renewing", APRIL)
    in_april(sandbox)
    after = http.get("/subscriptions/cust-leaving-sub").json()["subscription"]
    assert (after["status"], after["cancelled_at"]) == ("cancelled", APRIL)
    assert draft_of(http, "cust-leaving")["line_items"] == []


def test_future_subscription_starts_on_its_day(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.advance_to(MAY + 60)
    row = http.get("/subscriptions/cust-future-sub").json()["subscription"]
    assert (row["status"], row["started_at"], row["activated_at"]) == ("active", MAY, MAY)
    assert "start_date" not in row


def test_scheduled_change_shows_only_after_the_term(sandbox: Sandbox, http: httpx.Client) -> None:
    wanted = {"subscription_items[item_price_id][0]": "support-EUR-Monthly", "end_of_term": "true"}
    path = "/subscriptions/cust-larkspur-sub"
    row = http.post(f"{path}/update_for_items", data=wanted | {"replace_items_list": "true"}).json()["subscription"]
    assert row["has_scheduled_changes"] is True
    assert "changes_scheduled_at" not in row
    assert row["subscription_items"][0]["item_price_id"] == "api-pro-EUR-Monthly"
    future = http.get(f"{path}/retrieve_with_scheduled_changes").json()["subscription"]
    assert future["subscription_items"][0]["item_price_id"] == "support-EUR-Monthly"
    in_april(sandbox)
    row = http.get(path).json()["subscription"]
    assert row["has_scheduled_changes"] is False
    assert row["subscription_items"][0]["item_price_id"] == "support-EUR-Monthly"


def test_immediate_change_wipes_the_scheduled_one(http: httpx.Client) -> None:
    path = "/subscriptions/cust-larkspur-sub"
    later = {"subscription_items[item_price_id][0]": "support-EUR-Monthly", "change_option": "end_of_term"}
    http.post(f"{path}/update_for_items", data=later)
    now = {"subscription_items[item_price_id][0]": "storage-EUR-Monthly"}
    row = http.post(f"{path}/update_for_items", data=now).json()["subscription"]
    assert row["has_scheduled_changes"] is False
    assert [item["item_price_id"] for item in row["subscription_items"]] == [
        "api-pro-EUR-Monthly",
        "storage-EUR-Monthly",
    ]


def test_cancelled_subscription_refuses_changes_and_can_be_reactivated(http: httpx.Client) -> None:
    path = "/subscriptions/cust-larkspur-sub"
    cancelled = http.post(f"{path}/cancel_for_items").json()["subscription"]
    assert cancelled["status"] == "cancelled"
    item = {"subscription_items[item_price_id][0]": "storage-EUR-Monthly"}
    refused(http.post(f"{path}/update_for_items", data=item), 409, "invalid_state_for_request")
    again = http.post(f"{path}/reactivate").json()["subscription"]
    assert again["status"] == "active"
    assert again["activated_at"] >= cancelled["cancelled_at"]


def test_items_of_two_currencies_are_refused(http: httpx.Client) -> None:
    item = {"subscription_items[item_price_id][0]": "storage-USD-Monthly"}
    body = refused(http.post("/subscriptions/cust-larkspur-sub/update_for_items", data=item), 400, "invalid_request")
    assert body["error_code"] == "currency_mismatched"
