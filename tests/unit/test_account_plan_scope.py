"""What is left alone, ends all the same, or waits for its account."""

from dataclasses import replace

from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.records import (
    FoundAccount,
    FoundPlan,
    OutOfScope,
    Unchanged,
)
from tests.unit.plan_world import (
    ACCOUNTS,
    ACME,
    DEC,
    FEB,
    JAN,
    MID,
    PLANS,
    case,
    codes,
    known,
    of_kind,
    plan_intents,
    sub,
    writes,
)

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
