"""Which changes count, and from when."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from meterbridge.rules.account_plans import decide_customer, plan_terms
from meterbridge.rules.records import (
    Ref,
)
from tests.unit.plan_world import ACCOUNTS, MID, PLANS, TARGETS, case, codes, item, known, plan_intents, sub, writes

# --- replace_on, changed_at ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replace_on", "subscription", "replaced"),
    [
        pytest.param("mapped_plan", sub(items=(item(quantity="5"),)), False, id="mapped-plan-ignores-quantity"),
        pytest.param("material", sub(items=(item(quantity="5"),)), True, id="material-sees-quantity"),
        pytest.param("material", sub(resource_version=6), False, id="material-ignores-the-rest"),
        pytest.param("any_change", sub(resource_version=6), True, id="any-change-sees-all"),
        pytest.param("any_change", sub(), False, id="any-change-without-one"),
    ],
)
def test_replace_on(replace_on, subscription, replaced):
    policy = replace(PLANS, replace_on=replace_on)
    made = known(terms=plan_terms(sub(), item(), TARGETS["api"], policy))
    assert bool(plan_intents(subscription, plans=[made], policy=policy)) is replaced


def test_another_replace_on_alone_replaces_nothing():
    policy = replace(PLANS, replace_on="any_change")
    assert plan_intents(sub(resource_version=9), plans=[known()], policy=policy) == []


def test_the_event_s_instant_comes_before_updated_at():
    (intent,) = plan_intents(
        sub(items=(item(quantity="5"),)), plans=[known()], changed_at={"s1": datetime(2026, 3, 10, 8, tzinfo=UTC)}
    )
    assert intent.payload["startDate"] == "2026-03-10T08:00:00Z"


def test_a_moved_subscription_ends_there_before_it_starts_here():
    end, start = plan_intents(sub(), plans=[known(account_id="A0", customer_id="old")])
    assert (end.scope, end.payload) == (
        "account:old",
        {"id": "AP-s1-api.1", "endDate": "2026-03-15T12:30:00Z", "childBillingMode": "PARENT_BREAKDOWN"},
    )
    assert end.state["account_id"] == "A0"
    assert (start.scope, start.payload["accountId"]) == ("account:acme", "A1")
    assert start.depends_on == (Ref("account_plan", ("s1", "api", "1")),)


def test_an_item_that_failed_at_first_starts_with_the_others_not_at_the_last_change():
    both = sub(items=("api", "sms"))
    (intent,) = plan_intents(both, plans=[known(items=("api", "sms"))])
    assert (intent.key, intent.payload["startDate"]) == (("s1", "sms", "1"), "2026-01-01T00:00:00Z")


def test_an_item_of_unknown_age_on_an_ended_subscription_is_set_aside():
    ended = sub("cancelled", items=("api", "sms"), cancelled_at=MID)
    decisions = decide_customer(case(ended, plans=[known(end=MID)]), ACCOUNTS, PLANS)
    assert writes(decisions) == []
    assert codes(decisions) == [("MB-RECORD", "s1.sms.1")]


SEATS = {**TARGETS, "api": replace(TARGETS["api"], replace_on="mapped_plan")}


@pytest.mark.parametrize("terms", ["PLAN-API", None], ids=["written-so", "written-under-the-setting"])
def test_another_quantity_replaces_nothing_where_the_catalog_says_so(terms):
    plan = known() if terms is None else known(terms=terms)
    fields = {"plans": [plan], "targets": SEATS}
    assert plan_intents(sub(items=(item(quantity="4"),)), **fields) == []
    (moved,) = plan_intents(sub(items=("api-pro",)), **fields)
    assert moved.action == "replace"
