"""The imitated Chargebee's rules for invoices: closing, voiding, credits; each test is one rule over HTTP."""

from __future__ import annotations

import httpx

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.clock import epoch
from tests.contract.sandbox_chargebee.conftest import APRIL, CHARGE, draft_of, every, in_april, refused, rows


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


def test_invoices_go_to_the_invoice_owner_and_their_lines_stay_the_customers(
    sandbox: Sandbox, http: httpx.Client
) -> None:
    http.post("/customers", data={"id": "holding", "preferred_currency_code": "EUR"})
    http.post("/customers/cust-larkspur/relationships", data={"invoice_owner_id": "holding"})
    in_april(sandbox)
    draft = draft_of(http, "holding")
    assert draft["subscription_id"] == "cust-larkspur-sub"
    assert {line["customer_id"] for line in draft["line_items"]} == {"cust-larkspur"}
    added = http.post(f"/invoices/{draft['id']}/add_charge", data=CHARGE).json()["invoice"]["line_items"][-1]
    assert (added["amount"], added["customer_id"]) == (12345, "cust-larkspur")


def test_unbilled_charge_goes_on_the_next_renewal(sandbox: Sandbox, http: httpx.Client) -> None:
    charge = {"charges[amount][0]": "700", "charges[description][0]": "late", "subscription_id": "cust-larkspur-sub"}
    assert http.post("/unbilled_charges", data=charge).json()["unbilled_charges"][0]["amount"] == 700
    in_april(sandbox)
    assert draft_of(http, "cust-larkspur")["total"] == 4900 + 700
    left = rows(http.get("/unbilled_charges", params={"subscription_id[is]": "cust-larkspur-sub"}), "unbilled_charge")
    assert left == []


def test_unbilled_charge_is_deleted_once_and_not_when_it_is_invoiced(sandbox: Sandbox, http: httpx.Client) -> None:
    charge = {"charges[amount][0]": "700", "charges[description][0]": "late", "subscription_id": "cust-larkspur-sub"}
    first, second = (http.post("/unbilled_charges", data=charge).json()["unbilled_charges"][0]["id"] for _ in range(2))
    gone = http.post(f"/unbilled_charges/{first}/delete").json()["unbilled_charge"]
    assert (gone["id"], gone["deleted"]) == (first, True)
    told = rows(http.get("/events", params={"event_type[is]": "unbilled_charges_deleted"}), "event")
    assert [event["content"]["unbilled_charge"]["id"] for event in told] == [first]
    refused(http.post(f"/unbilled_charges/{first}/delete"), 404, "resource_not_found")
    http.post("/unbilled_charges/invoice_unbilled_charges", data={"subscription_id": "cust-larkspur-sub"})
    for status, code in ((404, "resource_not_found"), (409, "invalid_state_for_request"), (400, "invalid_request")):
        sandbox.world.switches.invoiced_charge_status = status
        refused(http.post(f"/unbilled_charges/{second}/delete"), status, code)


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
