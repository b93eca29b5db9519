"""What reconcile says bill by bill: the charges are the total to the minor unit, or by how much they are not."""

import pytest

from flows.reconcile import reconcile
from meterbridge.cli.both_sides import _show_bills
from meterbridge.cli.page import page
from tasks.report_differences import summary
from tests.flows.billed_month import BilledMonth


def test_every_charged_bill_of_the_demo_is_its_total_to_the_minor_unit(open_sandbox, capsys):
    month = BilledMonth(open_sandbox, "demo")
    report = reconcile.fn()
    by_currency = {}
    for bill in report.bills:
        by_currency.setdefault(bill["currency"], []).append(bill)
    assert set(by_currency) >= {"EUR", "USD", "JPY"}
    equal = [bill for bill in report.bills if bill["equal"]]
    assert len(equal) > 15
    assert all(bill["charged"] + bill["settled"] == bill["total"] for bill in equal)
    odd = [bill for bill in report.bills if not bill["equal"]]
    assert all(bill["why"] for bill in odd)
    assert sum(bill["charged"] for bill in by_currency["EUR"]) == report.totals["EUR"]["standing"]
    _show_bills(report)
    assert "equal" in capsys.readouterr().out
    assert f"The charges of {len(equal)} of {len(report.bills)} bills" in summary(report)
    assert month.world.log


def test_a_cent_too_little_is_shown_in_the_table_and_the_page(open_sandbox):
    month = BilledMonth(open_sandbox)
    draft = month.draft
    first, *rest = draft["line_items"]
    last = rest[-1] | {"amount": rest[-1]["amount"] - 1, "unit_amount": rest[-1]["amount"] - 1}
    month.save_invoice(draft | {"line_items": [first, *rest[:-1], last]})
    report = reconcile.fn()
    [bill] = report.bills
    assert (bill["total"], bill["charged"], bill["difference"], bill["equal"]) == (
        month.total(),
        month.total() - 1,
        -1,
        False,
    )
    html = page(report, connection="<default>", at="today")
    assert "<tr class=differs>" in html
    assert "-0.01 EUR" in html
    assert "&lt;default&gt;" in html
    assert "<script" not in html
    assert "http" not in html
    assert "Single Ltd" not in html
    assert "@" not in html


def test_a_bill_that_waits_is_not_equal_and_says_why(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    month.close()
    month.charge()
    [bill] = reconcile.fn().bills
    assert (bill["charged"], bill["equal"], bill["why"]) == (0, False, "waiting")


def take_off(month, draft):
    month.save_invoice(draft | {"line_items": draft["line_items"][:-1]})


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        pytest.param(lambda month, row: month.save_invoice(row, deleted=True), "MB-VOIDED", id="draft-deleted"),
        pytest.param(lambda month, _: month.void(month.close()), "MB-VOIDED", id="invoice-voided"),
        pytest.param(
            lambda month, _: month.save_invoice(month.close(), deleted=True), "MB-VOIDED", id="invoice-deleted"
        ),
        pytest.param(take_off, "MB-LINE-CHANGED", id="line-taken-off"),
    ],
)
def test_what_a_sync_has_set_aside_is_known_to_reconcile(open_sandbox, harm, code):
    month = BilledMonth(open_sandbox)
    harm(month, month.draft)
    month.pass_days(1)
    [aside] = month.charge().quarantined
    report = reconcile.fn()
    [bill] = report.bills
    assert (aside["code"], report.drift) == (code, [])
    assert (bill["difference"], bill["why"]) == (-aside["amount"], f"quarantined {code}")


def test_a_deleted_bill_of_which_charges_stand_is_shown_with_nothing_wanted(open_sandbox):
    month = BilledMonth(open_sandbox)
    total = month.total()
    month.close()
    month.charge()
    month.delete_bill()
    month.charge()
    report = reconcile.fn()
    [bill] = report.bills
    assert (bill["total"], bill["charged"], bill["currency"], bill["why"]) == (
        0,
        total,
        "EUR",
        "quarantined MB-BILL-DELETED",
    )
    assert report.drift == []
