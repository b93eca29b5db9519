"""Typing vendors' records: what must be there, what may be more, what must be exact."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.chargebee.models import Invoice, Subscription
from connectors.m3ter.models import AccountPlan, Bill
from connectors.records import read_record
from meterbridge.errors import RecordRefused

LINE = {
    "id": "li_1",
    "entity_type": "adhoc",
    "description": "x",
    "date_from": 1,
    "date_to": 2,
    "unit_amount": 5,
    "amount": 5,
    "subscription_id": "s1",
}
INVOICE = {
    "id": "draft_inv_1",
    "object": "invoice",
    "status": "pending",
    "customer_id": "c1",
    "currency_code": "EUR",
    "price_type": "tax_exclusive",
    "date": 10,
    "total": 5,
    "sub_total": 5,
    "line_items": [LINE],
}
BILL_LINE = {
    "lineItemType": "USAGE",
    "description": "API calls",
    "quantity": "45316",
    "units": "45.316",
    "unit": "1k",
    "averageUnitPrice": "1.0",
    "subtotal": "45.316",
    "currency": "USD",
    "conversionRate": "0.91",
    "convertedSubtotal": "1234567890123.123456789",
    "segment": {"region": "eu"},
    "servicePeriodEndDate": "2026-04-01T00:00:00Z",
}
BILL = {
    "id": "b1",
    "version": 3,
    "accountId": "a1",
    "currency": "EUR",
    "status": "APPROVED",
    "billDate": "2026-04-01",
    "endDateTimeUTC": "2026-04-01T00:00:00Z",
    "billTotal": 41,
    "lineItems": [BILL_LINE],
}


def test_an_invoice_is_typed_with_its_lines_and_unknown_attributes_passed_over() -> None:
    invoice = read_record(Invoice, {**INVOICE, "cf_new": 1}, resource="invoice")
    assert (invoice.id, invoice.subscription_id, invoice.line_items[0].quantity) == ("draft_inv_1", None, 1)
    assert invoice.line_items[0].entity_id is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(
            {key: value for key, value in INVOICE.items() if key != "status"},
            "invoice draft_inv_1: status is missing",
            id="missing",
        ),
        pytest.param(
            {**INVOICE, "line_items": [{**LINE, "amount": 5.5}]},
            "invoice draft_inv_1: line_items.0.amount has a wrong form (int_type)",
            id="an-amount-with-a-fraction",
        ),
        pytest.param(
            {**INVOICE, "line_items": [{**LINE, "amount": "5"}]},
            "invoice draft_inv_1: line_items.0.amount has a wrong form (int_type)",
            id="an-amount-as-text",
        ),
    ],
)
def test_a_gap_is_reported_with_resource_id_and_field(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordRefused) as caught:
        read_record(Invoice, raw, resource="invoice")
    assert (caught.value.code, caught.value.message, caught.value.key) == ("MB-RECORD", message, "draft_inv_1")


def test_no_value_of_the_record_reaches_the_error() -> None:
    with pytest.raises(RecordRefused) as caught:
        read_record(Invoice, {**INVOICE, "total": "ada@acme.example"}, resource="invoice")
    assert "ada" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_record_without_an_id_is_named_by_the_id_asked_for() -> None:
    with pytest.raises(RecordRefused, match="subscription s9: id is missing") as caught:
        read_record(
            Subscription,
            {"customer_id": "c", "currency_code": "EUR", "status": "active"},
            resource="subscription",
            record_id="s9",
        )
    assert caught.value.key == "s9"


def test_bill_money_keeps_every_digit() -> None:
    bill = read_record(Bill, BILL, resource="bill")
    assert bill.line_items is not None
    assert bill.line_items[0].converted_subtotal == Decimal("1234567890123.123456789")
    assert bill.bill_total == Decimal(41)
    assert bill.end_date_time_utc == datetime(2026, 4, 1, tzinfo=UTC)
    assert bill.line_items[0].service_period_end_date == datetime(2026, 4, 1, tzinfo=UTC)


def test_bill_money_that_went_through_a_float_is_refused() -> None:
    with pytest.raises(RecordRefused, match=r"lineItems\.0\.convertedSubtotal"):
        read_record(Bill, {**BILL, "lineItems": [{**BILL_LINE, "convertedSubtotal": 41.237}]}, resource="bill")


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(RecordRefused, match="startDate"):
        read_record(
            AccountPlan,
            {"id": "p", "version": 1, "accountId": "a", "startDate": "2026-01-01T00:00:00"},
            resource="account plan",
        )
