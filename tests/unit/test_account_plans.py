"""Subscription items become account plans: every state and change as a row; instants and ids by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from meterbridge.rules.account_plans import PlanPolicy, decide_customer, plan_terms
from meterbridge.rules.accounts import AccountPolicy
from meterbridge.rules.records import (
    Address,
    Customer,
    CustomerCase,
    FoundAccount,
    FoundPlan,
    Intent,
    KnownAccount,
    KnownPlan,
    OutOfScope,
    PlanTarget,
    Quarantined,
    Ref,
    Subscription,
    SubscriptionItem,
    Unchanged,
)

DEC, JAN, FEB, MAR, APR, MAY = (
    datetime(2025, 12, 1, tzinfo=UTC),
    *(datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 6)),
)
MID = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)
NOW = datetime(2026, 3, 20, tzinfo=UTC)
DAY = timedelta(days=1)

ACCOUNTS = AccountPolicy("no-mail.example", "invoice_owner", False, frozenset(), frozenset())
PLANS = PlanPolicy("free", "material", "quarantine", False, "invoice_owner", NOW)
ACME = Customer("acme", "Acme Ltd", "ap@acme.example", Address(), "EUR", None, False, 1)
TARGETS = {
    "api": PlanTarget("api", "api-plan", "PLAN-API", "PROD-API", "EUR"),
    "api-pro": PlanTarget("api-pro", "api-pro-plan", "PLAN-PRO", "PROD-API", "EUR"),
    "sms": PlanTarget("sms", "sms-plan", "PLAN-SMS", "PROD-SMS", None),
    "api-usd": PlanTarget("api-usd", "api-usd-plan", "PLAN-USD", "PROD-API", "USD"),
    "gone": PlanTarget("gone", "no-such-plan", None, None, None),
}


def item(name="api", quantity="1"):
    return SubscriptionItem(name, "plan", quantity, 1000, f"terms-{quantity}")


def sub(status="active", name="s1", items=("api",), **fields):
    values = dict.fromkeys(Subscription.__dataclass_fields__)
    values |= {"id": name, "customer_id": "acme", "status": status, "currency": "EUR", "deleted": False}
    values |= {"items": tuple(one if isinstance(one, SubscriptionItem) else item(one) for one in items)}
    values |= {"billing_period": 1, "billing_period_unit": "month", "resource_version": 5, "created_at": JAN}
    values |= {"started_at": JAN, "current_term_start": MAR, "current_term_end": APR, "updated_at": MID}
    return Subscription(**(values | fields))


def known(code="api.1", start=JAN, end=None, owner=None, quantity="1", **fields):
    """The ledger's account plan ``<item price>.<period>`` of s1, made under the terms of then."""
    item_price, period = code.split(".")
    target = TARGETS.get(item_price) or PlanTarget(item_price, item_price, f"PLAN-{item_price}", "PROD-API", "EUR")
    owner = owner or sub()
    values = {
        "subscription_id": owner.id,
        "item_price_id": item_price,
        "period": int(period),
        "account_plan_id": f"AP-{owner.id}-{code}",
        "account_id": "A1",
        "customer_id": "acme",
        "plan_id": target.plan_id,
        "product_id": target.product_id,
        "start": start,
        "end": end,
        "terms": plan_terms(owner, item(item_price, quantity), target, PLANS),
    }
    return KnownPlan(**(values | fields))


def case(*subscriptions, plans=(), customer=ACME, **fields):
    values = {"targets": TARGETS, "known_account": KnownAccount("acme", "A1", "f", "EUR"), "known_plans": tuple(plans)}
    values |= {"found_accounts": (), "found_plans": (), "changed_at": {}}
    return CustomerCase(customer=customer, subscriptions=subscriptions, **(values | fields))


def of_kind(decisions, kind, sort):
    return [one for one in decisions if one.kind == kind and isinstance(one, sort)]


