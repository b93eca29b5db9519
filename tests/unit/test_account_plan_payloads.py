"""What an account plan intent sends, keeps and waits for."""

from dataclasses import replace

import pytest

from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.records import (
    Intent,
    Ref,
    Unchanged,
)
from tests.unit.plan_world import ACCOUNTS, APR, MAY, MID, PLANS, case, item, known, of_kind, plan_intents, sub


def test_payload_of_a_creation():
    (intent,) = plan_intents(sub("non_renewing", cancelled_at=APR))
    assert intent.payload == {
        "accountId": "A1",
        "planId": "PLAN-API",
        "code": "s1-api.1",
        "billEpoch": "2026-03-01",
        "startDate": "2026-01-01T00:00:00Z",
        "endDate": "2026-04-01T00:00:00Z",
        "childBillingMode": "PARENT_BREAKDOWN",
    }
    assert (intent.scope, intent.source_version) == ("account:acme", 5)
    assert {**intent.state, "terms": None} == {
        "account_id": "A1",
        "customer_id": "acme",
        "plan_id": "PLAN-API",
        "product_id": "PROD-API",
        "start": "2026-01-01T00:00:00Z",
        "end": "2026-04-01T00:00:00Z",
        "terms": None,
        "subscription_id": "s1",
        "item_price_id": "api",
        "period": 1,
        "items": ["api"],
        "paused": False,
    }


def test_payload_of_a_replacement_names_old_and_new():
    (intent,) = plan_intents(sub(items=("api-pro",)), plans=[known()])
    assert intent.payload == {
        "id": "AP-s1-api.1",
        "accountId": "A1",
        "planId": "PLAN-PRO",
        "code": "s1-api-pro.1",
        "billEpoch": "2026-03-01",
        "startDate": "2026-03-15T12:30:00Z",
        "childBillingMode": "PARENT_BREAKDOWN",
    }
    assert intent.state["replaces"] == [["s1", "api", "1"]]
    assert intent.warnings == ("tiers and minimum spend start anew at 2026-03-15T12:30:00Z",)


@pytest.mark.parametrize(
    ("subscription", "plan", "payload"),
    [
        pytest.param(sub("cancelled", cancelled_at=MID), known(), {"endDate": "2026-03-15T12:30:00Z"}, id="an-end"),
        pytest.param(sub(), known(end=APR), {"endDate": None}, id="reopened"),
        pytest.param(
            sub("future", started_at=None, start_date=MAY),
            known(start=APR),
            {"startDate": "2026-05-01T00:00:00Z"},
            id="a-start",
        ),
    ],
)
def test_payload_of_an_update_names_what_shall_be_true(subscription, plan, payload):
    (intent,) = plan_intents(subscription, plans=[plan])
    assert intent.payload == {"id": "AP-s1-api.1", **payload, "childBillingMode": "PARENT_BREAKDOWN"}


def test_an_end_keeps_the_terms_it_was_made_under():
    (intent,) = plan_intents(sub("cancelled", items=(item(quantity="5"),), cancelled_at=MID), plans=[known()])
    assert intent.state["terms"] == known().terms


def test_child_billing_is_stated_where_every_owner_is_a_parent():
    policy = replace(PLANS, hierarchy="all_with_child_billing")
    (intent,) = plan_intents(sub(), policy=policy)
    assert intent.payload["childBillingMode"] == "CHILD"


def test_a_new_account_comes_first_and_all_else_waits_for_it():
    decisions = decide_customer(case(sub(), known_account=None), ACCOUNTS, PLANS)
    account, plan, account_mapping, plan_mapping = decisions
    assert [(one.kind, one.action) for one in decisions] == [
        ("account", "create"),
        ("account_plan", "create"),
        ("external_mapping", "create"),
        ("external_mapping", "create"),
    ]
    account_ref, plan_ref = Ref("account", ("acme",)), Ref("account_plan", ("s1", "api", "1"))
    assert plan.payload["accountId"] == account_ref
    assert plan.depends_on == account_mapping.depends_on == (account_ref,)
    assert plan.state["account_id"] == {"$ref": ["account", "acme"]}
    assert plan_mapping.depends_on == (plan_ref,)
    assert account_mapping.payload == {
        "m3terEntity": "Account",
        "m3terId": account_ref,
        "externalSystem": "Chargebee",
        "externalTable": "Customer",
        "externalId": "acme",
    }
    assert plan_mapping.key == ("AccountPlan", "s1-api", "1")
    assert plan_mapping.payload == {
        "m3terEntity": "AccountPlan",
        "m3terId": plan_ref,
        "externalSystem": "Chargebee",
        "externalTable": "Subscription",
        "externalId": "s1-api",
    }
    assert account.scope == plan.scope == account_mapping.scope == "account:acme"


def test_a_mapping_that_failed_is_sent_again_and_one_that_stands_is_not():
    plans = [known()]
    missing = decide_customer(case(sub(), plans=plans), ACCOUNTS, PLANS)
    assert [one.key for one in of_kind(missing, "external_mapping", Intent)] == [
        ("Account", "acme"),
        ("AccountPlan", "s1-api", "1"),
    ]
    keys = frozenset({("Account", "acme"), ("AccountPlan", "s1-api", "1")})
    there = decide_customer(case(sub(), plans=plans, known_mappings=keys), ACCOUNTS, PLANS)
    assert not of_kind(there, "external_mapping", Intent)
    assert len(of_kind(there, "external_mapping", Unchanged)) == 2


def test_a_deleted_account_plan_takes_its_mapping_along():
    ended = sub("in_trial", trial_end=APR, cancelled_at=APR)
    keys = frozenset({("Account", "acme"), ("AccountPlan", "s1-api", "1")})
    decisions = decide_customer(case(ended, plans=[known(start=APR)], known_mappings=keys), ACCOUNTS, PLANS)
    (mapping,) = of_kind(decisions, "external_mapping", Intent)
    assert (mapping.action, mapping.key) == ("delete", ("AccountPlan", "s1-api", "1"))
    assert mapping.depends_on == (Ref("account_plan", ("s1", "api", "1")),)


def test_an_item_that_takes_over_in_place_changes_the_mapping_too():
    keys = frozenset({("Account", "acme"), ("AccountPlan", "s1-api", "1")})
    swapped = case(sub(items=("api-pro",)), plans=[known(start=MID)], known_mappings=keys)
    decisions = decide_customer(swapped, ACCOUNTS, PLANS)
    (plan,) = of_kind(decisions, "account_plan", Intent)
    assert plan.payload["id"] == "AP-s1-api.1"
    assert plan.state["replaces"] == [["s1", "api", "1"]]
    mappings = [(one.action, one.key) for one in of_kind(decisions, "external_mapping", Intent)]
    assert mappings == [
        ("create", ("AccountPlan", "s1-api-pro", "1")),
        ("delete", ("AccountPlan", "s1-api", "1")),
    ]
