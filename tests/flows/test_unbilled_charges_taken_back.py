"""Unbilled charges whose bill wants another sum: deleted and made anew, once, whatever happens on the way."""

import pytest

from flows.approve_bills import approve_bills
from flows.reconcile import reconcile
from flows.undo_run import undo_run
from meterbridge.errors import RetriableError
from tests.flows.billed_month import asides, lose_ledger
from tests.flows.test_no_pending_invoice import calls, standing, sweep, unbilled, without_draft

DELETE = r"^/api/v2/unbilled_charges/[^/]+/delete$"
A_LOOK_LATER = 360


def charged(open_sandbox, *amounts, **more):
    """A bill of these amounts whose lines are unbilled charges."""
    month = without_draft(open_sandbox, "unbilled", **more)
    month.recalculate(*(amounts or ("10", "5")))
    assert month.charge().quarantined == []
    month.world.log.clear()
    return month


def deletions(month):
    return [one for one in month.writes() if one.path.endswith("/delete")]


def rests(month):
    """A second run has nothing to do, and both sides agree."""
    month.world.log.clear()
    report = month.charge()
    assert (report.writes, report.quarantined, report.held, month.writes()) == (0, [], 0, [])
    assert {total["difference"] for total in reconcile.fn().totals.values()} <= {0}


def harm(month, what, times=-1, method="POST", path=DELETE):
    month.world.faults.add([{"match": {"path": path, "method": method}, "harm": what, "times": times}])


def between(month, then):
    """Something happens at Chargebee right before the first deletion is executed."""
    real, done = month.world.record, []

    def record(vendor, method, path, key):
        if path.endswith("/delete") and not done:
            done.append(True)
            then()
        return real(vendor, method, path, key)

    month.world.record = record


@pytest.mark.parametrize(
    ("wanted", "left", "deleted"),
    [
        pytest.param(["12", "5"], [500, 1_200], 1, id="more"),
        pytest.param(["9", "5"], [500, 900], 1, id="less"),
        pytest.param(["9", "4"], [400, 900], 2, id="both"),
        pytest.param(["0", "5"], [500], 1, id="one-to-zero"),
        pytest.param(["0", "0"], [], 2, id="to-zero"),
    ],
)
def test_a_recalculated_bill_replaces_them(open_sandbox, wanted, left, deleted):
    month = charged(open_sandbox)
    month.recalculate(*wanted)
    report = month.charge()
    assert (report.quarantined, unbilled(month), len(deletions(month))) == ([], left, deleted)
    assert report.applied["charge_removal.delete"] == deleted
    assert len({one.idempotency_key for one in deletions(month)} - {None}) == deleted
    rests(month)


def test_replaced_ones_are_followed_to_their_invoice(open_sandbox):
    month = charged(open_sandbox)
    month.recalculate("9", "5")
    month.charge()
    billed = sweep(month)
    month.charge()
    assert {invoice for invoice, _, _ in month.charges()} == {billed["id"]}
    assert standing(month) == 1_400
    rests(month)


def test_where_a_draft_is_there_by_now_the_new_sum_goes_on_it(open_sandbox):
    month = charged(open_sandbox)
    state = month.world.chargebee
    with month.world.lock:
        for row in list(state.invoices.rows()):
            state.save(state.invoices, row | {"status": "pending"})
    draft = month.draft
    month.recalculate("9", "5")
    assert month.charge().quarantined == []
    assert (unbilled(month), month.ours(month.draft)) == ([500], [900])
    assert len(month.mapped("Bill")) == 1
    assert month.mapped("Bill")[0][1] == draft["id"]
    rests(month)


@pytest.mark.parametrize("setting", ["keep", "remove"])
def test_a_bill_that_is_pending_again(open_sandbox, setting):
    month = charged(open_sandbox, METERBRIDGE_ON_UNAPPROVED=setting)
    month.turn("PENDING")
    report = month.charge()
    if setting == "keep":
        assert (asides(report), unbilled(month)) == ([("MB-BILL-UNAPPROVED", 1_500)], [500, 1_000])
        return
    assert (asides(report), unbilled(month)) == ([], [])
    assert month.charge().writes == 0
    month.turn("APPROVED")
    month.charge()
    assert unbilled(month) == [500, 1_000]
    rests(month)


