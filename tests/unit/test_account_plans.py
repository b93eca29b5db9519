"""Subscription items become account plans: every state and change as a row; instants and ids by hand."""

from datetime import timedelta

import pytest

from meterbridge.rules.account_plans import decide_customer
from tests.unit.plan_world import (
    ACCOUNTS,
    APR,
    DAY,
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
    sub,
    writes,
)

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
        [("update", "s1.api.2", FEB, NOW)],
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
