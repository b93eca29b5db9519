"""A bill that changes after it was charged, end to end: one number per portion, by where its lines stand."""

import pytest

from tests.flows.billed_month import BilledMonth


def test_a_charged_month_stands_and_a_second_run_writes_nothing(open_sandbox):
    month = BilledMonth(open_sandbox)
    assert sum(month.ours()) == month.total()
    month.world.log.clear()
    assert month.charge().writes == 0
    assert month.writes() == []


@pytest.mark.parametrize("keep_ids", [False, True], ids=["new-line-ids", "same-line-ids"])
def test_a_recalculation_replaces_our_lines_on_the_pending_draft(open_sandbox, keep_ids):
    month = BilledMonth(open_sandbox)
    month.recalculate("50.005", "7.25", keep_ids=keep_ids)
    report = month.charge()
    assert report.quarantined == []
    assert month.ours(month.draft) == [725, 5001]
    assert sum(month.ours()) == month.total()
    assert month.mapped("BillLineItem") == sorted(
        (line["id"], next(one for _, one, amount in month.charges() if amount == wanted))
        for line, wanted in zip(month.bill["lineItems"], [5001, 725], strict=True)
    )
    assert month.charge().writes == 0


def test_equal_sums_write_nothing_whatever_single_lines_did(open_sandbox):
    month = BilledMonth(open_sandbox)
    month.recalculate("50", "7")
    month.charge()
    month.recalculate("40", "17")
    month.world.log.clear()
    report = month.charge()
    assert (month.writes(), report.quarantined) == ([], [])
    assert month.ours() == [700, 5000]


def test_a_line_that_fell_away_leaves_the_draft(open_sandbox):
    month = BilledMonth(open_sandbox)
    month.recalculate("50")
    month.charge()
    assert month.ours() == [5000]
    assert len(month.mapped("BillLineItem")) == 1


def test_a_bill_that_fell_to_zero_leaves_no_line_and_no_mapping(open_sandbox):
    month = BilledMonth(open_sandbox)
    month.recalculate("0", "0")
    assert month.charge().quarantined == []
    assert month.ours() == []
    assert month.mapped("BillLineItem") == []
    assert month.mapped("Bill") == []
