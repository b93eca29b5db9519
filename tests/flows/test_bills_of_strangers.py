"""Bills of accounts that are billed elsewhere: counted with their sum, nobody's quarantine, and ours once they are."""

from decimal import Decimal

import pytest
from typer.testing import CliRunner

from flows.reconcile import reconcile
from flows.shadow_bills import shadow_bills
from meterbridge.cli.main import app
from meterbridge.cli.overview import overview
from meterbridge.sandbox.m3ter import entities
from meterbridge.sandbox.m3ter.accounts import ACCOUNT
from meterbridge.sandbox.m3ter.mappings import MAPPING
from meterbridge.settings import load_settings
from tasks.services import ledger_in_use, open_ledger
from tests.flows.billed_month import BilledMonth, asides, read_one_by_one


def stranger(month, code, amount="24.60", currency="USD"):
    """An account that nobody at Chargebee knows, with an approved bill of one line; returns the account."""
    state = month.world.m3ter
    with month.world.lock:
        mail = f"{code}@example.com"
        row = {"id": state.ids.uuid("Account", code), "name": code, "code": code, "emailAddress": mail}
        account = entities.insert(state, ACCOUNT, row)
        line = month.bill["lineItems"][0]
        line = {name: value for name, value in line.items() if name not in ("accountPlanId",)}
        line |= {"id": state.ids.uuid("line", code), "convertedSubtotal": Decimal(amount), "subtotal": Decimal(amount)}
        of_account = {"accountId": account["id"], "accountCode": code, "currency": currency}
        bill = month.bill | of_account | {"id": state.ids.uuid("Bill", code)}
        state.save(state.bills, bill | {"status": "APPROVED", "lineItems": [line], "billTotal": Decimal(amount)}, None)
    return account


def status():
    ledger = open_ledger(load_settings())
    found = overview(load_settings(), ledger)
    ledger.close()
    return found["not_ours"]


FIVE = [{"currency": "USD", "count": 5, "amount": 12_300}]


@pytest.fixture
def month(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    for number in range(5):
        stranger(month, f"elsewhere-{number}")
    return month


def test_they_are_counted_with_their_sum_and_need_nobody(month):
    dry = month.charge(dry_run=True)
    assert (dry.not_ours, status()) == (FIVE, [])
    for _ in range(2):
        report = month.charge()
        assert (report.quarantined, report.waiting, report.exit_code) == ([], [], 0)
        assert (report.not_ours, status()) == (FIVE, FIVE)
    assert sum(month.ours()) == sum(month.total(bill) for bill in month.bills if bill["accountCode"] == "cust-single")
    assert reconcile.fn().differences == 0
    shown = CliRunner().invoke(app, ["status"])
    assert "Not ours: 5 bills, 123.00 USD" in shown.output


def test_they_are_read_once(month):
    month.charge()
    month.world.log.clear()
    month.charge()
    assert read_one_by_one(month) == []


def test_a_shadow_run_counts_them_too(month):
    report = shadow_bills.fn()
    assert (report.unreadable, report.not_ours) == ([], FIVE)


def test_one_whose_account_has_a_customers_id_is_told(month):
    with month.world.lock:
        month.world.chargebee.save(
            month.world.chargebee.customers,
            next(iter(month.world.chargebee.customers.rows())) | {"id": "new-customer"},
        )
    stranger(month, "new-customer", "7.00")
    report = month.charge()
    assert asides(report) == [("MB-BILL-LINE", 700)]
    assert report.not_ours == FIVE


def test_one_whose_account_has_a_mapping_is_told(month):
    account = stranger(month, "an-old-name", "7.00")
    mapping = {
        "m3terEntity": "Account",
        "m3terId": account["id"],
        "externalSystem": "Chargebee",
        "externalTable": "Customer",
        "externalId": "gone-long-ago",
    }
    with month.world.lock:
        entities.insert(month.world.m3ter, MAPPING, mapping)
    assert asides(month.charge()) == [("MB-BILL-LINE", 700)]


@pytest.mark.parametrize("how", [{"full": True}, {}])
def test_one_that_becomes_ours_is_decided_again(month, how):
    """As when a person links the account, or a sync adopts it."""
    account = stranger(month, "linked-later", "7.00")
    assert month.charge().not_ours == [{"currency": "USD", "count": 6, "amount": 13_000}]
    link(month, account)
    assert asides(month.charge(**how)) == [("MB-BILL-LINE", 700)]
    assert status() == FIVE


def link(month, account):
    from meterbridge.ledger import mappings

    with ledger_in_use() as ledger, ledger.write() as tx:
        state = {"customer_id": "new-customer", "code": account["code"], "currency": None, "parent": None}
        mappings.put(tx, mappings.Mapping("account", ("new-customer",), account["id"], "", "account:x", state))
        tx.commit()


def test_one_that_is_deleted_or_pending_again_counts_no_more(month):
    month.charge()
    state = month.world.m3ter
    first, second, *_ = [bill for bill in month.bills if bill["accountCode"].startswith("elsewhere")]
    with month.world.lock:
        state.bills.remove(first["id"], month.world.clock.now_ms())
        state.save(state.bills, second | {"status": "PENDING"}, second)
    report = month.charge()
    left = [{"currency": "USD", "count": 3, "amount": 7_380}]
    assert (report.quarantined, report.not_ours, status()) == ([], left, left)


def test_a_currency_without_a_proven_scale_is_counted(month):
    stranger(month, "kuwait", "1.234", "KWD")
    report = month.charge()
    assert (report.quarantined, report.exit_code) == ([], 0)
    assert report.not_ours == [{"currency": "KWD", "count": 1, "amount": 123}, *FIVE]
