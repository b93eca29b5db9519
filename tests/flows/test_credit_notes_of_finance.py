"""Finance credits an invoice by hand, then its bill is corrected: what was given back is not taken off once more."""

import pytest

from flows.reconcile import reconcile
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.billed_month import BilledMonth, asides

MONTH_OF_40 = ("33", "7")


def paid_month(open_sandbox, **more):
    """April charged at 57.00, closed and paid; May has a bill of 40.00 to come."""
    month = BilledMonth(open_sandbox, **more)
    month.recalculate("50", "7")
    month.charge()
    final = month.close()
    return month, month.save_invoice(final, status="paid", amount_paid=final["total"])


def note_by_hand(month, final, amount, shown="issued_credit_notes", status="refunded"):
    """As Chargebee shows a note that somebody gave in its user interface, or a refund's."""
    notes = [*final.get(shown, []), {"cn_id": "CN-77", "cn_total": amount, "cn_status": status}]
    return month.save_invoice(final, **{shown: notes})


@pytest.mark.parametrize("shown", ["issued_credit_notes", "adjustment_credit_notes"])
@pytest.mark.parametrize(("given", "left"), [(2_000, "0.00"), (500, "15.00")])
def test_nothing_is_netted_and_the_note_is_named(open_sandbox, shown, given, left):
    month, final = paid_month(open_sandbox)
    note_by_hand(month, final, given, shown)
    month.recalculate("30", "7")
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -2_000)]
    use_and_bill(month.world)
    month.recalculate(*MONTH_OF_40, bill=month.bills[1])
    for _ in range(2):
        report = month.charge()
        assert asides(report) == [("MB-BILL-CHANGED", -2_000)]
        [row] = report.quarantined
        assert "CN-77" in row["message"]
        assert f"{left} EUR are left" in row["message"]
        assert sum(month.ours(month.draft)) == 4_000  # May in full
    assert (report.writes, reconcile.fn().differences) == (0, 0)


def test_a_note_that_was_voided_counts_nothing(open_sandbox):
    month, final = paid_month(open_sandbox)
    note_by_hand(month, final, 2_000, status="voided")
    month.recalculate("30", "7")
    month.charge()
    use_and_bill(month.world)
    month.recalculate(*MONTH_OF_40, bill=month.bills[1])
    assert month.charge().quarantined == []
    assert sum(month.ours(month.draft)) == 2_000


def test_a_note_by_hand_after_the_surplus_was_set_aside(open_sandbox):
    month, final = paid_month(open_sandbox)
    month.recalculate("30", "7")
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -2_000)]
    note_by_hand(month, final, 2_000)
    use_and_bill(month.world)
    month.recalculate(*MONTH_OF_40, bill=month.bills[1])
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -2_000)]
    assert sum(month.ours(month.draft)) == 4_000


def test_a_setting_gives_no_credit_of_ours_beside_it(open_sandbox):
    month, final = paid_month(open_sandbox, METERBRIDGE_NEGATIVE_DELTA="credit_note")
    note_by_hand(month, final, 2_000)
    month.recalculate("30", "7")
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -2_000)]
    assert list(month.world.chargebee.credit_notes.rows()) == []


def test_a_credit_note_of_ours_is_none_of_finances(open_sandbox):
    month, _ = paid_month(open_sandbox, METERBRIDGE_NEGATIVE_DELTA="credit_note")
    month.recalculate("45", "7")
    assert month.charge().quarantined == []
    month.recalculate("40", "7")
    assert month.charge().quarantined == []
    notes = sorted(row["total"] for row in month.world.chargebee.credit_notes.rows())
    [invoice] = [row for row in month.invoices if row.get("issued_credit_notes")]
    assert (notes, sorted(one["cn_total"] for one in invoice["issued_credit_notes"])) == ([500, 500], [500, 500])
    assert (month.charge().writes, reconcile.fn().differences) == (0, 0)
