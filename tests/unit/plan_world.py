"""Subscriptions, account plans and settings by hand, for the tests of the account plan rules."""

from datetime import UTC, datetime, timedelta

from meterbridge.rules.account_plans import PlanPolicy, decide_customer, plan_terms
from meterbridge.rules.accounts import AccountPolicy
from meterbridge.rules.records import (
    Address,
    Customer,
    CustomerCase,
    Intent,
    KnownAccount,
    KnownPlan,
    PlanTarget,
    Quarantined,
    Subscription,
    SubscriptionItem,
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


def plan_intents(*subscriptions, policy=PLANS, accounts=ACCOUNTS, **fields):
    return of_kind(decide_customer(case(*subscriptions, **fields), accounts, policy), "account_plan", Intent)
