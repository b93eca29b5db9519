"""An account plan of what begins and moves between two runs begins on the new customer's account.

Both may be of one instant: then nothing is left for the account in between, and nothing of it is at m3ter yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from meterbridge.rules.histories import Moment, decide_through
from meterbridge.rules.records import Customer, Decision, Intent, KnownAccount, Subscription
from tests.unit.plan_world import (
    ACCOUNTS,
    ACME,
    DAY,
    FEB,
    JAN,
    MAR,
    MID,
    PLANS,
    case,
    codes,
    item,
    known,
    of_kind,
    sub,
    writes,
)

HEIR: Customer = replace(ACME, id="heir", name="Heir Ltd")
SECOND = timedelta(seconds=1)
ENDED = known(end=FEB)
PAUSED = known(end=FEB, paused=True)
REACTIVATED = sub(activated_at=MID, current_term_start=MID)
RESUMED = sub(resume_date=MID)
JOINED = sub(items=("api", "sms"))
BIGGER = sub(items=(item(quantity="5"),))


def moved_on(changed: Subscription, at, plans) -> list[Decision]:
    """Decide for the new owner of what changed at MID and was moved at ``at``; events told of the change."""
    moved = replace(changed, customer_id="heir", updated_at=at, resource_version=6)
    world = case(moved, customer=HEIR, plans=plans, known_account=None, changed_at={"s1": at})
    return decide_through(world, [Moment(changed, MID, MID)], ACCOUNTS, PLANS)


def created(decisions: Sequence[Decision]) -> list[tuple]:
    """(item, customer, start, end) of each account plan that begins."""
    intents = of_kind(decisions, "account_plan", Intent)
    rows = zip(intents, writes(decisions), strict=True)
    begun = [(one, row) for one, row in rows if one.action in ("create", "replace")]
    return sorted((one.key[1], one.state["customer_id"], start, end) for one, (_, _, start, end) in begun)


@pytest.mark.parametrize(
    ("changed", "plans", "name"),
    [
        pytest.param(REACTIVATED, [ENDED], "api", id="reactivated"),
        pytest.param(RESUMED, [PAUSED], "api", id="resumed"),
        pytest.param(BIGGER, [known()], "api", id="another-quantity"),
        pytest.param(JOINED, [known(items=("api",))], "sms", id="an-item-joined"),
    ],
)
@pytest.mark.parametrize("later", [timedelta(0), SECOND, DAY], ids=["at-once", "a-second-later", "a-day-later"])
def test_what_began_and_moved_goes_on_at_the_new_owner(changed, plans, name, later):
    at = MID + later
    decisions = moved_on(changed, at, plans)
    former = [(name, "acme", MID, at)] if later else []
    found = [row for row in created(decisions) if row[0] == name]
    assert found == sorted([*former, (name, "heir", at, None)])
    assert codes(decisions) == []


def test_each_account_plan_that_begins_is_mapped_and_no_other():
    decisions = moved_on(REACTIVATED, MID, [ENDED])
    mapped = [one.key for one in decisions if one.kind == "external_mapping" and one.key[0] == "AccountPlan"]
    (begun,) = of_kind(decisions, "account_plan", Intent)
    assert mapped == [("AccountPlan", "s1-api", begun.key[2])]


def test_an_item_that_joined_and_moved_does_not_count_from_the_subscription_s_start():
    assert ("sms", "heir", MID, None) in created(moved_on(JOINED, MID, [known(items=("api",))]))


def test_what_is_at_m3ter_and_has_no_time_is_set_aside_still():
    """A run in between made it: it may have metered, so that a person decides."""
    moved = replace(REACTIVATED, customer_id="heir")
    plans = [ENDED, known("api.2", MID)]
    account = KnownAccount("heir", "A2", "f", "EUR")
    world = case(moved, customer=HEIR, plans=plans, known_account=account, changed_at={"s1": MID})
    decisions = decide_through(world, [], ACCOUNTS, PLANS)
    assert writes(decisions) == []
    assert codes(decisions) == [("MB-PLAN-BILLED", "s1.api.2")]


def test_what_came_and_was_cancelled_at_once_is_never_made():
    moments = [Moment(JOINED, MID, MID)]
    gone = sub("cancelled", items=("api", "sms"), cancelled_at=MID, resource_version=6)
    decisions = decide_through(case(gone, plans=[known(items=("api",))]), moments, ACCOUNTS, PLANS)
    assert writes(decisions) == [("update", "s1.api.1", JAN, MID)]
    assert codes(decisions) == []


def test_a_backdated_cancellation_that_is_taken_back_and_moved_begins_at_the_reactivation():
    early = known(end=MAR)
    assert created(moved_on(REACTIVATED, MID, [early])) == [("api", "heir", MID, None)]


@pytest.mark.parametrize("last", ["third", "acme"], ids=["moved-on-again", "moved-back"])
def test_what_moved_twice_at_once_begins_where_it_came_to_rest(last):
    between = replace(REACTIVATED, customer_id="heir", resource_version=6)
    moved = replace(between, customer_id=last, resource_version=7)
    account = KnownAccount(last, "A1" if last == "acme" else "A3", "f", "EUR")
    owner = replace(ACME, id=last)
    world = case(moved, customer=owner, plans=[ENDED], known_account=account, changed_at={"s1": MID})
    decisions = decide_through(world, [Moment(REACTIVATED, MID, MID), Moment(between, MID)], ACCOUNTS, PLANS)
    assert created(decisions) == [("api", last, MID, None)]
    assert codes(decisions) == []


def test_what_was_never_made_and_comes_again_at_the_new_owner_is_mapped_once():
    added = sub(items=("api", "sms"))
    taken_back = sub(resource_version=6)
    moments = [Moment(added, MID, MID), Moment(taken_back, MID, MID)]
    at = MID + DAY
    moved = sub(items=("api", "sms"), customer_id="heir", updated_at=at, resource_version=7)
    world = case(moved, customer=HEIR, plans=[known(items=("api",))], known_account=None, changed_at={"s1": at})
    decisions = decide_through(world, moments, ACCOUNTS, PLANS)
    assert ("sms", "heir", at, None) in created(decisions)
    mapped = [one.key for one in decisions if one.kind == "external_mapping"]
    assert len(mapped) == len(set(mapped))
    assert {one.scope for one in decisions if isinstance(one, Intent) and one.key[1:2] == ("s1-sms",)} == {
        "account:heir"
    }
