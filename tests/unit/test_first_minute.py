"""A change in the first minute of a term: what was there had that time, and both sides of the change meet."""

from dataclasses import replace
from datetime import timedelta

import pytest

from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.histories import Moment, decide_through
from meterbridge.rules.records import Quarantined
from tests.unit.plan_world import ACCOUNTS, APR, MAR, MAY, PLANS, case, codes, item, known, sub, writes

SECOND = timedelta(seconds=1)
FIRST_MINUTE = [1, 30, 59, 60, 61]


def changed(seconds, *items, started=MAR, **more):
    """The subscription after a change so long after its term began; the term began with it unless it started before."""
    at = MAR + seconds * SECOND
    values = {"started_at": started, "current_term_start": MAR, "current_term_end": APR, "updated_at": at}
    return sub(items=items, **(values | more))


def decided(subscription, *plans):
    return decide_customer(case(subscription, plans=plans), ACCOUNTS, PLANS)


@pytest.mark.parametrize("seconds", FIRST_MINUTE)
@pytest.mark.parametrize(
    ("new", "action"), [pytest.param("api-pro", "replace", id="its-product"), pytest.param("sms", None, id="another")]
)
def test_an_account_plan_of_the_term_ends_where_its_successor_starts(seconds, new, action):
    at = MAR + seconds * SECOND
    found = writes(decided(changed(seconds, new), known(start=MAR)))
    ended = [("update", "s1.api.1", MAR, at)] if action is None else []
    assert sorted(found) == sorted([*ended, (action or "create", f"s1.{new}.1", at, None)])


@pytest.mark.parametrize("seconds", FIRST_MINUTE)
def test_another_quantity_counts_from_its_own_second(seconds):
    found = writes(decided(changed(seconds, item(quantity="5")), known(start=MAR)))
    assert found == [("replace", "s1.api.2", MAR + seconds * SECOND, None)]


@pytest.mark.parametrize("seconds", [0, 1, 30, 59, 60])
@pytest.mark.parametrize("new", ["api-pro", "sms"])
def test_what_stood_before_the_term_ends_with_it(seconds, new):
    found = writes(decided(changed(seconds, new, started=MAR - 90 * timedelta(days=1)), known()))
    assert found[-1][1:] == (f"s1.{new}.1", MAR, None)
    assert len(found) == (1 if new == "api-pro" else 2)
    assert all(end == MAR for _, _, _, end in found[:-1])


def test_a_successor_of_the_same_second_takes_over_in_place():
    assert writes(decided(changed(0, "api-pro"), known(start=MAR))) == [("update", "s1.api-pro.1", MAR, None)]


def stuck(decisions):
    (aside,) = [one for one in decisions if isinstance(one, Quarantined)]
    assert (aside.code, aside.key) == ("MB-PLAN-BILLED", ("s1", "api", "1"))
    return aside


def test_what_would_have_no_time_at_all_stays_set_aside_whatever_comes_later():
    aside = stuck(decided(changed(0, "sms"), known(start=MAR)))
    assert aside.due == MAR
    left = known(start=MAR, due=aside.due, due_by=aside.source_version)
    support = known("sms.1", MAR, items=("sms",), terms=known("sms.1", owner=changed(0, "sms")).terms)
    later = changed(0, "sms", updated_at=MAY, current_term_start=APR, current_term_end=MAY, resource_version=9)
    now = replace(PLANS, now=MAY)
    decisions = decide_customer(case(later, plans=[left, support]), ACCOUNTS, now)
    assert stuck(decisions) == aside  # and so what a person dismissed stays dismissed
    assert [one for one in writes(decisions) if one[1].startswith("s1.api")] == []


def test_a_later_version_in_the_same_run_does_not_move_its_end_either():
    versions = [changed(0, "sms", resource_version=6)]
    moments = [Moment(one, MAR, MAR) for one in versions]
    later = changed(0, "sms", updated_at=MAR + 10 * timedelta(days=1), resource_version=9)
    decisions = decide_through(case(later, plans=[known(start=MAR)]), moments, ACCOUNTS, PLANS)
    assert stuck(decisions).due == MAR
    assert codes(decisions) == [("MB-PLAN-BILLED", "s1.api.1")]


def test_an_item_that_left_before_it_came_stays_set_aside_too():
    aside = stuck(
        decide_customer(case(backdated(), plans=[known(start=MAR)], changed_at={"s1": MAR - SECOND}), ACCOUNTS, PLANS)
    )
    left = known(start=MAR, due=aside.due, due_by=aside.source_version)
    later = replace(backdated(), updated_at=MAR + 5 * timedelta(days=1), resource_version=9)
    assert stuck(decide_customer(case(later, plans=[left]), ACCOUNTS, PLANS)).due == MAR - SECOND


def backdated():
    """A change that counts from before the account plan's start: the item had been gone when it came."""
    return changed(0, "sms", started=MAR - 90 * timedelta(days=1), current_term_start=MAR - 20 * timedelta(days=1))


@pytest.mark.parametrize("seconds", [0, *FIRST_MINUTE])
@pytest.mark.parametrize("new", ["api-pro", "sms"])
def test_read_in_one_run_or_after_each_change_both_meet(seconds, new):
    """Created and changed between two runs: only what had no time at all is not made."""
    first = changed(0, "api", resource_version=4)
    moment = Moment(first, MAR)
    decisions = decide_through(case(changed(seconds, new)), [moment], ACCOUNTS, PLANS)
    at = MAR + seconds * SECOND
    had_time = [("create", "s1.api.1", MAR, at)] if seconds else []
    assert sorted(writes(decisions)) == sorted([*had_time, ("create", f"s1.{new}.1", at, None)])
    assert codes(decisions) == []


def test_what_was_to_start_and_had_no_time_gets_no_mapping():
    moment = Moment(changed(0, "api", resource_version=4), MAR)
    decisions = decide_through(case(changed(0, "sms")), [moment], ACCOUNTS, PLANS)
    mapped = [one.key for one in decisions if one.kind == "external_mapping" and one.key[0] == "AccountPlan"]
    assert mapped == [("AccountPlan", "s1-sms", "1")]