def writes(decisions):
    """(action, subscription.item.period, start, end) of each account plan intent, in order of sending."""
    return [
        (
            one.action,
            ".".join(one.key),
            datetime.fromisoformat(one.state["start"]),
            None if one.state["end"] is None else datetime.fromisoformat(one.state["end"]),
        )
        for one in of_kind(decisions, "account_plan", Intent)
    ]


def codes(decisions):
    return [(one.code, ".".join(one.key)) for one in decisions if isinstance(one, Quarantined)]


# subscription, account plans that stand, expected writes, expected quarantine
TABLE = [
    # --- first seen -----------------------------------------------------------------------
    pytest.param(
        sub("future", started_at=None, start_date=APR),
        [],
        [("create", "s1.api.1", APR, None)],
        [],
        id="future-is-created",
    ),
    pytest.param(sub(), [], [("create", "s1.api.1", JAN, None)], [], id="active-is-created-open"),
    pytest.param(
        sub("non_renewing", cancelled_at=APR), [], [("create", "s1.api.1", JAN, APR)], [], id="non-renewing-has-its-end"
    ),
    pytest.param(
        sub("cancelled", cancelled_at=FEB),
        [],
        [("create", "s1.api.1", JAN, FEB)],
        [],
        id="cancelled-is-kept-for-history",
    ),
    pytest.param(sub("cancelled", cancelled_at=JAN), [], [], [], id="cancelled-at-start-has-no-account-plan"),
    pytest.param(sub(deleted=True), [], [], [], id="deleted-and-never-synced-has-no-account-plan"),
    pytest.param(
        sub("in_trial", trial_end=APR), [], [("create", "s1.api.1", APR, None)], [], id="trial-starts-at-its-end"
    ),
    pytest.param(
        sub("in_trial", trial_end=APR, cancelled_at=APR), [], [], [], id="trial-that-ends-has-no-account-plan"
    ),
    pytest.param(
        sub("paused", pause_date=MAR), [], [("create", "s1.api.1", JAN, MAR)], [], id="paused-ends-at-the-pause"
    ),
    pytest.param(sub("transferred"), [], [("create", "s1.api.1", JAN, MID)], [], id="transferred-ends-at-the-transfer"),
    pytest.param(sub("frozen"), [], [], [("MB-STATUS", "s1.api.1")], id="unknown-status-is-set-aside"),
    pytest.param(
        sub(items=("api", "sms")),
        [],
        [("create", "s1.api.1", JAN, None), ("create", "s1.sms.1", JAN, None)],
        [],
        id="two-items-two-account-plans",
    ),
    pytest.param(
        sub(items=("api", "free")), [], [("create", "s1.api.1", JAN, None)], [], id="unmapped-item-is-skipped"
    ),
    # --- nothing to do ----------------------------------------------------------------------
    pytest.param(sub(), [known()], [], [], id="equal-is-unchanged"),
    pytest.param(sub(updated_at=MAR, current_term_end=APR), [known()], [], [], id="a-renewal-does-not-churn"),
    pytest.param(sub(resource_version=99), [known()], [], [], id="a-card-or-address-change-does-not-churn"),
    pytest.param(sub("cancelled", cancelled_at=FEB), [known(end=FEB)], [], [], id="ended-as-it-should-be"),
    pytest.param(
        sub(activated_at=JAN + timedelta(seconds=5)), [known()], [], [], id="seconds-of-activation-do-not-churn"
    ),
    pytest.param(sub(), [known("api.1", JAN, FEB), known("api.2", FEB)], [], [], id="only-the-latest-period-counts"),
    # --- ends -------------------------------------------------------------------------------
    pytest.param(
        sub("non_renewing", cancelled_at=APR), [known()], [("update", "s1.api.1", JAN, APR)], [], id="will-not-renew"
    ),
    pytest.param(sub("cancelled", cancelled_at=MID), [known()], [("update", "s1.api.1", JAN, MID)], [], id="cancelled"),
    pytest.param(
        sub("cancelled", cancelled_at=MID),
        [known(end=APR)],
        [("update", "s1.api.1", JAN, MID)],
        [],
        id="cancelled-before-the-planned-end",
    ),
    pytest.param(
        sub("cancelled", cancelled_at=MID),
        [known(end=MAR)],
        [("update", "s1.api.1", JAN, MID)],
        [],
        id="cancelled-later-than-planned",
    ),
    pytest.param(
        sub("active", deleted=True), [known()], [("update", "s1.api.1", JAN, MID)], [], id="deleted-ends-at-deletion"
    ),
    pytest.param(
        sub("cancelled", deleted=True, cancelled_at=FEB), [known(end=FEB)], [], [], id="deletion-never-moves-an-end"
    ),
    pytest.param(
        sub("cancelled", deleted=True, cancelled_at=MID), [known(end=FEB)], [], [], id="deletion-keeps-an-earlier-end"
    ),
    pytest.param(
        sub("paused", pause_date=MID), [known()], [("update", "s1.api.1", JAN, MID)], [], id="pause-ends-the-period"
    ),
    pytest.param(
        sub("transferred"), [known()], [("update", "s1.api.1", JAN, MID)], [], id="transfer-ends-the-old-copy"
    ),
    pytest.param(
        sub("cancelled", cancelled_at=FEB),
        [known("api.1", JAN, FEB), known("api.2", FEB, APR)],
        [],
        [("MB-PLAN-BILLED", "s1.api.2")],
        id="an-empty-period-that-started-is-set-aside",
    ),
    pytest.param(
        sub("cancelled", started_at=None, start_date=APR, cancelled_at=MAR),
        [known(start=APR)],
        [("delete", "s1.api.1", APR, None)],
        [],
        id="cancelled-before-start-is-deleted",
    ),
    pytest.param(
        sub("in_trial", trial_end=APR, cancelled_at=APR),
        [known(start=APR)],
        [("delete", "s1.api.1", APR, None)],
        [],
        id="trial-that-will-cancel-loses-its-account-plan",
    ),
    # --- lives on ------------------------------------------------------------------------------
    pytest.param(
        sub(), [known(end=APR)], [("update", "s1.api.1", JAN, None)], [], id="cancellation-taken-back-reopens"
    ),
    pytest.param(
        sub("non_renewing", cancelled_at=MAY),
        [known(end=APR)],
        [("update", "s1.api.1", JAN, MAY)],
        [],
        id="end-moves-later",
    ),
    pytest.param(
        sub(activated_at=MAR), [known(end=FEB)], [("create", "s1.api.2", MAR, None)], [], id="reactivated-starts-anew"
    ),
    pytest.param(
        sub("cancelled", activated_at=MAR, cancelled_at=MID),
        [known(end=FEB)],
        [("create", "s1.api.2", MAR, MID)],
        [],
        id="reactivated-and-cancelled-again",
    ),
    pytest.param(
        sub("cancelled", activated_at=MAR, cancelled_at=MAR), [known(end=FEB)], [], [], id="reactivated-for-no-time"
    ),
    pytest.param(sub(), [known(end=FEB)], [("create", "s1.api.2", MID, None)], [], id="resumed-at-the-change"),
    pytest.param(
        sub(updated_at=MAR + timedelta(seconds=20)),
        [known(end=FEB)],
        [("create", "s1.api.2", MAR, None)],
        [],
        id="resumed-with-a-new-term",
    ),
    pytest.param(
        sub(resume_date=MAR + DAY),
        [known(end=FEB)],
        [("create", "s1.api.2", MAR + DAY, None)],
        [],
        id="resumed-on-its-resume-date",
    ),
    pytest.param(sub("paused", pause_date=FEB), [known(end=FEB)], [], [], id="still-paused"),
    pytest.param(
        sub(updated_at=FEB - DAY),
        [known(end=FEB)],
        [("update", "s1.api.1", JAN, None)],
        [],
        id="cancellation-taken-back-before-it-took-effect",
    ),
    pytest.param(
        sub(updated_at=FEB), [known(end=FEB)], [("update", "s1.api.1", JAN, None)], [], id="taken-back-at-its-very-end"
    ),
    pytest.param(
        sub("future", started_at=None, start_date=MAY, items=("api", "sms")),
        [known(start=APR)],
        [("update", "s1.api.1", MAY, None), ("create", "s1.sms.1", MAY, None)],
        [],
        id="an-item-added-before-the-start-starts-with-it",
    ),
    # --- not yet started ---------------------------------------------------------------------
    pytest.param(
        sub("future", started_at=None, start_date=MAY),
        [known(start=APR)],
        [("update", "s1.api.1", MAY, None)],
        [],
        id="a-future-start-moves",
    ),
    pytest.param(
        sub("in_trial", trial_end=MAY),
        [known(start=APR)],
        [("update", "s1.api.1", MAY, None)],
        [],
        id="a-trial-is-extended",
    ),
    pytest.param(
        sub("active", started_at=MID), [known(start=APR)], [("update", "s1.api.1", MID, None)], [], id="started-early"
    ),
    pytest.param(
        sub("future", started_at=None, start_date=APR, items=(item(quantity="5"),)),
        [known(start=APR)],
        [("update", "s1.api.1", APR, None)],
        [],
        id="a-change-before-the-start-is-made-in-place",
    ),
    pytest.param(
        sub("cancelled", started_at=FEB, cancelled_at=MAR),
        [known(start=APR)],
        [("update", "s1.api.1", FEB, MAR)],
        [],
        id="lived-and-ended-before-the-start-that-was-planned",
    ),
    # --- changes -------------------------------------------------------------------------------
    pytest.param(
        sub(items=(item(quantity="5"),)),
        [known()],
        [("replace", "s1.api.2", MID, None)],
        [],
        id="another-quantity-replaces",
    ),
    pytest.param(
        sub(items=(item(quantity="5"),), updated_at=MAR + timedelta(seconds=30)),
        [known()],
        [("replace", "s1.api.2", MAR, None)],
        [],
        id="a-change-at-term-end-counts-from-the-term",
    ),
    pytest.param(
        sub(billing_period=12),
        [known()],
        [("replace", "s1.api.2", MID, None)],
        [],
        id="another-billing-period-replaces",
    ),
    pytest.param(
        sub("non_renewing", items=(item(quantity="5"),), cancelled_at=APR),
        [known()],
        [("replace", "s1.api.2", MID, APR)],
        [],
        id="changed-and-not-renewing",
    ),
    pytest.param(
        sub("cancelled", items=(item(quantity="5"),), cancelled_at=MID),
        [known()],
        [("update", "s1.api.1", JAN, MID)],
        [],
        id="changed-at-the-end-only-ends",
    ),
    pytest.param(
        sub(items=(item(quantity="5"),)),
        [known(start=MID)],
        [("update", "s1.api.1", MID, None)],
        [],
        id="changed-at-its-start-is-made-in-place",
    ),
    pytest.param(
        sub(items=("api-pro",)),
        [known()],
        [("replace", "s1.api-pro.1", MID, None)],
        [],
        id="another-item-of-the-product-replaces",
    ),
    pytest.param(
        sub(items=("api",)),
        [known("api.1", JAN, FEB), known("api-pro.1", FEB)],
        [("replace", "s1.api.2", MID, None)],
        [],
        id="back-to-the-first-item-is-a-further-period",
    ),
    pytest.param(
        sub(items=("api-pro",)),
        [known(start=MID)],
        [("update", "s1.api-pro.1", MID, None)],
        [],
        id="another-item-at-the-very-start-takes-over",
    ),
    pytest.param(
        sub("future", started_at=None, start_date=APR, items=("api-pro",)),
        [known(start=APR)],
        [("delete", "s1.api.1", APR, None), ("create", "s1.api-pro.1", APR, None)],
        [],
        id="another-item-before-the-start-deletes-and-creates",
    ),
    pytest.param(
        sub(items=("sms",)),
        [known()],
        [("update", "s1.api.1", JAN, MID), ("create", "s1.sms.1", MID, None)],
        [],
        id="an-item-of-another-product-ends-and-creates",
    ),
    pytest.param(
        sub(items=("api", "sms")),
        [known()],
        [("create", "s1.sms.1", MID, None)],
        [],
        id="an-item-added-from-the-change",
    ),
    pytest.param(
        sub(),
        [known(), known("sms.1")],
        [("update", "s1.sms.1", JAN, MID)],
        [],
        id="an-item-removed-ends-at-the-change",
    ),
    pytest.param(
        sub(items=("api", "sms")),
        [known(), known("sms.1", JAN, FEB)],
        [("create", "s1.sms.2", MID, None)],
        [],
        id="an-item-that-comes-back-is-a-further-period",
    ),
    pytest.param(
        sub(),
        [known(plan_id="PLAN-OLD", terms="PLAN-OLD/" + known().terms.split("/")[1])],
        [("replace", "s1.api.2", NOW, None)],
        [],
        id="the-catalog-maps-another-plan-from-now",
    ),
    pytest.param(
        sub(),
        [known(plan_id="PLAN-OLD", product_id="PROD-OLD", terms="PLAN-OLD/" + known().terms.split("/")[1])],
        [("update", "s1.api.1", JAN, NOW), ("create", "s1.api.2", NOW, None)],
        [],
        id="the-catalog-maps-another-product-from-now",
    ),
    pytest.param(
        sub(items=("api", "free")),
        [known(), known("free.1", product_id="PROD-FREE")],
        [("update", "s1.free.1", JAN, NOW)],
        [],
        id="an-item-that-left-the-catalog-ends-now",
    ),
    pytest.param(
        sub(),
        [known(account_id="A0", customer_id="old")],
        [("update", "s1.api.1", JAN, MID), ("create", "s1.api.2", MID, None)],
        [],
        id="moved-to-another-customer-ends-and-creates",
    ),
    # --- set aside ---------------------------------------------------------------------------
    pytest.param(sub(items=("gone",)), [], [], [("MB-PLAN-UNKNOWN", "s1.gone.1")], id="no-such-plan"),
    pytest.param(
        sub(items=("api-usd",)), [], [], [("MB-PLAN-CURRENCY", "s1.api-usd.1")], id="plan-in-another-currency"
    ),
    pytest.param(
        sub(items=("sms",), currency="USD"),
        [],
        [],
        [("MB-ACCOUNT-CURRENCY", "s1.sms.1")],
        id="account-in-another-currency",
    ),
    pytest.param(
        sub("cancelled", items=("gone",), cancelled_at=MID),
        [known("gone.1", plan_id="P", product_id="Q")],
        [("update", "s1.gone.1", JAN, MID)],
        [],
        id="without-a-plan-it-still-ends",
    ),
    pytest.param(
        sub(items=("api", "api-pro")),
        [],
        [("create", "s1.api.1", JAN, None)],
        [("MB-PLAN-OVERLAP", "s1.api-pro.1")],
        id="two-items-of-one-product",
    ),
]