def test_a_deleted_bill_takes_them_along(open_sandbox):
    month = charged(open_sandbox)
    month.delete_bill()
    assert (asides(month.charge()), unbilled(month)) == ([], [])
    rests(month)


def test_the_gate_asks_about_the_difference_and_an_approval_replaces_them(open_sandbox):
    month = charged(open_sandbox, METERBRIDGE_MAX_PER_BILL="EUR=15")
    month.recalculate("40", "5")
    [row] = month.charge().awaiting_approval
    assert (row["amount"], unbilled(month)) == (3_000, [500, 1_000])
    approve_bills.fn(row["change_set"], "ann")
    assert unbilled(month) == [500, 4_000]
    rests(month)


@pytest.mark.parametrize(
    ("what", "minutes"), [("commit_then_drop", 1), ("commit_then_drop", 31), ("drop_before", 1), ("drop_before", 31)]
)
def test_a_deletion_whose_answer_is_lost_ends_at_the_new_sum(open_sandbox, what, minutes):
    month = charged(open_sandbox)
    harm(month, what)
    month.recalculate("9", "5")
    with pytest.raises(RetriableError):
        month.charge()
    assert ("charge_removal", "unknown") in month.open_intents()
    month.world.faults.clear()
    month.world.advance(60 * minutes)
    for _ in range(4):
        month.charge()
        assert standing(month) in (500, 1_400, 1_500)
        month.world.advance(A_LOOK_LATER)
    assert (unbilled(month), len(calls(month, "unbilled"))) == ([500, 900], 1)
    rests(month)


def test_a_deletion_that_was_not_executed_is_ready_again(open_sandbox):
    month = charged(open_sandbox)
    harm(month, "status_429")
    month.recalculate("9", "5")
    with pytest.raises(RetriableError):
        month.charge()
    assert ("charge_removal", "ready") in month.open_intents()
    month.world.faults.clear()
    month.charge()
    assert unbilled(month) == [500, 900]
    rests(month)


@pytest.mark.parametrize("status", [400, 404, 409])
@pytest.mark.parametrize("lag", [0, 400], ids=["seen-at-once", "lists-lag"])
def test_one_that_an_invoice_takes_up_before_the_deletion_stands_there(open_sandbox, status, lag):
    month = charged(open_sandbox)
    month.world.switches.update({"invoiced_charge_status": status})
    month.recalculate("9", "5")

    def swept():
        sweep(month)
        month.world.switches.update({"list_lag_seconds": lag})

    between(month, swept)
    first = month.charge()
    assert (standing(month), unbilled(month)) == (1_500, [])
    assert {row["code"] for row in first.quarantined} == {"MB-INVOICE-CLOSED", "MB-DEPENDS"}
    for _ in range(3):
        month.world.advance(A_LOOK_LATER)
        report = month.charge()
        assert standing(month) == 1_500
    assert (asides(report), month.open_intents()) == ([("MB-BILL-CHANGED", -100)], [])
    assert (month.charge().writes, len(calls(month, "unbilled"))) == (0, 0)


def test_one_that_a_person_deletes_before_is_asked_about(open_sandbox):
    month = charged(open_sandbox)
    month.recalculate("9", "5")

    def gone():
        state = month.world.chargebee
        for row in list(state.unbilled_charges.rows()):
            if row["amount"] == 1_000:
                state.save(state.unbilled_charges, row | {"deleted": True})

    between(month, gone)
    assert "MB-INVOICE-CLOSED" in {row["code"] for row in month.charge().quarantined}
    assert [row["amount"] for row in month.charge().waiting] == [-100]  # looked for on invoices for a day
    month.pass_days(1)
    assert asides(month.charge()) == [("MB-DRAFT-LOST", 900)]  # to the new sum
    assert unbilled(month) == [500]


def test_one_that_chargebee_will_not_delete_stays_and_is_told(open_sandbox):
    month = charged(open_sandbox)
    month.world.switches.update({"invoiced_charge_status": 400})
    month.world.chargebee.invoiced_charges |= {row["id"] for row in month.world.chargebee.unbilled_charges.rows()}
    month.recalculate("9", "5")
    report = month.charge()
    assert {row["code"] for row in report.quarantined} == {"MB-REFUSED", "MB-DEPENDS"}
    assert (unbilled(month), report.held, month.open_intents()) == ([500, 1_000], 0, [])
    month.world.log.clear()
    month.charge()
    assert month.writes() == []


