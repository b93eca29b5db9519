"""Each write of ours on Chargebee, byte by byte."""

from urllib.parse import parse_qsl

import pytest

from connectors.chargebee import requests
from connectors.transport import Request
from meterbridge.errors import BrokenInvariant


def pairs(request: Request) -> list[tuple[str, str]]:
    assert request.method == "POST"
    assert request.content_type == "application/x-www-form-urlencoded"
    assert request.body is not None
    return parse_qsl(request.body, keep_blank_values=True)


def test_a_charge_names_both_dates_and_its_subscription() -> None:
    request = requests.add_charge(
        "draft_inv_7",
        amount=12345,
        description="API calls Jan 2026 [m-7]",
        date_from=1767225600,
        date_to=1769903999,
        subscription_id="sub 1",
        comment=None,
    )
    assert request.path == "/invoices/draft_inv_7/add_charge"
    assert pairs(request) == [
        ("amount", "12345"),
        ("description", "API calls Jan 2026 [m-7]"),
        ("line_item[date_from]", "1767225600"),
        ("line_item[date_to]", "1769903999"),
        ("subscription_id", "sub 1"),
    ]


def test_a_charge_item_goes_out_once_at_our_price() -> None:
    request = requests.add_charge_item(
        "d/1", item_price_id="api-EUR", unit_price=99, date_from=1, date_to=2, subscription_id=None, comment="c"
    )
    assert request.path == "/invoices/d%2F1/add_charge_item"
    assert pairs(request) == [
        ("item_price[item_price_id]", "api-EUR"),
        ("item_price[quantity]", "1"),
        ("item_price[unit_price]", "99"),
        ("item_price[date_from]", "1"),
        ("item_price[date_to]", "2"),
        ("comment", "c"),
    ]


def test_lines_are_deleted_by_id() -> None:
    request = requests.delete_line_items("d1", ["li_1", "li_2"])
    assert request.path == "/invoices/d1/delete_line_items"
    assert pairs(request) == [("line_items[id][0]", "li_1"), ("line_items[id][1]", "li_2")]


def test_a_new_invoice_takes_all_lines_in_one_call() -> None:
    request = requests.create_for_charge_items_and_charges(
        subscription_id="s1",
        currency_code="JPY",
        charges=[{"amount": 7, "description": "a", "date_from": 1, "date_to": 2}],
        item_prices=[{"item_price_id": "p", "unit_price": 8, "date_from": 3, "date_to": 4}],
        create_pending_invoice=True,
    )
    assert request.path == "/invoices/create_for_charge_items_and_charges"
    assert pairs(request) == [
        ("subscription_id", "s1"),
        ("currency_code", "JPY"),
        ("item_prices[item_price_id][0]", "p"),
        ("item_prices[unit_price][0]", "8"),
        ("item_prices[date_from][0]", "3"),
        ("item_prices[date_to][0]", "4"),
        ("charges[amount][0]", "7"),
        ("charges[description][0]", "a"),
        ("charges[date_from][0]", "1"),
        ("charges[date_to][0]", "2"),
        ("create_pending_invoice", "true"),
    ]


def test_unbilled_charges_credit_notes_credits_and_closing_have_their_own_addresses() -> None:
    unbilled = requests.create_unbilled_charges(
        subscription_id="s1", charges=[{"amount": 7, "description": "a", "date_from": 1, "date_to": 2}]
    )
    assert (unbilled.path, pairs(unbilled)[0]) == ("/unbilled_charges", ("subscription_id", "s1"))
    note = requests.create_credit_note(reference_invoice_id="42", type_="adjustment", total=10, comment="r")
    assert (note.path, pairs(note)) == (
        "/credit_notes",
        [("reference_invoice_id", "42"), ("type", "adjustment"), ("total", "10"), ("comment", "r")],
    )
    credit = requests.add_promotional_credit(
        customer_id="c", amount=5, currency_code="EUR", description="d", reference="ref"
    )
    assert credit.path == "/promotional_credits/add"
    assert ("reference", "ref") in pairs(credit)


@pytest.mark.parametrize("amount", [0, -1])
def test_amounts_below_one_are_our_bug_not_a_request(amount: int) -> None:
    with pytest.raises(BrokenInvariant):
        requests.add_charge("d1", amount=amount, description="x", date_from=1, date_to=2)
    with pytest.raises(BrokenInvariant):
        requests.add_charge_item("d1", item_price_id="p", unit_price=amount, date_from=1, date_to=2)


def test_deleting_no_lines_is_our_bug() -> None:
    with pytest.raises(BrokenInvariant):
        requests.delete_line_items("d1", [])


def test_a_credit_note_has_a_total_or_lines_and_an_invoice_one_owner() -> None:
    with pytest.raises(BrokenInvariant):
        requests.create_credit_note(reference_invoice_id="42", type_="adjustment")
    with pytest.raises(BrokenInvariant):
        requests.create_for_charge_items_and_charges(currency_code="EUR", create_pending_invoice=False)