@pytest.mark.parametrize(("subscription", "plans", "expected", "set_aside"), TABLE)
def test_account_plans_follow_the_subscription(subscription, plans, expected, set_aside):
    decisions = decide_customer(case(subscription, plans=plans), ACCOUNTS, PLANS)
    assert writes(decisions) == expected
    assert codes(decisions) == set_aside


def test_the_table_is_broad():
    assert len(TABLE) >= 40


def plan_intents(*subscriptions, policy=PLANS, accounts=ACCOUNTS, **fields):
    return of_kind(decide_customer(case(*subscriptions, **fields), accounts, policy), "account_plan", Intent)


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


# --- adoption -------------------------------------------------------------------------------------


def found(plan="F1", start=JAN, end=None, external=(), plan_id="PLAN-API", code=None):
    return FoundPlan(plan, "A1", plan_id, "PROD-API", code, start, end, tuple(external))


@pytest.mark.parametrize(
    ("subscription", "plans", "expected", "set_aside"),
    [
        pytest.param(sub(), [found(external=["s1-api"])], [("adopt", "s1.api.1", JAN, None)], [], id="mapped"),
        pytest.param(
            sub("cancelled", cancelled_at=FEB),
            [found(external=["s1-api"])],
            [("adopt", "s1.api.1", JAN, FEB)],
            [],
            id="mapped-with-a-wrong-end",
        ),
        pytest.param(
            sub(),
            [found("F2", FEB, None, ["s1-api"]), found("F1", JAN, FEB, ["s1-api"])],
            [("adopt", "s1.api.1", JAN, FEB), ("adopt", "s1.api.2", FEB, None)],
            [],
            id="several-periods-in-order-of-start",
        ),
        pytest.param(
            sub(items=("api-pro",)),
            [found("F2", FEB, None, ["s1-api-pro"], "PLAN-PRO"), found("F1", JAN, FEB, ["s1-api"])],
            [("adopt", "s1.api-pro.1", FEB, None), ("adopt", "s1.api.1", JAN, FEB)],
            [],
            id="an-item-of-the-past-too",
        ),
        pytest.param(sub(), [found(code="s1-api.1")], [("adopt", "s1.api.1", JAN, None)], [], id="our-code-unmapped"),
        pytest.param(sub(), [found(start=DEC)], [("adopt", "s1.api.1", DEC, None)], [], id="unmapped-keeps-its-start"),
        pytest.param(
            sub("cancelled", cancelled_at=MID),
            [found(end=FEB)],
            [("adopt", "s1.api.1", JAN, MID)],
            [],
            id="unmapped-of-our-start-gets-its-end",
        ),
        pytest.param(
            sub(),
            [found(start=DEC, end=JAN)],
            [("create", "s1.api.1", JAN, None)],
            [],
            id="an-old-one-of-another-time-is-not-ours",
        ),
        pytest.param(
            sub(items=("sms",)), [found()], [("create", "s1.sms.1", JAN, None)], [], id="another-plan-is-not-ours"
        ),
        pytest.param(
            sub(),
            [found("F1", DEC), found("F2", JAN, MAR)],
            [],
            [("MB-PLAN-AMBIGUOUS", "s1.api.1")],
            id="two-candidates",
        ),
        pytest.param(
            sub(),
            [found(external=["s1-api"], plan_id="PLAN-OLD")],
            [("adopt", "s1.api.1", JAN, None), ("replace", "s1.api.2", NOW, None)],
            [],
            id="mapped-with-another-plan-is-adopted-and-replaced",
        ),
        pytest.param(
            sub(),
            [found(plan_id="PLAN-BY-HAND")],
            [],
            [("MB-PLAN-OVERLAP", "s1.api.1")],
            id="a-foreign-one-in-the-way",
        ),
    ],
)
def test_account_plans_that_stand_at_m3ter(subscription, plans, expected, set_aside):
    decisions = decide_customer(case(subscription, found_plans=tuple(plans)), ACCOUNTS, PLANS)
    assert writes(decisions) == expected
    assert codes(decisions) == set_aside


