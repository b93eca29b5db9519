"""A closed invoice has too much: the next month's charges are lowered by it, and both bills' sums stay exact."""

import pytest

from flows.reconcile import reconcile
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.billed_month import BilledMonth, asides, lose_ledger


def too_much_in_april(open_sandbox, surplus, **more):
    """April charged at 57.00 and closed, then recalculated to less; May used, billed and approved."""
    month = BilledMonth(open_sandbox, **more)
    month.recalculate("50", "7")
    month.charge()
    month.close()
    month.recalculate(str(50 - surplus), "7")
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -100 * surplus)]
    use_and_bill(month.world)
    return month, month.bills[1]


@pytest.mark.parametrize("renewed", [False, True], ids=["pending", "closed-since"])
def test_next_months_charges_are_lowered_by_it(open_sandbox, renewed):
    month, may = too_much_in_april(open_sandbox, 5)
    month.world.switches.update({"draft_line_ids_on_close": "renew"})
    report = month.charge()
    assert (report.quarantined, [row["amount"] for row in report.waiting]) == ([], [-500])
    assert sum(month.ours(month.draft)) == month.total(may) - 500
    if renewed:
        month.close()
    month.world.log.clear()
    again = month.charge()
    assert (again.quarantined, again.waiting, month.writes()) == ([], [], [])
    assert sum(month.ours()) == month.total() + month.total(may)
    assert reconcile.fn().differences == 0


def test_a_surplus_larger_than_the_month_is_carried_on(open_sandbox):
    month, may = too_much_in_april(open_sandbox, 5)
    month.recalculate("2", "1", bill=may)
    report = month.charge()
    assert asides(report) == [("MB-BILL-CHANGED", -200)]
    assert month.ours(month.draft) == []
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -200)]
    assert reconcile.fn().differences == 0


def test_by_setting_it_stays_with_a_person(open_sandbox):
    month, may = too_much_in_april(open_sandbox, 5, METERBRIDGE_NEGATIVE_DELTA="quarantine")
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -500)]
    assert sum(month.ours(month.draft)) == month.total(may)


def test_a_bill_that_was_deleted_stays_set_aside_until_a_later_month_takes_it(open_sandbox):
    month = BilledMonth(open_sandbox)
    charged = month.total()
    month.close()
    month.delete_bill()
    assert [asides(month.charge()) for _ in range(2)] == [[("MB-BILL-DELETED", charged)]] * 2
    use_and_bill(month.world)
    month.recalculate("90", "7")
    month.charge()
    assert sum(month.ours()) == 9_700
    again = month.charge()
    assert (asides(again), again.waiting, again.intended) == ([], [], {})


@pytest.mark.parametrize("deleted", [False, True], ids=["both-bills-there", "the-other-one-deleted"])
def test_a_lost_ledger_charges_nothing_of_it_again(open_sandbox, deleted):
    month, may = too_much_in_april(open_sandbox, 5)
    month.recalculate("2", "1", bill=may)
    month.charge()
    if deleted:
        month.delete_bill()
        month.charge()
    before = month.ours()
    asked = asides(month.charge())
    lose_ledger()
    month.world.log.clear()
    again = month.charge()
    assert (month.ours(), month.writes()) == (before, [])
    if deleted:  # nobody knows any more what stands for a bill that m3ter has no more
        assert asides(again) == []
    else:
        assert asides(again) == asides(month.charge()) == asked
        assert reconcile.fn().differences == 0
