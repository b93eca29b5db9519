"""A closed invoice has too much: the next month's charges are lowered by it, and both bills' sums stay exact."""

import pytest

from flows.approve_bills import approve_bills
from flows.reconcile import reconcile
from meterbridge.errors import RetriableError
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.billed_month import BilledMonth, asides, lose_ledger, read_one_by_one


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


def test_a_run_of_named_bills_takes_the_surplus_in_and_reads_no_other_bill(open_sandbox):
    month, may = too_much_in_april(open_sandbox, 5)
    month.world.log.clear()
    month.charge(ids=[may["id"]])
    assert sum(month.ours(month.draft)) == month.total(may) - 500
    assert {one.rsplit("/", 1)[-1] for one in read_one_by_one(month)} == {month.bill["id"], may["id"]}
    use_and_bill(month.world)
    june = month.bills[2]
    month.charge()
    month.world.log.clear()
    month.charge(ids=[june["id"]])  # nothing is too much any more
    assert {one.rsplit("/", 1)[-1] for one in read_one_by_one(month)} == {june["id"]}
    again = month.charge()
    assert (asides(again), again.waiting, reconcile.fn().differences) == ([], [], 0)


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


def marks(month):
    return sorted(row["externalId"] for row in month.world.m3ter.mappings.rows() if "netted:" in row["externalId"])


def written(month):
    """What the last run wrote, in order: marks and other mappings in m3ter, lines at Chargebee."""
    names = {"externalmappings": "mapping", "add_charge": "line", "add_charge_item": "line"}
    paths = (entry.path.rsplit("/", 1)[-1] for entry in month.world.log if entry.method == "POST" and entry.status)
    return [names[path] for path in paths if path in names]


def stop_after(month, number):
    """Nothing arrives any more once so many of those writes have."""
    real, seen = month.world.record, []

    def record(vendor, method, path, key):
        entry = real(vendor, method, path, key)
        if method == "POST" and path.rsplit("/", 1)[-1] in ("externalmappings", "add_charge", "add_charge_item"):
            seen.append(entry)
            if len(seen) == number:
                spec = {"match": {"request": entry.n + 1}, "harm": "drop_before", "times": -1}
                month.world.faults.add([spec])
        return entry

    month.world.record = record
    with pytest.raises(RetriableError):
        month.charge()
    month.world.record = real
    month.world.faults.clear()
    assert sum(bool(entry.status) for entry in seen) == number


@pytest.mark.parametrize("lost", [False, True], ids=["ledger-kept", "ledger-lost"])
@pytest.mark.parametrize("number", [1, 2])
def test_stopped_before_a_charge_is_lowered_in_part_it_ends_the_same(open_sandbox, number, lost):
    month, may = too_much_in_april(open_sandbox, 5)
    stop_after(month, number)
    assert written(month)[-number:] == ["mapping", "line"][:number]  # its mark is there before it is lowered
    if lost:
        lose_ledger()
    report = month.charge()
    assert (asides(report), sum(month.ours(month.draft))) == ([], month.total(may) - 500)
    assert len(marks(month)) == 1
    again = month.charge()
    assert (again.writes, again.quarantined, again.waiting) == (0, [], [])
    assert len(month.ours(month.draft)) == 2
    assert reconcile.fn().differences == 0


@pytest.mark.parametrize("lost", [False, True], ids=["ledger-kept", "ledger-lost"])
@pytest.mark.parametrize("number", [1, 2])
def test_stopped_before_charges_are_lowered_to_nothing_none_is_charged_again(open_sandbox, number, lost):
    month, may = too_much_in_april(open_sandbox, 5)
    month.recalculate("2", "1", bill=may)
    stop_after(month, number)
    assert month.charges() == [one for one in month.charges() if one[1]]  # nothing is lowered yet
    if lost:
        lose_ledger()
    month.charge()
    report = month.charge()
    # A ledger that was lost before the second mark charges the second line, and tells of the surplus that is left.
    once_more = lost and number == 1
    assert month.ours(month.draft) == ([100] if once_more else [])
    assert asides(report) == [("MB-BILL-CHANGED", -300 if once_more else -200)]
    assert len(marks(month)) == (1 if once_more else 2)
    assert (report.writes, reconcile.fn().differences) == (0, 0)


def test_another_surplus_by_the_next_run_is_marked_in_place_of_the_first(open_sandbox):
    month, may = too_much_in_april(open_sandbox, 5)
    stop_after(month, 1)
    [first] = marks(month)
    month.recalculate("46", "7")
    month.world.log.clear()
    assert month.charge().quarantined == []
    assert sum(month.ours(month.draft)) == month.total(may) - 400
    [second] = marks(month)
    assert (first.split(":")[1], second.split(":")[1]) == ("500", "400")
    calls = [entry for entry in month.world.log if entry.method in ("POST", "DELETE")]
    named = [entry.method for entry in calls if "externalmappings" in entry.path]
    assert named[:2] == ["DELETE", "POST"]
    assert (month.charge().writes, reconcile.fn().differences) == (0, 0)


def test_a_lowered_charge_that_awaits_approval_is_marked_once_it_is_approved(open_sandbox):
    month, may = too_much_in_april(open_sandbox, 5, METERBRIDGE_MAX_PER_BILL="EUR=60")
    month.recalculate("90", "7", bill=may)
    [row] = month.charge().awaiting_approval
    assert (marks(month), sum(month.ours(month.draft))) == ([], 0)
    approve_bills.fn(row["change_set"], "ann")
    assert (len(marks(month)), sum(month.ours(month.draft))) == (1, 9_200)
    assert (month.charge().writes, reconcile.fn().differences) == (0, 0)


def test_where_no_names_are_permitted_charges_are_lowered_without_marks(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    month.world.switches.update({"mapping_entities": ["Account", "AccountPlan"]})
    month.recalculate("50", "7")
    month.charge()
    month.close()
    month.recalculate("45", "7")
    month.charge()
    use_and_bill(month.world)
    may = month.bills[1]
    assert month.charge().quarantined == []
    assert (marks(month), sum(month.ours(month.draft))) == ([], month.total(may) - 500)
    assert month.charge().writes == 0