def test_a_found_account_brings_its_account_plans_along():
    accounts = (FoundAccount("A1", "acme", "Acme", "EUR", ("acme",)),)
    decisions = decide_customer(
        case(sub(), known_account=None, found_accounts=accounts, found_plans=(found(external=["s1-api"]),)),
        ACCOUNTS,
        PLANS,
    )
    assert [(one.kind, one.action) for one in decisions if isinstance(one, Intent)] == [
        ("account", "adopt"),
        ("account_plan", "adopt"),
        ("external_mapping", "adopt"),
        ("external_mapping", "adopt"),
    ]


def test_two_subscriptions_do_not_adopt_the_same_account_plan():
    older, newer = sub(), sub(name="s2", created_at=FEB, started_at=FEB)
    decisions = decide_customer(case(newer, older, found_plans=(found(),)), ACCOUNTS, PLANS)
    assert writes(decisions) == [("adopt", "s1.api.1", JAN, None)]
    assert codes(decisions) == [("MB-PLAN-OVERLAP", "s2.api.1")]


# --- several subscriptions of one customer ----------------------------------------------------------

OLDER = sub()
NEWER = sub(name="s2", created_at=FEB, started_at=FEB)
CHILDREN = replace(PLANS, on_product_overlap="child_account")


def test_the_later_subscription_of_a_product_is_set_aside_and_names_the_other():
    decisions = decide_customer(case(NEWER, OLDER), ACCOUNTS, PLANS)
    assert writes(decisions) == [("create", "s1.api.1", JAN, None)]
    (verdict,) = [one for one in decisions if isinstance(one, Quarantined)]
    assert (verdict.code, verdict.key) == ("MB-PLAN-OVERLAP", ("s2", "api", "1"))
    assert "s1" in verdict.message
    assert "s2" in verdict.message


