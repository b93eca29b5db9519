"""A bill that waits for its approval for months is charged once it is approved, however old it is by then."""

import pytest

from flows.reconcile import reconcile
from meterbridge.ledger import bills, facts
from meterbridge.sandbox.scenarios.month import use_and_bill
from tasks.services import ledger_in_use
from tests.flows.billed_month import BilledMonth, asides

SINCE = {"METERBRIDGE_BILLS_SINCE": "2026-01-01", "METERBRIDGE_BILL_WINDOW_DAYS": "30"}


def pending_month(open_sandbox, *, runs=2, **more):
    """April's bill, 57.00, is PENDING while runs pass over it."""
    month = BilledMonth(open_sandbox, charge=False, **SINCE, **more)
    month.recalculate("50", "7", status="PENDING")
    for _ in range(runs):
        report = month.charge()
        assert (report.writes, report.quarantined, month.ours()) == (0, [], [])
    return month


def known(month):
    """The ledger's states of bills, by id: (status, deleted)."""
    with ledger_in_use() as ledger, ledger.read() as rx:
        return {state.bill_id: (state.status, state.deleted) for state in bills.all(rx)}


def forget_pending():
    """As a ledger of an earlier version is: no bill was remembered before its approval."""
    with ledger_in_use() as ledger, ledger.write() as tx:
        for state in bills.all(tx):
            bills.forget(tx, state.bill_id)
        facts.put(tx, "bills_pending_seen", "")
        tx.commit()


def lists(month):
    """How many lists of bills a run asks for."""
    month.world.log.clear()
    month.charge()
    return sum(e.vendor == "m3ter" and e.path.endswith("/bills") for e in month.world.log)


def read_whole(month):
    """Bills that were read one by one since the log was cleared."""
    return [e.path for e in month.world.log if e.vendor == "m3ter" and e.method == "GET" and "/bills/" in e.path]


@pytest.mark.parametrize("days", [20, 70, 200])
def test_it_is_charged_once(open_sandbox, days):
    month = pending_month(open_sandbox)
    month.pass_days(days)
    month.charge()
    month.turn("APPROVED")
    assert month.charge().quarantined == []
    assert sum(month.ours()) == 5_700
    assert (month.charge().writes, reconcile.fn().differences) == (0, 0)
    assert sum(month.ours()) == 5_700


def test_one_seen_by_a_first_run_that_came_long_after_its_bill_date(open_sandbox):
    month = pending_month(open_sandbox, runs=0)
    month.pass_days(70)
    month.charge()
    month.pass_days(70)
    month.turn("APPROVED")
    month.charge()
    assert sum(month.ours()) == 5_700


def test_one_that_an_earlier_version_never_remembered(open_sandbox):
    month = pending_month(open_sandbox)
    month.pass_days(70)
    forget_pending()
    assert (lists(month), lists(month)) == (2, 1)  # they are looked for once
    month.pass_days(70)
    month.turn("APPROVED")
    month.charge()
    assert sum(month.ours()) == 5_700


def test_one_made_after_the_last_run_and_approved_when_nobody_ran_for_months(open_sandbox):
    month = BilledMonth(open_sandbox, **SINCE)
    month.lock()
    month.charge()  # nothing of April is open any more
    use_and_bill(month.world)
    may = month.bills[1]
    month.pass_days(120)
    month.charge()
    assert sum(month.ours()) == month.total() + month.total(may)


def test_waiting_costs_no_more_than_its_row_in_the_list(open_sandbox):
    month = pending_month(open_sandbox)
    for amount in ("51", "52"):
        month.recalculate(amount, "7", status="PENDING")
        month.pass_days(40)
        month.world.log.clear()
        report = month.charge()
        assert (read_whole(month), report.writes, report.quarantined) == ([], 0, [])
    month.turn("APPROVED")
    month.charge()
    assert sum(month.ours()) == 5_900


def test_one_that_was_deleted_meanwhile_is_forgotten(open_sandbox):
    month = pending_month(open_sandbox)
    bill_id = month.bill["id"]
    month.pass_days(70)
    month.delete_bill()
    report = month.charge()
    assert (report.writes, report.quarantined, report.waiting) == (0, [], [])
    assert known(month)[bill_id] == ("DELETED", True)
    month.world.log.clear()
    assert (month.charge().writes, read_whole(month), month.ours()) == (0, [], [])


def test_approval_taken_back_and_given_again_after_months(open_sandbox):
    month = pending_month(open_sandbox)
    month.pass_days(70)
    month.turn("APPROVED")
    month.turn("PENDING")
    assert (month.charge().writes, month.ours()) == (0, [])
    month.pass_days(70)
    month.turn("APPROVED")
    month.charge()
    assert sum(month.ours()) == 5_700
    month.turn("PENDING")
    code = [aside[0] for aside in asides(month.charge())]
    month.turn("APPROVED")
    again = month.charge()
    assert (code, asides(again), sum(month.ours())) == (["MB-BILL-UNAPPROVED"], [], 5_700)
    assert month.charge().writes == 0


def test_a_bill_of_before_the_first_bill_date_is_not_remembered(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_BILLS_SINCE="2026-06-01")
    month.turn("PENDING")
    month.charge()
    assert known(month) == {}
    month.turn("APPROVED")
    assert (month.charge().writes, month.ours()) == (0, [])


def test_a_dry_run_remembers_nothing(open_sandbox):
    month = pending_month(open_sandbox, runs=0)
    month.charge(dry_run=True)
    assert known(month) == {}
