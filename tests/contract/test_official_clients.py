"""The vendors' own clients read the sandbox as they would read the vendors, and write to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import m3ter
import pytest
from chargebee import Chargebee, InvalidRequestError

from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox import (
    CHARGEBEE_API_KEY,
    M3TER_API_KEY,
    M3TER_API_SECRET,
    M3TER_ORGANIZATION_ID,
    Sandbox,
)
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.conftest import opening

JANUARY, APRIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
MARCH = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One customer with one subscription, synced, a month used and billed."""
    with opening(tmp_path_factory.mktemp("clients")) as start:
        sandbox = start("single")
        sync_subscriptions.fn()
        use_and_bill(sandbox.world)
        yield sandbox


@pytest.fixture(scope="module")
def from_m3ter(sandbox: Sandbox) -> Iterator[m3ter.M3ter]:
    with m3ter.M3ter(
        api_key=M3TER_API_KEY,
        api_secret=M3TER_API_SECRET,
        org_id=M3TER_ORGANIZATION_ID,
        base_url=sandbox.m3ter_url,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.fixture(scope="module")
def from_chargebee(sandbox: Sandbox) -> Iterator[Chargebee]:
    """The client builds https://{site}.{domain}: a class attribute forces https, and host and port share the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chargebee, "verify_ca_certs", False)
        yield Chargebee(
            api_key=CHARGEBEE_API_KEY, site="127.0.0", chargebee_domain=f"1:{sandbox.port}", protocol="http"
        )


def test_m3ters_client_lists_and_reads_the_account(from_m3ter: m3ter.M3ter) -> None:
    [listed] = from_m3ter.accounts.list(codes=["cust-single"])
    account = from_m3ter.accounts.retrieve(listed.id)
    assert (account.code, account.name, account.currency) == ("cust-single", "Single Ltd", "EUR")
    assert (account.email_address, account.version) == ("billing@c1.example", 1)
    assert account.address is not None
    assert (account.address.locality, account.address.country) == ("Cork", "IE")


def test_m3ters_client_follows_the_account_plan_to_plan_and_product(from_m3ter: m3ter.M3ter) -> None:
    [account] = from_m3ter.accounts.list()
    [listed] = from_m3ter.account_plans.list(account=account.id)
    account_plan = from_m3ter.account_plans.retrieve(listed.id)
    assert (account_plan.account_id, account_plan.start_date, account_plan.end_date) == (account.id, JANUARY, None)
    assert account_plan.plan_id is not None
    assert account_plan.product_id is not None
    assert from_m3ter.plans.retrieve(account_plan.plan_id).code == "api-pro-eur"
    assert from_m3ter.products.retrieve(account_plan.product_id).name == "Api"
    assert account_plan.plan_id in {plan.id for plan in from_m3ter.plans.list(page_size=2)}
    assert {product.code for product in from_m3ter.products.list(page_size=3)} == {
        *("api", "storage", "messages", "support")
    }


def test_m3ters_client_reads_the_bill_and_its_lines(from_m3ter: m3ter.M3ter) -> None:
    [listed] = from_m3ter.bills.list(status="APPROVED")
    bill = from_m3ter.bills.retrieve(listed.id)
    assert (bill.account_code, bill.currency, bill.status) == ("cust-single", "EUR", "APPROVED")
    assert (str(bill.start_date), str(bill.end_date)) == ("2026-03-01", "2026-04-01")
    lines = list(from_m3ter.bills.line_items.list(listed.id))
    calls = next(line for line in lines if line.description == "api calls")
    # One euro for a thousand calls.
    assert (calls.quantity, calls.units, calls.unit, calls.converted_subtotal) == (34003, 34.003, "1k calls", 34.003)
    assert (calls.service_period_end_date, calls.line_item_type) == (APRIL, "USAGE")
    assert bill.line_items is not None
    assert len(bill.line_items) == len(lines) == 2
    assert bill.bill_total == pytest.approx(sum(line.converted_subtotal or 0 for line in lines), abs=1e-9)


def test_m3ters_client_finds_mappings_from_both_sides(from_m3ter: m3ter.M3ter) -> None:
    [account] = from_m3ter.accounts.list()
    listed = {(row.m3ter_entity, row.external_table, row.external_id) for row in from_m3ter.external_mappings.list()}
    assert listed == {
        ("Account", "Customer", "cust-single"),
        ("AccountPlan", "Subscription", "sub-single-api-pro-EUR-Monthly"),
    }
    [outside] = from_m3ter.external_mappings.list_by_external_entity(
        system="Chargebee", external_table="Customer", external_id="cust-single"
    )
    [inside] = from_m3ter.external_mappings.list_by_m3ter_entity(entity="Account", m3ter_id=account.id)
    assert outside.id == inside.id == from_m3ter.external_mappings.retrieve(outside.id).id
    assert outside.m3ter_id == account.id


def test_m3ters_client_raises_what_it_raises_for_the_vendor(from_m3ter: m3ter.M3ter) -> None:
    with pytest.raises(m3ter.NotFoundError):
        from_m3ter.accounts.retrieve("00000000-0000-4000-8000-000000000000")


def test_chargebees_client_reads_customer_subscription_and_item_price(from_chargebee: Chargebee) -> None:
    [entry] = from_chargebee.Customer.list({"id": {"is": "cust-single"}}).list
    assert (entry.customer.company, entry.customer.billing_address.city) == ("Single Ltd", "Cork")
    read = from_chargebee.Subscription.retrieve("sub-single")
    assert (read.subscription.status, read.subscription.current_term_start) == ("active", int(APRIL.timestamp()))
    assert read.customer.id == "cust-single"
    [item] = read.subscription.subscription_items
    assert (item.item_price_id, item.quantity, item.unit_price) == ("api-pro-EUR-Monthly", 1, 4900)
    price = from_chargebee.ItemPrice.retrieve(item.item_price_id).item_price
    assert (price.currency_code, price.price, price.period_unit) == ("EUR", 4900, "month")


def test_chargebees_client_pages_through_events(from_chargebee: Chargebee) -> None:
    kinds, offset = [], None
    while True:
        page = from_chargebee.Event.list({"limit": 1, "sort_by": {"asc": "occurred_at"}} | (offset or {}))
        kinds += [entry.event.event_type for entry in page.list]
        if page.next_offset is None:
            break
        offset = {"offset": page.next_offset}
    assert kinds.count("subscription_renewed") == 1
    assert "pending_invoice_created" in kinds
    [renewed] = from_chargebee.Event.list({"event_type": {"in": ["subscription_renewed"]}}).list
    assert renewed.event.content["subscription"]["id"] == "sub-single"


def test_chargebees_client_adds_a_charge_to_a_draft_once(from_chargebee: Chargebee) -> None:
    [entry] = from_chargebee.Invoice.list({"status": {"is": "pending"}, "customer_id": {"is": "cust-single"}}).list
    assert [(line.entity_type, line.amount) for line in entry.invoice.line_items] == [("plan_item_price", 4900)]
    charge = {
        "amount": 77,
        "description": "API calls",
        "subscription_id": "sub-single",
        "line_item": {"date_from": MARCH, "date_to": int(APRIL.timestamp()) - 1},
    }
    key = {"chargebee-idempotency-key": "charge-once"}
    first = from_chargebee.Invoice.add_charge(entry.invoice.id, charge, dict(key))
    again = from_chargebee.Invoice.add_charge(entry.invoice.id, charge, dict(key))
    assert (first.is_idempotency_replayed, again.is_idempotency_replayed) == (False, True)
    invoice = from_chargebee.Invoice.retrieve(entry.invoice.id).invoice
    line = invoice.line_items[-1]
    assert (line.entity_type, line.amount, line.description) == ("adhoc", 77, "API calls")
    assert (line.date_from, line.date_to, line.subscription_id) == (MARCH, int(APRIL.timestamp()) - 1, "sub-single")
    assert (len(invoice.line_items), invoice.total, invoice.status) == (2, 4977, "pending")


def test_chargebees_client_raises_what_it_raises_for_the_vendor(from_chargebee: Chargebee) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        from_chargebee.Invoice.add_charge("draft_inv_none", {"amount": 1, "description": "d"})
    assert (raised.value.http_status_code, raised.value.api_error_code) == (404, "resource_not_found")