def test_one_that_stands_already_keeps_its_place():
    decisions = decide_customer(case(OLDER, plans=[known("api.1", FEB, owner=NEWER)]), ACCOUNTS, PLANS)
    assert writes(decisions) == []
    assert codes(decisions) == [("MB-PLAN-OVERLAP", "s1.api.1")]


def test_intervals_that_touch_do_not_overlap():
    ended = sub("cancelled", cancelled_at=FEB)
    decisions = decide_customer(case(NEWER, ended), ACCOUNTS, PLANS)
    assert writes(decisions) == [("create", "s1.api.1", JAN, FEB), ("create", "s2.api.1", FEB, None)]


def test_one_that_starts_waits_for_the_one_that_ends():
    ended = sub("cancelled", cancelled_at=FEB, updated_at=FEB, created_at=MAR)
    end, start = plan_intents(NEWER, ended, plans=[known()])
    assert (end.action, start.action) == ("update", "create")
    assert start.depends_on == (Ref("account_plan", ("s1", "api", "1")),)


def test_overlapping_plans_are_sent_where_m3ter_allows_them():
    policy = replace(PLANS, allow_overlapping_plans=True)
    assert len(plan_intents(NEWER, OLDER, policy=policy)) == 2


def test_the_later_one_gets_an_account_of_its_own():
    decisions = decide_customer(case(NEWER, OLDER), ACCOUNTS, CHILDREN)
    (child,) = [one for one in of_kind(decisions, "account", Intent) if one.action == "create"]
    assert child.key == ("acme~s2",)
    assert child.payload["parentAccountId"] == Ref("account", ("acme",))
    first, second = of_kind(decisions, "account_plan", Intent)
    assert (first.payload["accountId"], second.payload["accountId"]) == ("A1", Ref("account", ("acme~s2",)))
    assert second.depends_on == (Ref("account", ("acme~s2",)),)
    assert second.state["customer_id"] == "acme"
    assert codes(decisions) == []
    mapped = [one.key for one in of_kind(decisions, "external_mapping", Intent)]
    assert ("Account", "acme~s2") in mapped


