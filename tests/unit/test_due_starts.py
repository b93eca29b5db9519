"""A start or end that was set aside stays due at its instant, whatever version of the subscription comes later."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.histories import Moment, decide_through
from meterbridge.rules.plan_intents import due_of
from meterbridge.rules.records import Intent
from tests.unit.plan_world import ACCOUNTS, APR, FEB, JAN, MAR, MID, NOW, PLANS, case, item, known, of_kind, sub, writes

LATER = sub(items=("api", "sms"), updated_at=NOW - timedelta(days=1), resource_version=9)


def decided(subscription, *plans, **due_starts):
    starts = {("s1", name.replace("_", "-")): at for name, at in due_starts.items()}
    return decide_customer(case(subscription, plans=plans, due_starts=starts), ACCOUNTS, PLANS)


def test_an_item_that_joined_starts_when_it_joined():
    assert writes(decided(LATER, known(), sms=MID)) == [("create", "s1.sms.1", MID, None)]


def test_an_item_never_starts_before_its_subscription():
    late = replace(LATER, started_at=MAR)
    assert writes(decided(late, known(start=MAR), sms=FEB)) == [("create", "s1.sms.1", MAR, None)]


def test_another_quantity_counts_from_its_change():
    bigger = replace(LATER, items=(item(quantity="5"),))
    assert writes(decided(bigger, known(), api=MID)) == [("replace", "s1.api.2", MID, None)]


def test_an_item_that_came_in_place_of_another_replaces_it_at_the_change():
    assert writes(decided(replace(LATER, items=(item("api-pro"),)), known(), api_pro=MID)) == [
        ("replace", "s1.api-pro.1", MID, None)
    ]


def test_an_item_that_left_ends_when_it_left_and_its_successor_starts_there():
    found = writes(decided(replace(LATER, items=(item("sms"),)), known(due=MID, due_by=6), sms=MID))
    assert sorted(found) == [("create", "s1.sms.1", MID, None), ("update", "s1.api.1", JAN, MID)]


def test_what_left_before_another_came_is_no_swap():
    swapped = replace(LATER, items=(item("api-pro"),))
    found = writes(decided(swapped, known(due=MID, due_by=6)))
    assert sorted(found) == [("create", "s1.api-pro.1", LATER.updated_at, None), ("update", "s1.api.1", JAN, MID)]


def test_an_end_to_come_that_could_not_be_set_does_not_keep_a_swap_from_being_one():
    found = writes(decided(replace(LATER, items=(item("api-pro"),)), known(due=APR, due_by=6)))
    assert found == [("replace", "s1.api-pro.1", LATER.updated_at, None)]


def test_what_was_wanted_again_in_between_ends_with_the_last_change():
    back = Moment(replace(LATER, items=(item(),), resource_version=7), MID + timedelta(days=1), MID + timedelta(days=1))
    gone = replace(LATER, items=(item("sms"),))
    world = case(gone, plans=[known(due=MID, due_by=6)], changed_at={"s1": gone.updated_at})
    decisions = decide_through(world, [back], ACCOUNTS, PLANS)
    assert ("update", "s1.api.1", JAN, gone.updated_at) in writes(decisions)


@pytest.mark.parametrize(
    ("subscription", "due"),
    [(LATER, MID), (replace(LATER, items=(item(quantity="5"),)), MID), (replace(LATER, items=()), MID)],
    ids=["create", "replace", "update"],
)
def test_each_write_says_when_it_is_due(subscription, due):
    changed = replace(subscription, updated_at=MID)
    (intent,) = of_kind(decided(changed, known()), "account_plan", Intent)
    assert due_of(intent.kind, intent.action, intent.payload, intent.state) == due
