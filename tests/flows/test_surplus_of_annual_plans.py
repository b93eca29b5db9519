"""Money on an invoice of its own, or unbilled, is lowered by what an earlier bill had too much, as any other."""

import pytest
from typer.testing import CliRunner

from flows.reconcile import reconcile
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.cli.main import app
from meterbridge.errors import RetriableError
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.billed_month import asides, lose_ledger
from tests.flows.test_no_pending_invoice import PATHS, WAYS, standing, sweep, unbilled, without_draft


def too_much_in_april(open_sandbox, way, may=("23", "7"), **more):
    """April charged at 57.00 by a call of its own and closed, then corrected to 51.00; May has a bill of 30.00."""
    month = without_draft(open_sandbox, way, **more)
    month.recalculate("50", "7")
    month.charge()
    month.close(sweep(month) if way == "unbilled" else None)
    month.charge()
    month.recalculate("44", "7")
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -600)]
    use_and_bill(month.world)
    month.recalculate(*may, bill=month.bills[1])
    return month


def texts(month):
    lines = [line for row in month.invoices for line in row["line_items"]]
    return [line["description"] for line in [*lines, *month.world.chargebee.unbilled_charges.rows()]]


@WAYS
def test_it_is_lowered_once_and_says_so(open_sandbox, way):
    month = too_much_in_april(open_sandbox, way)
    report = month.charge()
    assert (report.quarantined, [row["amount"] for row in report.waiting]) == ([], [-600])
    assert standing(month) == 5_700 + 2_400
    for _ in range(2):
        again = month.charge()
        assert (again.quarantined, again.waiting, again.writes, again.exit_code) == ([], [], 0, 0)
    assert (standing(month), reconcile.fn().totals["EUR"]["difference"]) == (8_100, 0)


def test_the_customer_reads_why_it_is_less(open_sandbox):
    month = too_much_in_april(open_sandbox, "create")
    month.charge()
    [lowered] = [text for text in texts(month) if "less" in text]
    assert "less 6.00 from bill of March 2026 [mb:" in lowered


@WAYS
def test_lines_that_are_used_up_are_not_sent(open_sandbox, way):
    month = too_much_in_april(open_sandbox, way, may=("2", "1"))
    report = month.charge()
    assert asides(report) == [("MB-BILL-CHANGED", -300)]
    assert standing(month) == 5_700
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -300)]
    use_and_bill(month.world)
    month.recalculate("5", "1", bill=month.bills[2])
    assert month.charge().quarantined == []
    assert (standing(month), month.charge().writes, reconcile.fn().totals["EUR"]["difference"]) == (5_700 + 300, 0, 0)


@WAYS
def test_a_line_used_up_beside_one_that_is_lowered(open_sandbox, way):
    month = too_much_in_april(open_sandbox, way, may=("5", "7"))
    assert month.charge().quarantined == []
    assert (standing(month), month.charge().writes, reconcile.fn().totals["EUR"]["difference"]) == (5_700 + 600, 0, 0)


@WAYS
@pytest.mark.parametrize("harm", ["drop_before", "commit_then_drop"])
def test_a_lost_answer_lowers_nothing_twice(open_sandbox, way, harm):
    month = too_much_in_april(open_sandbox, way)
    month.world.faults.add([{"match": {"path": PATHS[way], "method": "POST"}, "harm": harm, "times": -1}])
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()
    use_and_bill(month.world)  # another charge that the surplus might lower once more
    for _ in range(3):
        month.pass_days(1)
        month.charge()
    total = sum(month.total(bill) for bill in month.bills)
    assert (standing(month), reconcile.fn().totals["EUR"]["difference"]) == (total, 0)


@WAYS
def test_a_lost_ledger_charges_nothing_of_it_again(open_sandbox, way):
    month = too_much_in_april(open_sandbox, way, may=("5", "7"))
    month.charge()
    before = (month.ours(), unbilled(month))
    lose_ledger()
    month.charge()
    month.charge()
    assert (month.ours(), unbilled(month)) == before


def test_what_stands_unbilled_is_told_with_its_age_and_loudly_once_nothing_will_invoice_it(open_sandbox):
    month = without_draft(open_sandbox, "unbilled")
    month.charge()
    month.pass_days(40)
    sync_subscriptions.fn(full=True)
    report = month.charge()
    [row] = report.unbilled
    assert (row["amount"], row["count"], row["ended"], row["age_seconds"] // 86_400) == (month.total(), 2, True, 40)
    shown = CliRunner().invoke(app, ["status"]).output
    assert "stand unbilled since 40 days: it has ENDED" in " ".join(shown.split())
    month.close(sweep(month))
    month.charge()
    assert month.charge().unbilled == []
