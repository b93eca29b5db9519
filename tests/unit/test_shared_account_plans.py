"""Two item prices of one subscription on one m3ter plan: one account plan, mapped to both."""

from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.records import FoundPlan, Intent, PlanTarget
from tests.unit.plan_world import ACCOUNTS, JAN, MID, PLANS, TARGETS, case, codes, item, known, of_kind, sub, writes

BOTH = {**TARGETS, "overage": PlanTarget("overage", "api-plan", "PLAN-API", "PROD-API", "EUR")}
MAPPED = frozenset({("Account", "acme"), ("AccountPlan", "s1-api", "1"), ("AccountPlan", "s1-overage", "1")})
STANDS = known(items=("api", "overage"))


def decided(subscription, *plans, **fields):
    return decide_customer(case(subscription, plans=plans, targets=BOTH, **fields), ACCOUNTS, PLANS)


def mapped(decisions):
    return [(one.action, one.key, one.payload["m3terId"]) for one in of_kind(decisions, "external_mapping", Intent)]


def test_a_plan_and_its_overage_addon_get_one_account_plan_and_both_mappings():
    decisions = decided(sub(items=("api", "overage")))
    assert (writes(decisions), codes(decisions)) == ([("create", "s1.api.1", JAN, None)], [])
    plans = [one for one in mapped(decisions) if one[1][0] == "AccountPlan"]
    assert [(action, key[1]) for action, key, _ in plans] == [("create", "s1-api"), ("create", "s1-overage")]
    assert plans[0][2] == plans[1][2]


def test_a_second_run_writes_nothing():
    decisions = decided(sub(items=("api", "overage")), STANDS, known_mappings=MAPPED)
    assert (writes(decisions), mapped(decisions), codes(decisions)) == ([], [], [])


def test_one_that_was_set_aside_before_is_mapped_to_what_stands():
    keys = MAPPED - {("AccountPlan", "s1-overage", "1")}
    decisions = decided(sub(items=("api", "overage")), STANDS, known_mappings=keys)
    assert writes(decisions) == []
    assert mapped(decisions) == [("create", ("AccountPlan", "s1-overage", "1"), "AP-s1-api.1")]


def test_the_account_plan_goes_on_while_one_of_both_stays_and_ends_with_the_last():
    only = decided(sub(items=("overage",)), STANDS, known_mappings=MAPPED)
    assert (writes(only), codes(only)) == ([], [])
    none = decided(sub(items=("sms",)), STANDS, known_mappings=MAPPED)
    assert ("update", "s1.api.1", JAN, MID) in writes(none)


def test_a_cancellation_ends_it_once():
    ended = decided(sub("cancelled", items=("api", "overage"), cancelled_at=MID), STANDS, known_mappings=MAPPED)
    assert (writes(ended), codes(ended)) == ([("update", "s1.api.1", JAN, MID)], [])


def test_a_quantity_of_the_plan_replaces_it_and_maps_both_to_the_new_one():
    changed = sub(items=(item(quantity="4"), item("overage")))
    decisions = decided(changed, STANDS, known_mappings=MAPPED)
    assert [one[:2] for one in writes(decisions)] == [("replace", "s1.api.2")]
    assert [key[1:] for _, key, _ in mapped(decisions)] == [("s1-api", "2"), ("s1-overage", "2")]


def test_after_a_lost_ledger_it_is_adopted_by_either_mapping():
    found = FoundPlan("F1", "A1", "PLAN-API", "PROD-API", "s1-api.1", JAN, None, ("s1-overage", "s1-api"))
    decisions = decided(sub(items=("api", "overage")), found_plans=(found,))
    assert (writes(decisions), codes(decisions)) == ([("adopt", "s1.api.1", JAN, None)], [])
    assert [action for action, key, _ in mapped(decisions) if key[0] == "AccountPlan"] == ["adopt", "adopt"]


def test_two_subscriptions_on_one_plan_stay_two():
    decisions = decide_customer(
        case(sub(items=("api",)), sub(name="s2", items=("overage",)), targets=BOTH), ACCOUNTS, PLANS
    )
    assert codes(decisions) == [("MB-PLAN-OVERLAP", "s2.overage.1")]
