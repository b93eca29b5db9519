"""Credits of our own, by setting: given once, counted against their portion, found again when the ledger is lost."""

import pytest

from flows.reconcile import reconcile
from meterbridge.errors import RetriableError
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.billed_month import BilledMonth, asides, lose_ledger


def test_a_negative_portion_becomes_one_promotional_credit(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_NEGATIVE="promotional_credit")
    month.recalculate("1", "-2.5")
    month.world.faults.add([{"match": {"path": "/promotional_credits/add"}, "harm": "commit_then_drop", "times": -1}])
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()
    month.pass_days(1)  # the vendor has forgotten our key by now
    assert month.charge().quarantined == []
    given = list(month.world.chargebee.promotional_credits.rows())
    assert [(one["amount"], one["customer_id"]) for one in given] == [(150, "cust-single")]
    assert month.charge().writes == 0
    assert reconcile.fn().differences == 0
    lose_ledger()
    month.charge()
    assert len(list(month.world.chargebee.promotional_credits.rows())) == 1
    month.recalculate("3", "-2.5")
    assert month.charge().quarantined == []
    assert sum(month.ours()) == 200  # the credit is given: 2.00 less it make the 0.50 that is wanted


def test_a_credit_on_which_a_person_wrote_is_found_again(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_NEGATIVE="promotional_credit")
    month.recalculate("1", "-2.5")
    month.charge()
    chargebee = month.world.chargebee
    [given] = chargebee.promotional_credits.rows()
    with month.world.lock:
        told = f"{given['description']} (see the mail of 3 May)"
        chargebee.save(chargebee.promotional_credits, given | {"description": told})
    lose_ledger()
    month.pass_days(1)
    month.charge()
    assert [one["id"] for one in chargebee.promotional_credits.rows()] == [given["id"]]


@pytest.mark.parametrize("paid", [False, True], ids=["unpaid", "paid"])
def test_a_surplus_becomes_one_credit_note_on_the_closed_invoice(open_sandbox, paid):
    month = BilledMonth(open_sandbox, METERBRIDGE_NEGATIVE_DELTA="credit_note")
    month.recalculate("50", "7")
    month.charge()
    final = month.close()
    if paid:
        month.save_invoice(final, status="paid", amount_paid=final["total"])
    month.recalculate("45", "7")
    assert month.charge().quarantined == []
    [note] = month.world.chargebee.credit_notes.rows()
    assert (note["total"], note["reference_invoice_id"]) == (500, final["id"])
    assert note["type"] == ("refundable" if paid else "adjustment")
    use_and_bill(month.world)
    assert asides(month.charge()) == []
    assert sum(month.ours()) == 5700 + month.total(month.bills[1])
    assert len(list(month.world.chargebee.credit_notes.rows())) == 1
