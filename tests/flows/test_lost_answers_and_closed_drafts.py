"""A charge whose answer never came, on a draft that closed before anybody could look: booked once, whatever happens."""

from decimal import Decimal

import pytest

from meterbridge.errors import RetriableError
from meterbridge.sandbox.clock import rfc3339
from tests.flows.billed_month import BilledMonth, asides


def lose_an_answer(open_sandbox, harm, **switches):
    """The first charge is sent and its answer lost; then the draft closes. Returns month, total, final."""
    month = BilledMonth(open_sandbox, charge=False)
    month.world.switches.update({"draft_line_ids_on_close": "renew", **switches})
    month.world.faults.add([{"match": {"path": "/add_charge", "method": "POST"}, "harm": harm, "times": -1}])
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()
    return month, month.total(), month.close()


def test_a_charge_that_landed_is_found_on_the_final_invoice(open_sandbox):
    month, total, final = lose_an_answer(open_sandbox, "commit_then_drop")
    [landed] = month.ours()
    month.world.log.clear()
    report = month.charge()
    assert (report.quarantined, month.writes()) == ([], [])
    assert [(invoice, amount) for invoice, _, amount in month.charges()] == [(final["id"], landed)]
    assert [row["amount"] for row in report.waiting] == [total - landed]


def test_while_the_final_is_not_in_sight_nothing_is_sent_and_nothing_given_up(open_sandbox):
    month, _, final = lose_an_answer(open_sandbox, "commit_then_drop")
    hidden = month.world.chargebee.invoices.get(final["id"])
    month.world.chargebee.invoices.remove(final["id"], month.world.clock.now_ms())
    month.pass_days(0.5)
    month.world.log.clear()
    report = month.charge()
    assert (month.writes(), report.held) == ([], 1)
    month.save_invoice(hidden)
    assert month.charge().quarantined == []
    assert [invoice for invoice, _, _ in month.charges()] == [final["id"]]
    assert month.ours() == [month.charges()[0][2]]


def test_a_draft_that_never_shows_again_is_asked_about_and_never_resent(open_sandbox):
    month, _, final = lose_an_answer(open_sandbox, "commit_then_drop")
    month.world.chargebee.invoices.remove(final["id"], month.world.clock.now_ms())
    month.pass_days(25)  # a new draft is there by now
    report = month.charge()
    assert "MB-DRAFT-LOST" in [code for code, _ in asides(report)]
    lost = next(row["amount"] for row in report.quarantined if row["code"] == "MB-DRAFT-LOST")
    assert lost not in month.ours(month.draft)
    month.charge()
    assert lost not in month.ours(month.draft)


@pytest.mark.parametrize(
    ("withdrawn", "code"),
    [
        pytest.param(lambda month: month.turn("PENDING"), "MB-BILL-UNAPPROVED", id="unapproved"),
        pytest.param(lambda month: month.delete_bill(), "MB-BILL-DELETED", id="deleted"),
        pytest.param(lambda month: month.recalculate(), "MB-BILL-CHANGED", id="recalculated-to-nothing"),
    ],
)
def test_a_charge_that_is_found_after_its_bill_was_withdrawn_is_asked_about(open_sandbox, withdrawn, code):
    month, _, final = lose_an_answer(open_sandbox, "commit_then_drop")
    withdrawn(month)
    month.charge()  # finds it
    assert [invoice for invoice, _, _ in month.charges()] == [final["id"]]
    for _ in range(2):
        [aside] = (report := month.charge()).quarantined
        assert (aside["code"], abs(aside["amount"])) == (code, sum(month.ours()))
    assert report.writes == 0


def drop_first_line(month):
    """The bill's first line, whose charge was sent, is gone; the second one has another amount."""
    state = month.world.m3ter
    with month.world.lock:
        before = month.bill
        [_, line] = before["lineItems"]
        line = line | {"convertedSubtotal": Decimal(7), "subtotal": Decimal(7)}
        now = rfc3339(month.world.clock.now_ms())
        row = before | {"lineItems": [line], "billTotal": Decimal(7), "lastCalculatedDate": now}
        state.save(state.bills, row, before)


@pytest.mark.parametrize(
    ("change", "total"),
    [
        pytest.param(lambda month: month.recalculate("50", "7"), 5700, id="same-lines-other-amounts"),
        pytest.param(drop_first_line, 700, id="without-that-line"),
        pytest.param(lambda month: month.turn("PENDING"), 0, id="unapproved"),
        pytest.param(lambda month: month.delete_bill(), 0, id="deleted"),
    ],
)
def test_a_lost_answer_and_then_another_bill_end_at_what_the_bill_wants(open_sandbox, change, total):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_ON_UNAPPROVED="remove")
    month.world.faults.add(
        [{"match": {"path": "/add_charge", "method": "POST"}, "harm": "commit_then_drop", "times": -1}]
    )
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()
    assert len(month.ours()) == 1
    change(month)
    for _ in range(3):
        report = month.charge()
    assert (sum(month.ours()), report.writes, report.quarantined) == (total, 0, [])


def test_a_lost_answer_holds_the_rest_of_its_bill_back_no_longer_than_one_run(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    fault = {"match": {"path": "/add_charge", "method": "POST"}, "harm": "commit_then_drop", "times": -1}
    month.world.faults.add([fault])
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()
    month.world.advance(1860)  # Chargebee has forgotten the key: the line is found on the draft
    report = month.charge()
    assert (sum(month.ours()), report.waiting, report.quarantined) == (month.total(), [], [])
    assert month.charge().writes == 0
