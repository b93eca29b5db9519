"""`undo` takes a run's lines off pending invoices, through the ledger, once; nothing is charged anew until retry."""

import pytest

from flows.approve_bills import approve_bills
from flows.reconcile import reconcile
from flows.undo_run import undo_run
from meterbridge.errors import RetriableError, SetupError
from meterbridge.ledger import quarantine
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import load_settings
from tasks import set_aside
from tasks.services import open_ledger
from tests.flows.billed_month import BilledMonth, asides


def undo(report, **how):
    return undo_run.fn(report.flow_run_id, "ann", **how)


def decide(action, **how):
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        for row in quarantine.list(tx):
            getattr(set_aside, action)(tx, row, **how)
        tx.commit()
    ledger.close()


def test_a_runs_lines_come_off_and_stay_off_until_retry(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    charged = month.charge()
    total = month.total()
    report = undo(charged)
    assert (sum(line["amount"] for line in report.undone), report.kept, report.exit_code) == (total, [], 0)
    assert (month.ours(), month.mapped("Bill"), month.mapped("BillLineItem")) == ([], [], [])
    month.world.log.clear()
    assert undo(charged).undone == []
    for _ in range(2):
        again = month.charge()
        assert (again.writes, asides(again)) == (0, [("MB-UNDONE", total)])
    assert month.writes() == []
    compared = reconcile.fn()
    assert (compared.differences, {row["code"] for row in compared.explained}) == (0, {"MB-UNDONE"})
    decide("retry")
    assert month.charge().applied["charge.create"] == 2
    assert sum(month.ours()) == total
    assert (month.charge().writes, month.charge().quarantined, undo(charged).undone) == (0, [], [])
    assert sum(month.ours()) == total


def test_undone_and_dismissed_is_settled_and_only_a_difference_is_sent(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    month.recalculate("50", "7")
    undo(month.charge())
    decide("dismiss", by="ann", note="charged by hand")
    assert (month.charge().writes, month.charge().quarantined) == (0, [])
    month.recalculate("50", "9")
    month.charge()
    assert month.ours() == [200]


def test_lines_on_closed_invoices_are_listed_and_not_touched(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    charged = month.charge()
    before = month.ours()
    month.close()
    report = undo(charged)
    assert (report.undone, sorted(line["amount"] for line in report.kept), report.exit_code) == ([], before, 3)
    assert (month.ours(), month.charge().quarantined) == (before, [])


def test_only_that_runs_lines_come_off(open_sandbox):
    month = BilledMonth(open_sandbox)
    use_and_bill(month.world)
    second = month.charge()
    undo(second)
    assert sum(month.ours()) == month.total(month.bills[0])
    assert asides(month.charge()) == [("MB-UNDONE", month.total(month.bills[1]))]


def test_a_recalculation_while_undone_charges_nothing_and_retry_charges_the_new_sum(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    undo(month.charge())
    month.recalculate("50", "7")
    assert asides(month.charge()) == [("MB-UNDONE", 5700)]
    month.turn("PENDING")
    month.charge()
    month.turn("APPROVED")
    assert (month.charge().writes, month.ours()) == (0, [])
    decide("retry")
    month.charge()
    assert month.ours() == [700, 5000]


@pytest.mark.parametrize("harm", ["commit_then_drop", "drop_before"])
@pytest.mark.parametrize("synced_between", [False, True], ids=["", "and-a-sync-between"])
def test_undo_stopped_in_the_middle_and_repeated_ends_the_same(open_sandbox, harm, synced_between):
    month = BilledMonth(open_sandbox, charge=False)
    charged, total = month.charge(), month.total()
    month.world.faults.add([{"match": {"path": "/delete_line_items", "nth": 2}, "harm": harm, "times": -1}])
    with pytest.raises(RetriableError):
        undo(charged)
    month.world.faults.clear()
    if synced_between:
        month.charge()
    undo(charged)
    assert month.ours() == []
    assert asides(month.charge()) == [("MB-UNDONE", total)]
    assert (month.mapped("Bill"), month.mapped("BillLineItem")) == ([], [])
    month.world.log.clear()
    assert (undo(charged).writes, month.charge().writes, month.writes()) == (0, 0, [])


def test_an_approvals_lines_are_undone_and_proposed_again_after_retry(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_BILLS_APPROVAL="required")
    [row] = month.charge().awaiting_approval
    undo(approve_bills.fn(row["change_set"], "ann"))
    assert (month.ours(), month.charge().awaiting_approval) == ([], [])
    decide("retry")
    [again] = month.charge().awaiting_approval
    assert again["change_set"] == row["change_set"]  # the very same writes: approved anew, not by the first approval
    assert month.ours() == []
    assert approve_bills.fn(row["change_set"], "bob").approved_by == "bob"
    assert sum(month.ours()) == month.total()


def test_a_run_that_nobody_knows_is_refused(open_sandbox):
    BilledMonth(open_sandbox)
    with pytest.raises(SetupError, match="knows no run 'nonsense'"):
        undo_run.fn("nonsense")
