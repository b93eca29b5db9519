"""Without a ledger, nothing is charged beside a line of ours for the same days that no charge claims."""

from datetime import timedelta

import pytest

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.records import ChargeRule, Intent, StandingLine
from meterbridge.rules.unclaimed import hold_suspects, suspects
from tests.unit.bill_world import APRIL, MARCH, MAY, bill, case, draft, line, policy, told
from tests.unit.test_bills_adoption import booked, mark

ITEM = (ChargeRule("usage-EUR", product="p1"),)
ONE = bill(line("l1", "5"))
TWO = bill(line("l1", "5"), line("l2", "3", 2))
STRAY = "Support, 1 month [mb:0123456789ab]"


def decide(the_bill, *lines, rules=ITEM, **changes):
    """What comes of a bill beside these lines on a paid invoice."""
    world = case(
        the_bill,
        **{"known": False, "invoices": (draft(1, *lines, id="INV-1", status="paid"), draft(1), draft(2)), **changes},
    )
    the_policy = policy(charges=rules)
    decided = decide_bill(world, the_policy)
    return hold_suspects(decided, suspects(world, decided, the_policy))


def test_a_line_of_ours_for_the_same_days_that_no_charge_claims_holds_the_portion():
    [aside] = decide(ONE, booked("li1", 1500, STRAY))
    assert told([aside]) == [("MB-BILL-CHANGED", "sub1", 500)]
    assert "would charge 5.00 EUR" in aside.message
    assert "line li1 of invoice INV-1 (15.00 EUR)" in aside.message


def test_it_is_held_whole_so_that_what_was_found_of_it_is_found_again():
    found = booked("li2", 500, mark(TWO))
    assert told(decide(TWO, found, booked("li1", 1500, STRAY), rules=())) == [("MB-BILL-CHANGED", "sub1", 800)]


def test_other_portions_go_on():
    both = bill(line("l1", "5"), line("l2", "3", 2, plan="plan2"))
    assert told(decide(both, booked("li1", 1500, STRAY))) == [("create", "sub2", 300), ("MB-BILL-CHANGED", "sub1", 500)]


@pytest.mark.parametrize(
    ("stray", "changes"),
    [
        pytest.param(booked("li1", 1500, STRAY, start=APRIL, last=MAY), {}, id="other-days"),
        pytest.param(booked("li1", 1500, STRAY, owner="sub2"), {}, id="another-subscription"),
        pytest.param(booked("li1", 1500, "typed in by a person"), {}, id="without-our-reference"),
        pytest.param(booked("li1", 1500, STRAY), {"owned_lines": frozenset({"li1"})}, id="another-bills"),
        pytest.param(booked("li1", 1500, STRAY), {"known": True}, id="the-ledger-knows-the-bill"),
        pytest.param(
            booked("li1", 1500, item="usage-EUR", last=MAY), {}, id="an-item-on-an-invoice-that-is-not-mapped"
        ),
        pytest.param(booked("li1", 1500, item="other", last=MAY), {}, id="an-item-that-is-not-ours"),
    ],
)
def test_any_other_line_holds_nothing(stray, changes):
    assert told(decide(ONE, stray, **changes)) == [("create", "sub1", 500)]


def test_an_item_of_ours_on_an_invoice_that_m3ter_maps_the_bill_to_counts():
    stray = booked("li1", 1500, item="usage-EUR", last=APRIL - timedelta(days=12))
    assert told(decide(ONE, stray, marks=("INV-1",))) == [("MB-BILL-CHANGED", "sub1", 500)]


def test_a_bill_that_m3ter_maps_to_an_invoice_and_of_which_nothing_stands_is_not_charged_again():
    [aside] = decide(ONE, marks=("INV-9",))
    assert told([aside]) == [("MB-LINE-CHANGED", "sub1", 500)]
    assert "INV-9" in aside.message
    assert told(decide(TWO, booked("li2", 500, mark(TWO)), rules=(), marks=("INV-1",))) == [
        ("adopt", "sub1", 500),
        ("create", "sub1", 300),
    ]


def test_a_line_that_another_bill_of_the_run_takes_over_is_claimed():
    world = case(ONE, known=False, invoices=(draft(1, booked("li1", 1500, STRAY)),))
    decided = decide_bill(world, policy())
    found = list(suspects(world, decided, policy()))
    other = Intent("charge", ("bill2", "sub1", "x"), "adopt", "chargebee", {"line_id": "li1"}, "", "", "")
    assert told(hold_suspects([*decided, other], found))[0] == ("create", "sub1", 500)
    assert told(hold_suspects(decided, found)) == [("MB-BILL-CHANGED", "sub1", 500)]


def test_a_portion_set_aside_is_looked_for_again_though_the_others_were_taken_over():
    both = bill(line("l1", "5"), line("l2", "3", 2, plan="plan2"))
    [_, second] = (one for one in decide_bill(case(both), policy()) if isinstance(one, Intent))
    ours = StandingLine(second.key, "bill1", "sub2", "INV-2", "li9", 300, "EUR", "", adopted=True)
    again = decide(both, standing=(ours,), mapped_invoice_lines={"l1": "li-gone"}, rules=())
    assert told(again) == [("MB-LINE-CHANGED", "sub1", 500), ("unchanged", "sub2")]


def test_days_are_those_of_the_charge():
    before = booked("li1", 1500, STRAY, start=MARCH - timedelta(days=31), last=MARCH - timedelta(seconds=1))
    assert told(decide(ONE, before)) == [("create", "sub1", 500)]
    assert told(decide(ONE, booked("li1", 1500, STRAY, start=None))) == [("MB-BILL-CHANGED", "sub1", 500)]