def test_one_on_an_account_of_its_own_stays_there_when_the_other_has_ended():
    child = (KnownAccount("acme~s2", "A2", "f", "EUR"),)
    ended = sub("cancelled", cancelled_at=MAR)
    plans = [known(end=MAR), known("api.1", FEB, owner=NEWER, account_id="A2")]
    decisions = decide_customer(case(NEWER, ended, plans=plans, known_children=child), ACCOUNTS, CHILDREN)
    assert writes(decisions) == []


def test_a_changed_customer_reaches_the_account_of_a_subscription_that_did_not_change():
    child = (KnownAccount("acme~s2", "A2", "f", "EUR"),)
    plans = [known("api.1", FEB, owner=NEWER, account_id="A2")]
    decisions = decide_customer(case(plans=plans, known_children=child), ACCOUNTS, CHILDREN)
    update = next(one for one in of_kind(decisions, "account", Intent) if one.key == ("acme~s2",))
    assert (update.action, update.payload["id"], update.payload["currency"]) == ("update", "A2", "EUR")


def test_another_currency_gets_an_account_of_its_own():
    dollars = sub(name="s2", items=("sms",), currency="USD", created_at=FEB)
    decisions = decide_customer(case(OLDER, dollars), ACCOUNTS, CHILDREN)
    child = next(one for one in of_kind(decisions, "account", Intent) if one.key == ("acme~s2",))
    assert child.payload["currency"] == "USD"
    assert codes(decisions) == []


