"""Lines of plans that fit two subscriptions, or none: whose they are, and that no minor unit is lost."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.placing import place_lines
from tests.unit.bill_world import APRIL, MARCH, bill, case, line, plan, policy, told

TENTH = MARCH + timedelta(days=10)
AGAIN = replace(plan(2, start=TENTH), plan_id="plan1")
"""Cancelled on the tenth day, and subscribed again at once: both subscriptions are on plan1."""
BOTH = (plan(1, end=TENTH), AGAIN)


def placed(*lines, plans=BOTH, **changes):
    found, unplaced = place_lines(case(bill(*lines), plans=plans), policy(**changes), 2)
    return [(one.subscription_id, str(one.line.amount), one.start, one.end) for one in found], unplaced


@pytest.mark.parametrize("amount", ["31", "-31", "0.01", "31.005", "0.005"])
def test_a_charge_for_time_is_cut_where_the_account_plans_end_and_begin(amount):
    found, unplaced = placed(line("l1", amount, line_item_type="STANDING_CHARGE"))
    assert unplaced == []
    assert sum(Decimal(one[1]) for one in found) == Decimal(amount)
    periods = {"sub1": (MARCH, TENTH), "sub2": (TENTH, APRIL)}
    assert all((start, end) == periods[name] for name, _, start, end in found)
    if amount == "31":
        assert [one[:2] for one in found] == [("sub1", "10.00"), ("sub2", "21.00")]


def test_usage_goes_where_the_larger_part_of_the_time_is_and_says_so():
    found, unplaced = placed(line("l1", "31"))
    assert (found, unplaced) == ([("sub2", "31", MARCH, APRIL)], [])
    [intent] = decide_bill(case(bill(line("l1", "31")), plans=BOTH), policy())
    assert (intent.key[1], intent.amount) == ("sub2", 3_100)
    assert "line l1 is of sub1, sub2, one after the other: sub2 has most of its time" in intent.reason


def test_two_at_the_same_time_are_for_a_person_or_the_setting():
    plans = (plan(1), replace(plan(2), plan_id="plan1"))
    found, [unplaced] = placed(line("l1", "31"), plans=plans)
    assert (found, unplaced.candidates) == ([], ("sub1", "sub2"))
    found, unplaced = placed(line("l1", "31"), plans=plans, main_subscription={"cust": "sub2"})
    assert ([one[0] for one in found], unplaced) == (["sub2"], [])
    _, [unplaced] = placed(line("l1", "31"), plans=plans, main_subscription={"cust": "sub9"})
    assert unplaced.candidates == ("sub1", "sub2")


BY_HAND = line("l2", "7", 2, plan="by-hand", product="p9")


def test_a_plan_attached_by_hand_goes_to_the_only_subscription():
    decisions = decide_bill(case(bill(line("l1", "50"), BY_HAND), plans=(plan(1),)), policy())
    assert told(decisions) == [("create", "sub1", 5_000), ("create", "sub1", 700)]
    assert "sub1 is the account's only subscription" in decisions[1].reason


def test_with_several_it_waits_alone_unless_the_setting_says_whose_it_is():
    month = bill(line("l1", "50"), BY_HAND)
    assert told(decide_bill(case(month), policy())) == [("create", "sub1", 5_000), ("MB-BILL-LINE", "", 700)]
    decisions = decide_bill(case(month), policy(main_subscription={"cust": "sub2"}))
    assert told(decisions) == [("create", "sub1", 5_000), ("create", "sub2", 700)]


def test_an_account_of_which_no_plan_is_ours_has_nobody_to_charge():
    found, [unplaced] = placed(BY_HAND, plans=())
    assert (found, unplaced.why) == ([], "no account plan of a Chargebee subscription covers it")


def test_a_plan_of_ours_at_another_time_is_nobody_elses():
    over = replace(plan(2, end=MARCH - timedelta(days=40)), plan_id="by-hand")
    found, [unplaced] = placed(BY_HAND, plans=(plan(1), over))
    assert (found, unplaced.candidates) == ([], ())


def test_who_lived_in_the_period_goes_before_who_ended_long_ago():
    old = plan(2, end=MARCH - timedelta(days=40))
    found, unplaced = placed(BY_HAND, plans=(plan(1), old))
    assert ([one[0] for one in found], unplaced) == (["sub1"], [])
