"""The imitated Chargebee's rules for lines on pending invoices; each test is one rule over HTTP."""

from __future__ import annotations

import httpx
import pytest

from meterbridge.sandbox import Sandbox
from tests.contract.sandbox_chargebee.conftest import APRIL, CHARGE, MARCH, draft_of, in_april, refused


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
