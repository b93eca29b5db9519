"""What a person settled by hand counts as standing: only a later difference is sent."""

import json

import pytest
from typer.testing import CliRunner

from flows.approve_bills import approve_bills
from flows.reconcile import reconcile
from meterbridge.cli.main import app
from meterbridge.errors import SetupError
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.billed_month import BilledMonth

REQUIRED = {"METERBRIDGE_BILLS_APPROVAL": "required"}


def run_command(*words):
    result = CliRunner().invoke(app, [*words, "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


def mark(bill, *more):
    return run_command("bills", "mark-invoiced", bill["id"], "--by", "ann", "--note", "invoice 1044", *more)


def test_a_proposed_bill_marked_as_invoiced_is_not_asked_for_and_not_sent(open_sandbox, monkeypatch):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    month.recalculate("50", "7")
    [row] = month.charge().awaiting_approval
    assert [one["amount"] for one in mark(month.bill)["settled"]] == [5700]
    with pytest.raises(SetupError, match="is as it was proposed any more"):
        approve_bills.fn(row["change_set"], "bob")
    for _ in range(2):
        report = month.charge()
        assert (report.writes, report.awaiting_approval, report.exit_code) == (0, [], 0)
    assert reconcile.fn().differences == 0
    assert run_command("status")["settled_by_hand"] == [{"currency": "EUR", "count": 1, "amount": 5700}]
    [portion] = run_command("trace", month.bill["id"])["portions"]
    assert (portion["state"], portion["reason"]) == ("settled", "settled by ann: invoice 1044")
    monkeypatch.setenv("METERBRIDGE_BILLS_APPROVAL", "off")
    month.recalculate("50", "9.5")
    month.charge()
    assert month.ours() == [250]
    assert (month.charge().writes, reconcile.fn().differences) == (0, 0)


def test_a_waiting_bill_marked_as_invoiced_waits_no_more(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    month.recalculate("50", "7")
    month.close()
    assert [row["amount"] for row in month.charge().waiting] == [5700]
    mark(month.bill, "--subscription", "sub-single")
    assert month.charge().waiting == []
    use_and_bill(month.world)
    month.charge()
    assert sum(month.ours()) == month.total(month.bills[1])


@pytest.mark.parametrize("how", ["dismissed", "marked"])
def test_a_portion_set_aside_and_dismissed_or_marked_counts_at_its_amount(open_sandbox, how):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_MAX_INVOICE_LINES="1")
    month.recalculate("50", "7")
    [aside] = month.charge().quarantined
    assert (aside["code"], aside["amount"]) == ("MB-INVOICE-FULL", 5700)
    if how == "dismissed":
        [row] = run_command("quarantine", "list")["quarantined"]
        run_command("quarantine", "dismiss", str(row["id"]), "--by", "ann", "--note", "by hand")
    else:
        mark(month.bill)
    report = month.charge()
    assert (report.quarantined, report.writes) == ([], 0)
    month.recalculate("49", "7")
    [aside] = month.charge().quarantined
    assert (aside["code"], aside["amount"]) == ("MB-BILL-CHANGED", -100)


def test_what_is_charged_or_unknown_cannot_be_marked(open_sandbox):
    month = BilledMonth(open_sandbox)
    with pytest.raises(SetupError, match="nothing that is open: it is sent"):
        mark(month.bill)
    with pytest.raises(SetupError, match="knows no portion"):
        mark({"id": "nonsense"})
