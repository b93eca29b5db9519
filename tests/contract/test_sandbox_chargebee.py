"""The imitated Chargebee keeps the vendor's rules: each test is one rule over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from meterbridge.sandbox import CHARGEBEE_API_KEY, CHARGEBEE_READONLY_KEY, Sandbox, scenarios
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.snapshot import comparable

APRIL = epoch(2026, 4, 1)
MAY = epoch(2026, 5, 1)
MARCH = epoch(2026, 3, 1)
CHARGE = {
    "amount": "12345",
    "description": "API calls March [ref:1]",
    "line_item[date_from]": str(MARCH),
    "line_item[date_to]": str(APRIL - 1),
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scenarios.build("demo")) as running:
        yield running


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.chargebee_url, auth=(CHARGEBEE_API_KEY, "")) as client:
        yield client


def rows(answer: httpx.Response, name: str) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [each[name] for each in answer.json()["list"]]


def every(http: httpx.Client, path: str, name: str, **params: Any) -> list[dict[str, Any]]:
    found, offset = [], None
    while True:
        answer = http.get(path, params=params | ({"offset": offset} if offset else {}))
        found += rows(answer, name)
        offset = answer.json().get("next_offset")
        if offset is None:
            return found


def draft_of(http: httpx.Client, customer: str, date: int = APRIL) -> dict[str, Any]:
    found = rows(http.get("/invoices", params={"customer_id[is]": customer, "status[is]": "pending"}), "invoice")
    return next(invoice for invoice in found if invoice["date"] == date)


def in_april(sandbox: Sandbox) -> None:
    sandbox.world.advance_to(epoch(2026, 4, 12))


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["api_error_code"] == code
    assert body["http_status_code"] == status
    assert body["error_msg"] == body["message"]
    return body


# Keys, verbs, encoding


def test_wrong_key_is_401_and_read_only_key_may_not_write(sandbox: Sandbox, http: httpx.Client) -> None:
    refused(http.get("/customers", auth=("nonsense", "")), 401, "api_authentication_failed")
    refused(http.get("/customers", auth=(CHARGEBEE_API_KEY, "password")), 401, "api_authentication_failed")
    assert http.get("/customers", auth=(CHARGEBEE_READONLY_KEY, "")).status_code == 200
    answer = http.post("/customers", data={"id": "x"}, auth=(CHARGEBEE_READONLY_KEY, ""))
    refused(answer, 403, "api_authorization_failed")


def test_wrong_verb_is_405_and_json_body_is_refused(http: httpx.Client) -> None:
    refused(http.put("/customers/cust-larkspur"), 405, "http_method_not_supported")
    refused(http.post("/customers", json={"id": "x"}), 400, "invalid_request")


def test_unknown_parameter_is_refused_by_name_unless_lenient(sandbox: Sandbox, http: httpx.Client) -> None:
    body = refused(http.post("/customers", data={"id": "x", "frist_name": "Ada"}), 400, "param_wrong_value")
    assert body["param"] == "frist_name"
    assert refused(http.get("/customers", params={"status": "active"}), 400, "param_wrong_value")["param"] == "status"
    sandbox.world.switches.lenient = True
    assert http.post("/customers", data={"id": "x", "frist_name": "Ada"}).status_code == 200
    everything = rows(http.get("/subscriptions", params={"limit": 100}), "subscription")
    bare_filter = rows(http.get("/subscriptions", params={"limit": 100, "status": "active"}), "subscription")
    assert len(bare_filter) == len(everything) > 20


def test_index_of_an_array_comes_last(http: httpx.Client) -> None:
    item = {"subscription_items[item_price_id][0]": "api-pro-EUR-Monthly"}
    made = http.post("/customers/cust-larkspur/subscription_for_items", data=item | {"id": "second"})
    assert made.json()["subscription"]["subscription_items"][0]["item_price_id"] == "api-pro-EUR-Monthly"
    wrong = {"subscription_items[0][item_price_id]": "api-pro-EUR-Monthly"}
    answer = http.post("/customers/cust-larkspur/subscription_for_items", data=wrong)
    assert refused(answer, 400, "param_wrong_value")["param"] == "subscription_items[0][item_price_id]"


def test_ids_with_spaces_slashes_and_other_letters_are_found_by_encoded_path(http: httpx.Client) -> None:
    answer = http.get("/subscriptions/Abo%20St%C3%A4dte%207%2F%C3%9F")
    assert answer.json()["subscription"]["customer_id"] == "Ünïcode Städte 7"


# Resources


def test_resources_carry_object_and_omit_what_is_absent(http: httpx.Client) -> None:
    entry = http.get("/subscriptions/cust-larkspur-sub").json()
    assert entry["subscription"]["object"] == "subscription"
    assert entry["customer"]["object"] == "customer"
    assert "cancelled_at" not in entry["subscription"]
    assert "null" not in http.get("/subscriptions", params={"limit": 100}).text


def test_resource_version_rises_with_each_change_even_within_one_millisecond(
    sandbox: Sandbox, http: httpx.Client
) -> None:
    with sandbox.world.lock, sandbox.world.clock.held(APRIL * 1000):
        state = sandbox.world.chargebee
        row = state.customers.get("cust-larkspur")
        assert row is not None
        first = state.save(state.customers, row)
        second = state.save(state.customers, first)
    assert second["resource_version"] == first["resource_version"] + 1 == APRIL * 1000 + 1
    assert second["updated_at"] == APRIL


def test_second_customer_with_an_id_is_a_duplicate(http: httpx.Client) -> None:
    refused(http.post("/customers", data={"id": "cust-larkspur"}), 400, "duplicate_entry")


def test_deleted_subscription_is_404_by_id_and_listed_only_on_request(http: httpx.Client) -> None:
    refused(http.get("/subscriptions/cust-deleted-sub"), 404, "resource_not_found")
    params = {"customer_id[is]": "cust-deleted"}
    assert rows(http.get("/subscriptions", params=params), "subscription") == []
    found = rows(http.get("/subscriptions", params=params | {"include_deleted": "true"}), "subscription")
    assert [row["deleted"] for row in found] == [True]


# Lists


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


# Terms


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


# Lines of drafts


def test_add_charge_makes_one_adhoc_line_and_new_totals(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    draft = draft_of(http, "cust-larkspur")
    after = http.post(f"/invoices/{draft['id']}/add_charge", data=CHARGE).json()["invoice"]
    line = after["line_items"][-1]
    assert (line["entity_type"], line["amount"], line["quantity"]) == ("adhoc", 12345, 1)
    assert (line["date_from"], line["date_to"], line["description"]) == (MARCH, APRIL - 1, CHARGE["description"])
    assert line["subscription_id"] == "cust-larkspur-sub"
    assert after["total"] == after["sub_total"] == after["amount_due"] == 4900 + 12345
    assert after["resource_version"] > draft["resource_version"]
    assert http.get(f"/invoices/{draft['id']}").json()["invoice"] == after


@pytest.mark.parametrize(
    ("change", "param"),
    [
        pytest.param({"amount": "0"}, "amount", id="zero"),
        pytest.param({"amount": "12.5"}, "amount", id="fraction"),
        pytest.param({"amount": ""}, "amount", id="no-amount"),
        pytest.param({"description": ""}, "description", id="no-description"),
        pytest.param({"description": "x" * 251}, "description", id="long-description"),
        pytest.param({"line_item[date_to]": ""}, "line_item[date_to]", id="one-date-only"),
        pytest.param({"comment": "x" * 301}, "comment", id="long-comment"),
    ],
)
def test_add_charge_refuses(sandbox: Sandbox, http: httpx.Client, change: dict[str, str], param: str) -> None:
    in_april(sandbox)
    draft = draft_of(http, "cust-larkspur")
    answer = http.post(f"/invoices/{draft['id']}/add_charge", data=CHARGE | change)
    assert refused(answer, 400, "param_wrong_value")["param"] == param
    assert http.get(f"/invoices/{draft['id']}").json()["invoice"] == draft


def test_add_charge_to_unknown_or_closed_invoice(sandbox: Sandbox, http: httpx.Client) -> None:
    refused(http.post("/invoices/draft_inv_none/add_charge", data=CHARGE), 404, "resource_not_found")
    refused(http.post("/invoices/1001/add_charge", data=CHARGE), 409, "invalid_state_for_request")
    sandbox.world.switches.closed_invoice_write_status = 400
    refused(http.post("/invoices/1001/add_charge", data=CHARGE), 400, "invalid_request")


def test_add_charge_item_takes_price_dates_and_checks_kind_and_currency(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    path = f"/invoices/{draft_of(http, 'cust-larkspur')['id']}/add_charge_item"
    wanted = {"item_price[item_price_id]": "api-usage-EUR", "item_price[unit_price]": "3067"}
    wanted |= {"item_price[date_from]": str(MARCH), "item_price[date_to]": str(APRIL - 1)}
    line = http.post(path, data=wanted).json()["invoice"]["line_items"][-1]
    assert (line["entity_type"], line["entity_id"], line["amount"]) == ("charge_item_price", "api-usage-EUR", 3067)
    sandbox.world.switches.price_override = False
    assert http.post(path, data=wanted).json()["invoice"]["line_items"][-1]["amount"] == 1
    plan = wanted | {"item_price[item_price_id]": "api-pro-EUR-Monthly"}
    refused(http.post(path, data=plan), 400, "param_wrong_value")
    dollars = wanted | {"item_price[item_price_id]": "api-usage-USD"}
    assert refused(http.post(path, data=dollars), 400, "invalid_request")["error_code"] == "currency_mismatched"


def test_delete_line_items_takes_away_only_the_named_line(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    path = f"/invoices/{draft_of(http, 'cust-larkspur')['id']}"
    line = http.post(f"{path}/add_charge", data=CHARGE).json()["invoice"]["line_items"][-1]
    refused(http.post(f"{path}/delete_line_items", data={"line_items[id][0]": "li_none"}), 404, "resource_not_found")
    after = http.post(f"{path}/delete_line_items", data={"line_items[id][0]": line["id"]}).json()["invoice"]
    assert after["total"] == 4900
    assert len(after["line_items"]) == 1


def test_line_of_a_consolidated_draft_belongs_to_the_named_subscription(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    path = f"/invoices/{draft_of(http, 'cust-consolidated')['id']}/add_charge"
    line = http.post(path, data=CHARGE | {"subscription_id": "cust-consolidated-support"}).json()
    assert line["invoice"]["line_items"][-1]["subscription_id"] == "cust-consolidated-support"
    foreign = http.post(path, data=CHARGE | {"subscription_id": "cust-larkspur-sub"})
    refused(foreign, 409, "invalid_state_for_request")
    refused(http.post(path, data=CHARGE | {"subscription_id": "none"}), 404, "resource_not_found")


def test_line_of_an_invoice_of_one_subscription_takes_no_other(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    path = f"/invoices/{draft_of(http, 'cust-larkspur')['id']}/add_charge"
    other = http.post(path, data=CHARGE | {"subscription_id": "cust-fennel-sub"})
    assert refused(other, 400, "param_wrong_value")["param"] == "subscription_id"
    assert http.post(path, data=CHARGE | {"subscription_id": "cust-larkspur-sub"}).status_code == 200


# Closing


def test_closing_gives_a_new_id_and_the_draft_is_gone_everywhere(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    draft = draft_of(http, "cust-larkspur")
    http.post(f"/invoices/{draft['id']}/add_charge", data=CHARGE | {"comment": "load 1"})
    final = http.post(f"/invoices/{draft['id']}/close").json()["invoice"]
    assert final["id"].isdigit()
    assert final["status"] == "payment_due"
    assert final["date"] == draft["date"]
    assert "generated_at" in final
    assert final["line_items"][0]["id"] == draft["line_items"][0]["id"]
    refused(http.get(f"/invoices/{draft['id']}"), 404, "resource_not_found")
    listed = every(http, "/invoices", "invoice", limit=100, include_deleted="true")
    assert draft["id"] not in {row["id"] for row in listed}
    comments = rows(http.get("/comments", params={"entity_type": "invoice", "entity_id": final["id"]}), "comment")
    assert [row["notes"] for row in comments] == ["load 1"]
    events = rows(http.get("/events", params={"event_type[is]": "invoice_generated", "limit": 1}), "event")
    assert events[0]["content"]["invoice"]["id"] == final["id"]


def test_closing_may_renew_line_ids_and_move_the_date(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    sandbox.world.switches.update({"draft_line_ids_on_close": "renew", "invoice_date_on_close": "closing"})
    draft = draft_of(http, "cust-larkspur")
    final = http.post(f"/invoices/{draft['id']}/close").json()["invoice"]
    assert final["line_items"][0]["id"] != draft["line_items"][0]["id"]
    assert final["date"] >= epoch(2026, 4, 12)


def test_draft_without_lines_cannot_be_closed_but_deleted(http: httpx.Client) -> None:
    draft = draft_of(http, "cust-left-in-march", epoch(2026, 3, 9))
    refused(http.post(f"/invoices/{draft['id']}/close"), 400, "invalid_request")
    assert http.post(f"/invoices/{draft['id']}/delete").json()["invoice"]["deleted"] is True
    refused(http.get(f"/invoices/{draft['id']}"), 404, "resource_not_found")


def test_drafts_close_by_themselves_when_the_site_says_so(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.switches.auto_close_seconds = 3600
    sandbox.world.advance_to(APRIL + 3599)
    assert draft_of(http, "cust-larkspur")["status"] == "pending"
    sandbox.world.advance(1)
    params = {"customer_id[is]": "cust-larkspur", "date[between]": f"[{APRIL},{APRIL + 1}]"}
    final = rows(http.get("/invoices", params=params), "invoice")[0]
    assert (final["status"], final["generated_at"]) == ("payment_due", APRIL + 3600)


def test_void_needs_an_unpaid_closed_invoice(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    draft = draft_of(http, "cust-larkspur")
    refused(http.post(f"/invoices/{draft['id']}/void"), 409, "invalid_state_for_request")
    refused(http.post("/invoices/1001/void"), 409, "invalid_state_for_request")
    final = http.post(f"/invoices/{draft['id']}/close").json()["invoice"]
    assert http.post(f"/invoices/{final['id']}/void").json()["invoice"]["status"] == "voided"


# Money beside the draft


def test_invoice_of_charges_is_pending_when_asked(http: httpx.Client) -> None:
    path = "/invoices/create_for_charge_items_and_charges"
    charge = {"charges[amount][0]": "500", "charges[description][0]": "API", "create_pending_invoice": "true"}
    made = http.post(path, data=charge | {"subscription_id": "cust-larkspur-sub"}).json()["invoice"]
    assert made["id"].startswith("draft_inv_")
    assert (made["total"], made["subscription_id"]) == (500, "cust-larkspur-sub")
    refused(http.post(path, data=charge), 400, "invalid_request")
    both = charge | {"subscription_id": "cust-larkspur-sub", "customer_id": "cust-larkspur"}
    refused(http.post(path, data=both), 400, "invalid_request")
    refused(http.post(path, data={"customer_id": "cust-larkspur"}), 400, "invalid_request")
    dollars = charge | {"subscription_id": "cust-larkspur-sub", "currency_code": "USD"}
    refused(http.post(path, data=dollars), 400, "invalid_request")


def test_unbilled_charge_goes_on_the_next_renewal(sandbox: Sandbox, http: httpx.Client) -> None:
    charge = {"charges[amount][0]": "700", "charges[description][0]": "late", "subscription_id": "cust-larkspur-sub"}
    assert http.post("/unbilled_charges", data=charge).json()["unbilled_charges"][0]["amount"] == 700
    in_april(sandbox)
    assert draft_of(http, "cust-larkspur")["total"] == 4900 + 700
    left = rows(http.get("/unbilled_charges", params={"subscription_id[is]": "cust-larkspur-sub"}), "unbilled_charge")
    assert left == []


def test_credit_note_is_bounded_by_what_is_due(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    final = http.post(f"/invoices/{draft_of(http, 'cust-larkspur')['id']}/close").json()["invoice"]
    wanted = {"reference_invoice_id": final["id"], "type": "adjustment", "reason_code": "other"}
    refused(http.post("/credit_notes", data=wanted | {"total": "4901"}), 400, "param_wrong_value")
    note = http.post("/credit_notes", data=wanted | {"total": "900"}).json()["credit_note"]
    assert (note["total"], note["status"]) == (900, "adjusted")
    assert http.get(f"/invoices/{final['id']}").json()["invoice"]["amount_due"] == 4000


def test_promotional_credit_adds_to_the_customer(http: httpx.Client) -> None:
    wanted = {"customer_id": "cust-larkspur", "amount": "250", "description": "netted", "currency_code": "EUR"}
    answer = http.post("/promotional_credits/add", data=wanted).json()
    assert answer["customer"]["promotional_credits"] == 250
    found = rows(http.get("/promotional_credits", params={"customer_id[is]": "cust-larkspur"}), "promotional_credit")
    assert found[0]["description"] == "netted"


# Keys of idempotency, limits, locks


def test_same_key_replays_the_first_answer_for_thirty_minutes(sandbox: Sandbox, http: httpx.Client) -> None:
    in_april(sandbox)
    path = f"/invoices/{draft_of(http, 'cust-larkspur')['id']}/add_charge"
    key = {"chargebee-idempotency-key": "intent-1"}
    first = http.post(path, data=CHARGE, headers=key)
    sandbox.world.advance(29 * 60)
    again = http.post(path, data=CHARGE, headers=key)
    assert again.headers["chargebee-idempotency-replayed"] == "true"
    assert again.content == first.content
    other = http.post(path, data=CHARGE | {"amount": "1"}, headers=key)
    refused(other, 422, "unable_to_process_request")
    sandbox.world.advance(61)
    late = http.post(path, data=CHARGE, headers=key)
    assert "chargebee-idempotency-replayed" not in late.headers
    assert len(late.json()["invoice"]["line_items"]) == 3


def test_errors_are_replayed_unless_switched_off(sandbox: Sandbox, http: httpx.Client) -> None:
    key = {"chargebee-idempotency-key": "intent-2"}
    for _ in range(2):
        answer = http.post("/invoices/none/add_charge", data=CHARGE, headers=key)
        refused(answer, 404, "resource_not_found")
    assert answer.headers["chargebee-idempotency-replayed"] == "true"
    sandbox.world.switches.idempotency_stores_errors = False
    key = {"chargebee-idempotency-key": "intent-3"}
    for _ in range(2):
        answer = http.post("/invoices/none/add_charge", data=CHARGE, headers=key)
    assert "chargebee-idempotency-replayed" not in answer.headers


def test_rate_limit_answers_429_until_the_minute_slides(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.switches.chargebee_per_minute = 3
    answers = [http.get("/configurations") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 0 < int(answers[3].headers["retry-after"]) <= 60
    sandbox.world.advance(60)
    assert http.get("/configurations").status_code == 200


# The world


def test_date_header_shows_the_virtual_clock(sandbox: Sandbox, http: httpx.Client) -> None:
    assert http.get("/configurations").headers["date"].startswith("Tue, 17 Mar 2026 09:00")
    httpx.post(f"{sandbox.url}/_sandbox/clock", json={"advance": 86400})
    assert http.get("/configurations").headers["date"].startswith("Wed, 18 Mar 2026 09:00")


def test_events_hold_snapshots(http: httpx.Client) -> None:
    http.post("/customers/cust-larkspur", data={"company": "One"})
    http.post("/customers/cust-larkspur", data={"company": "Two"})
    found = rows(http.get("/events", params={"event_type[is]": "customer_changed", "limit": 2}), "event")
    assert [event["content"]["customer"]["company"] for event in found] == ["Two", "One"]
    assert http.get(f"/events/{found[1]['id']}").json()["event"] == found[1]


def test_equal_seeds_make_equal_worlds() -> None:
    first, second = scenarios.build("demo"), scenarios.build("demo")
    assert comparable(first) == comparable(second)
    second.chargebee.customers.put("extra", {"id": "extra"}, 0)
    assert comparable(first) != comparable(second)
