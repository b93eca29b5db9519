"""Account plans that stand at m3ter already are taken over, or named."""

from dataclasses import replace

import pytest

from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.keys import account_plan_code, coded
from meterbridge.rules.plan_found import is_ours
from meterbridge.rules.records import (
    FoundAccount,
    FoundPlan,
    Intent,
    KnownEpoch,
    Quarantined,
)
from tests.unit.plan_world import (
    ACCOUNTS,
    APR,
    DEC,
    FEB,
    JAN,
    MAR,
    MAY,
    MID,
    NOW,
    PLANS,
    case,
    codes,
    item,
    known,
    of_kind,
    sub,
    writes,
)

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
        pytest.param(
            sub(),
            [found(start=DEC, external=["s1"])],
            [("adopt", "s1.api.1", DEC, None)],
            [],
            id="mapped-to-the-subscription-alone",
        ),
        pytest.param(
            sub(),
            [found(external=["s1"], plan_id="PLAN-BY-HAND")],
            [],
            [("MB-PLAN-OVERLAP", "s1.api.1")],
            id="mapped-to-the-subscription-alone-with-another-plan",
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


# --- contracts that somebody attached by hand -----------------------------------------------------


@pytest.mark.parametrize(
    ("subscription", "plans", "expected"),
    [
        pytest.param(
            sub(),
            [found(start=DEC, end=MAY)],
            [("adopt", "s1.api.1", DEC, MAY), ("create", "s1.api.2", MAY, None)],
            id="kept-to-its-end-in-the-future",
        ),
        pytest.param(
            sub(),
            [found(start=JAN, end=MAY)],
            [("adopt", "s1.api.1", JAN, MAY), ("create", "s1.api.2", MAY, None)],
            id="that-began-with-the-subscription",
        ),
        pytest.param(
            sub(),
            [found("F2", APR), found("F1", DEC, APR)],
            [("adopt", "s1.api.1", DEC, APR), ("adopt", "s1.api.2", APR, None)],
            id="one-contract-after-the-other",
        ),
        pytest.param(
            sub("non_renewing", cancelled_at=APR),
            [found(start=DEC, end=MAY)],
            [("adopt", "s1.api.1", DEC, APR)],
            id="cancelled-before-its-end",
        ),
        pytest.param(sub(), [found(start=DEC, end=MAR)], [("create", "s1.api.1", MAR, None)], id="history"),
        pytest.param(
            sub(), [found(start=DEC, end=MAR, plan_id="PLAN-X")], [("create", "s1.api.1", MAR, None)], id="another-plan"
        ),
        pytest.param(
            sub("cancelled", cancelled_at=FEB), [found(start=DEC, end=MAR)], [], id="history-of-a-cancelled-one"
        ),
    ],
)
def test_a_contract_by_hand_is_kept_to_its_end_and_ours_begins_there(subscription, plans, expected):
    decisions = decide_customer(case(subscription, found_plans=tuple(plans)), ACCOUNTS, PLANS)
    assert (sorted(writes(decisions)), codes(decisions)) == (sorted(expected), [])


BY_HAND = KnownEpoch(None, None, seen=True, by_hand=True)
CONTRACT = [known(start=DEC, end=MAY, epoch=BY_HAND), known("api.2", start=MAY)]


@pytest.mark.parametrize(
    ("subscription", "expected"),
    [
        pytest.param(sub(), [], id="nothing-more"),
        pytest.param(sub(items=(item(quantity="3"),)), [("update", "s1.api.2", MAY, None)], id="quantity-counts-after"),
        pytest.param(
            sub("cancelled", cancelled_at=MID),
            [("delete", "s1.api.2", MAY, None), ("update", "s1.api.1", DEC, MID)],
            id="cancelled",
        ),
    ],
)
def test_what_follows_a_contract_changes_without_it(subscription, expected):
    decisions = decide_customer(case(subscription, plans=CONTRACT), ACCOUNTS, PLANS)
    assert (sorted(writes(decisions)), codes(decisions)) == (expected, [])


# --- nothing of a cancelled subscription is metered on --------------------------------------------


def test_a_cancellation_dated_before_the_last_change_ends_what_began_after_it():
    plans = [known(end=MAR), known("api.2", start=MAR)]
    decisions = decide_customer(case(sub("cancelled", cancelled_at=FEB), plans=plans), ACCOUNTS, PLANS)
    assert sorted(writes(decisions)) == [("update", "s1.api.1", JAN, FEB), ("update", "s1.api.2", MAR, NOW)]
    assert codes(decisions) == [("MB-PLAN-BILLED", "s1.api.2")]
    (aside,) = of_kind(decisions, "account_plan", Quarantined)
    span = "what it metered from 2026-03-01T00:00:00Z to 2026-03-20T00:00:00Z is nobody's"
    assert aside.message.endswith(span)
    later = replace(PLANS, now=APR)
    ended = [known(end=FEB), known("api.2", start=MAR, end=NOW)]
    again = decide_customer(case(sub("cancelled", cancelled_at=FEB), plans=ended), ACCOUNTS, later)
    assert writes(again) == []
    (aside,) = of_kind(again, "account_plan", Quarantined)
    assert aside.message.endswith(span)


LONG = ("subscription-of-a-customer-whose-name-is-long", "enterprise-plan-with-usage-EUR-Monthly")


@pytest.mark.parametrize("pair", [("s1", "api"), LONG])
@pytest.mark.parametrize("period", [1, 12, 99])
def test_a_code_of_ours_is_known_with_the_sites_prefix_and_without(pair, period):
    own = account_plan_code(*pair, period)
    assert is_ours(own, pair, "")
    assert is_ours(own, pair, "eu:")  # from before the site was put into ids
    assert is_ours(coded("eu:", own), pair, "eu:")
    assert not is_ours(coded("us:", own), pair, "eu:")
    assert not is_ours(coded("eu:", own), pair, "")
    assert not is_ours(f"{pair[0]}-{pair[1]}.by-hand", pair, "eu:")
    assert not is_ours(None, pair, "eu:")
