"""Account plans that stand at m3ter already are taken over, or named."""

import pytest

from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.records import (
    FoundAccount,
    FoundPlan,
    Intent,
)
from tests.unit.plan_world import ACCOUNTS, DEC, FEB, JAN, MAR, MID, NOW, PLANS, case, codes, sub, writes

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