def test_two_items_with_one_external_id_are_set_aside():
    targets = TARGETS | {
        "b-c": PlanTarget("b-c", "p", "PLAN-1", "PROD-1", None),
        "c": PlanTarget("c", "q", "PLAN-2", "PROD-2", None),
    }
    first, second = sub(name="a", items=("b-c",)), sub(name="a-b", items=("c",))
    decisions = decide_customer(case(first, second, targets=targets), ACCOUNTS, PLANS)
    assert writes(decisions) == []
    assert sorted(codes(decisions)) == [("MB-ID-CLASH", "a-b.c.1"), ("MB-ID-CLASH", "a.b-c.1")]


# --- scope ------------------------------------------------------------------------------------------


def test_an_unmapped_item_is_counted_and_nothing_else():
    decisions = decide_customer(case(sub(items=("free",)), known_account=None), ACCOUNTS, PLANS)
    assert [type(one) for one in decisions] == [OutOfScope, OutOfScope]
    assert [one.kind for one in decisions] == ["account", "account_plan"]


def test_an_excepted_customer_is_left_alone_with_all_that_stands():
    policy = replace(ACCOUNTS, accounts_except=frozenset({"acme"}))
    decisions = decide_customer(case(sub("cancelled", cancelled_at=MID), plans=[known()]), policy, PLANS)
    assert all(isinstance(one, OutOfScope) for one in decisions)


