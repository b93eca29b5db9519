"""A line that a person settled or took off is not charged for having another subscription by now."""

import pytest

from flows.reconcile import reconcile
from flows.undo_run import undo_run
from meterbridge.ledger import quarantine
from tasks import set_aside
from tasks.services import ledger_in_use
from tests.flows.billed_month import BilledMonth, asides
from tests.flows.test_law_of_money import again, hand_over, owned


def decide(action, owner, **how):
    """A person decides about the subscription's portion."""
    with ledger_in_use() as ledger, ledger.write() as tx:
        [row] = [row for row in quarantine.list(tx) if row.key[1:] == (owner,)]
        getattr(set_aside, action)(tx, row, **how)
        tx.commit()


def undone_and_moved(open_sandbox):
    """The bill's lines were taken off by a person and belong to another subscription by now."""
    month = BilledMonth(open_sandbox, charge=False)
    undo_run.fn(month.charge().flow_run_id, "ann")
    assert month.ours() == []
    hand_over(month)
    again(month)
    return month


def test_a_line_that_was_undone_and_moved_is_asked_about(open_sandbox):
    month = undone_and_moved(open_sandbox)
    for _ in range(2):
        report = month.charge()
        assert (report.writes, asides(report), owned(month)) == (0, [("MB-UNDONE", month.total())], {})
    assert reconcile.fn().differences == 0
    decide("retry", "sub-heir")
    month.charge()
    assert owned(month) == {"sub-heir": month.total()}
    assert (month.charge().writes, month.charge().quarantined) == (0, [])


def test_a_line_that_was_undone_moved_and_dismissed_is_settled(open_sandbox):
    month = undone_and_moved(open_sandbox)
    month.charge()
    decide("dismiss", "sub-heir", by="ann", note="charged by hand")
    assert (month.charge().writes, month.charge().quarantined, owned(month)) == (0, [], {})
    lines = month.bill["lineItems"]
    month.recalculate(lines[0]["convertedSubtotal"] + 2, *(line["convertedSubtotal"] for line in lines[1:]))
    month.charge()
    assert owned(month) == {"sub-heir": 200}


@pytest.mark.parametrize("how", ["voided", "undone"])
def test_a_line_that_was_settled_and_moved_is_not_charged_without_being_asked(open_sandbox, how):
    month = BilledMonth(open_sandbox, charge=False)
    if how == "voided":
        month.charge()
        month.void(month.close())
        month.charge()
    else:
        undo_run.fn(month.charge().flow_run_id, "ann")
    before = owned(month)
    decide("dismiss", "sub-single", by="ann", note="charged by hand")
    hand_over(month)
    again(month)
    for _ in range(2):
        month.charge()
        assert owned(month) == before
