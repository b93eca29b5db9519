"""Several subscriptions of one customer: one active account plan per product and account."""

from dataclasses import replace

from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.records import (
    Intent,
    KnownAccount,
    PlanTarget,
    Quarantined,
    Ref,
)
from tests.unit.plan_world import (
    ACCOUNTS,
    FEB,
    JAN,
    MAR,
    PLANS,
    TARGETS,
    case,
    codes,
    known,
    of_kind,
    plan_intents,
    sub,
    writes,
)

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