def test_account_plans_of_a_doubtful_account_wait_for_it():
    clash = (FoundAccount("A9", "ACME", "x", None, ()),)
    decisions = decide_customer(case(sub(), known_account=None, found_accounts=clash), ACCOUNTS, PLANS)
    assert codes(decisions) == [("MB-ACCOUNT-CLASH", "acme"), ("MB-DEPENDS", "s1.api.1")]


def test_a_deleted_customer_s_account_plans_end_and_its_account_stays():
    gone = replace(ACME, deleted=True)
    decisions = decide_customer(case(sub(deleted=True), plans=[known()], customer=gone), ACCOUNTS, PLANS)
    assert of_kind(decisions, "account", Unchanged)
    assert writes(decisions) == [("update", "s1.api.1", JAN, MID)]


def test_account_plans_of_subscriptions_not_read_stay_as_they_are():
    decisions = decide_customer(case(plans=[known()]), ACCOUNTS, PLANS)
    assert writes(decisions) == []


def test_a_code_that_m3ter_holds_is_not_given_again():
    stranger = FoundPlan("F9", "A7", "PLAN-X", "PROD-X", "s1-sms.2", DEC, JAN, ("other",))
    (intent,) = plan_intents(sub(items=("sms",)), plans=[known("sms.1", JAN, FEB)], found_plans=(stranger,))
    assert intent.payload["code"] == "s1-sms.3"


def test_reasons_name_ids_and_no_person():
    for one in decide_customer(case(sub(), known_account=None), ACCOUNTS, PLANS):
        assert "Acme Ltd" not in one.reason
        assert "@" not in one.reason