def test_a_list_that_shows_the_old_ones_still_does_not_take_them_for_the_new(open_sandbox):
    month = charged(open_sandbox)
    month.recalculate("9", "5")
    month.world.advance(1_000)
    month.world.switches.update({"list_lag_seconds": 900})
    harm(month, "commit_then_drop", path="/unbilled_charges$")
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()
    month.world.advance(1_800)
    for _ in range(3):
        month.charge()
        month.world.advance(A_LOOK_LATER)
    assert unbilled(month) == [500, 900]
    assert len(deletions(month)) == 1
    month.world.switches.update({"list_lag_seconds": 0})
    rests(month)


def test_out_of_sight_once_and_back_is_no_search_that_goes_on(open_sandbox):
    month = charged(open_sandbox)
    month.world.switches.update({"list_lag_seconds": 600})
    state = month.world.chargebee
    with month.world.lock:  # as if made a moment ago
        for row in list(state.unbilled_charges.rows()):
            state.unbilled_charges.remove(row["id"], month.world.clock.now_ms() - 10_800_000)
            state.save(state.unbilled_charges, row)
    month.charge()
    month.world.switches.update({"list_lag_seconds": 0})
    month.pass_days(2)
    month.charge()
    sweep(month)
    month.world.switches.update({"list_lag_seconds": 600})
    assert asides(month.charge()) == []


def test_after_a_lost_ledger_what_was_replaced_is_found_and_nothing_sent(open_sandbox):
    month = charged(open_sandbox)
    month.recalculate("9", "5")
    month.charge()
    lose_ledger()
    month.world.log.clear()
    assert (month.charge().quarantined, month.writes()) == ([], [])
    assert unbilled(month) == [500, 900]
    month.recalculate("8", "5")
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -100)]  # taken over, not made: a person decides
    assert unbilled(month) == [500, 900]


def test_undo_deletes_them(open_sandbox):
    month = without_draft(open_sandbox, "unbilled")
    run = month.charge()
    total = month.total()
    report = undo_run.fn(run.flow_run_id, "ann")
    assert (sum(line["amount"] for line in report.undone), report.kept, report.exit_code) == (total, [], 0)
    assert unbilled(month) == []
    month.world.log.clear()
    assert undo_run.fn(run.flow_run_id, "ann").undone == []
    again = month.charge()
    assert (asides(again), month.writes(), unbilled(month)) == ([("MB-UNDONE", total)], [], [])


def test_undo_leaves_what_an_invoice_has_taken_up_and_says_so(open_sandbox):
    month = without_draft(open_sandbox, "unbilled")
    run = month.charge()
    total = month.total()
    sweep(month)
    report = undo_run.fn(run.flow_run_id, "ann")
    assert (report.undone, sum(line["amount"] for line in report.kept), report.exit_code) == ([], total, 3)
    assert {row["code"] for row in report.quarantined} == {"MB-INVOICE-CLOSED"}
    assert (standing(month), asides(month.charge())) == (total, [])
    assert standing(month) == total
    after = undo_run.fn(run.flow_run_id, "ann")
    assert {line["why"] for line in after.kept} == {"its invoice is closed: credit it there"}


@pytest.mark.parametrize("what", ["commit_then_drop", "drop_before"])
def test_undo_whose_answer_is_lost_and_repeated_ends_the_same(open_sandbox, what):
    month = without_draft(open_sandbox, "unbilled")
    run = month.charge()
    total = month.total()
    harm(month, what)
    with pytest.raises(RetriableError):
        undo_run.fn(run.flow_run_id, "ann")
    month.world.faults.clear()
    undo_run.fn(run.flow_run_id, "ann")
    assert unbilled(month) == []
    assert asides(month.charge()) == [("MB-UNDONE", total)]
    month.world.log.clear()
    assert (undo_run.fn(run.flow_run_id, "ann").writes, month.charge().writes, month.writes()) == (0, 0, [])
