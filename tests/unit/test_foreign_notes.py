"""A surplus on an invoice that finance credited by hand stays with a person."""

import pytest

from meterbridge.rules.bills import decide_bill, decide_vanished
from meterbridge.rules.carry import carry_over
from meterbridge.rules.records import Intent, InvoiceNote
from tests.unit.bill_world import FIVE, applied, bill, case, charged, draft, line, policy

NOTE = InvoiceNote("CN-9", 60)


def closed(*notes, **changes):
    return draft(1, status="paid", foreign_notes=notes, **changes)


def corrected(*notes, amount="4", **world):
    known = {"standing": applied(case(FIVE)), "invoices": (closed(*notes),)}
    return case(bill(line("l1", amount)), **known | world)


@pytest.mark.parametrize(
    ("notes", "surplus", "left"),
    [([], 100, None), ([NOTE], 0, "0.40 EUR"), ([NOTE, InvoiceNote("CN-10", 90)], 0, "0.00 EUR")],
)
def test_nothing_of_it_is_netted(notes, surplus, left):
    [aside] = decide_bill(corrected(*notes), policy())
    assert (aside.code, aside.amount, aside.surplus) == ("MB-BILL-CHANGED", -100, surplus)
    assert all(note.id in aside.message for note in notes)
    assert left is None or f"beyond it {left} are left" in aside.message


def test_a_bill_that_was_deleted_lowers_no_other_one_either():
    [aside] = decide_vanished(case(FIVE, standing=charged(FIVE), invoices=(closed(NOTE),)))
    assert (aside.code, aside.amount, aside.surplus) == ("MB-BILL-DELETED", 500, 0)


def test_another_invoices_note_is_no_matter():
    other = draft(2, status="paid", foreign_notes=(NOTE,))
    [aside] = decide_bill(corrected(invoices=(closed(), other)), policy())
    assert aside.surplus == 100


def test_by_setting_no_credit_is_given_but_one_that_a_lost_ledger_may_have_given_is_looked_for():
    by_note = policy(negative_delta="credit_note")
    kinds = {
        known: [type(one) is Intent for one in decide_bill(corrected(InvoiceNote("CN-9", 100), known=known), by_note)]
        for known in (True, False)
    }
    assert kinds[True] == [False]
    assert True in kinds[False]


def test_a_new_charge_of_another_bill_keeps_its_amount():
    new = bill(line("l2", "9"), id="bill2")
    charge = decide_bill(case(new, invoices=(draft(1, id="next"),)), policy())
    after = carry_over([*decide_bill(corrected(NOTE), policy()), *charge])
    assert [one.amount for one in after] == [-100, 900]
