"""Bills, plans, drafts and what the ledger knows, for the tests of the bill rules."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from meterbridge.rules.bills import BillPolicy, decide_bill
from meterbridge.rules.records import (
    Bill,
    BillCase,
    BillLine,
    Intent,
    Invoice,
    OutOfScope,
    PlacedPlan,
    Quarantined,
    StandingLine,
    SubscriptionFacts,
    Unchanged,
    Waiting,
)

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
LATER = datetime(2026, 4, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOTHING = dict.fromkeys(
    [
        *("product_code", "plan_code", "pricing_code", "compound_aggregation_id", "compound_aggregation_code"),
        *("contract_id", "charge_id", "commitment_id", "balance_id", "counter_id", "referenced_line_id"),
        "child_account_id",
    ]
)


def line(name, amount, sequence=1, plan="plan1", product="p1", **changes):
    known = {
        **NOTHING,
        "id": name,
        "sequence": sequence,
        "line_item_type": "USAGE",
        "description": "API calls",
        "amount": Decimal(amount),
        "quantity": Decimal("45316"),
        "units": Decimal("45.3160"),
        "unit": "1k calls",
        "product_id": product,
        "product_name": "API",
        "plan_id": plan,
        "pricing_id": f"pricing-{name}",
        "aggregation_id": "a1",
        "aggregation_code": "api_calls",
        "segment": {},
        "service_start": MARCH,
        "service_end": APRIL,
    }
    return BillLine(**{**known, **changes})


def bill(*lines, **changes):
    known = {
        "id": "bill1",
        "version": 3,
        "account_id": "acc",
        "customer_id": "cust",
        "status": "APPROVED",
        "locked": False,
        "currency": "EUR",
        "bill_date": date(2026, 4, 1),
        "start": MARCH,
        "end": APRIL,
        "last_calculated": "2026-04-02T00:15:09Z",
        "total": None,
        "lines": lines,
    }
    return Bill(**{**known, **changes})


def plan(number, start=MARCH - timedelta(days=90), end=None):
    return PlacedPlan(f"ap{number}", "acc", f"plan{number}", f"sub{number}", f"ip{number}", start, end)


def subscription(number, currency="EUR", status="active", next_billing_at=MAY):
    return SubscriptionFacts(
        f"sub{number}", "cust", None, status, currency, None, next_billing_at, next_billing_at, False
    )


def draft(number, *lines, at=APRIL, **changes):
    known = {
        "id": f"draft{number}",
        "status": "pending",
        "customer_id": "cust",
        "subscription_id": f"sub{number}",
        "currency": "EUR",
        "date": at,
        "price_type": "tax_exclusive",
        "lines": lines,
    }
    return Invoice(**{**known, **changes})


def case(the_bill, **changes):
    known = {
        "bill": the_bill,
        "plans": (plan(1), plan(2)),
        "subscriptions": {"sub1": subscription(1), "sub2": subscription(2)},
        "invoices": (draft(1), draft(2)),
        "standing": (),
        "settled": {},
        "known": True,
        "mapped_invoice_lines": {},
        "now": LATER,
    }
    return BillCase(**{**known, **changes})


def policy(**changes):
    return BillPolicy(**{"since": date(2026, 1, 1), **changes})


def stand(intent, amount=None):
    """The ledger's line once the intent is applied."""
    owner = intent.payload["subscription_id"]
    return StandingLine(
        intent.key,
        intent.payload["bill_id"],
        owner,
        intent.payload["invoice_id"],
        f"li-{intent.key[2]}",
        intent.amount if amount is None else amount,
        intent.currency,
        intent.fingerprint,
    )


def applied(world, **changes):
    return tuple(stand(one) for one in decide_bill(world, policy(**changes)) if isinstance(one, Intent))


def told(decisions):
    """Kind, last part of the key, and money of each decision."""
    found = []
    for one in decisions:
        match one:
            case Intent(kind="charge_removal", key=key, amount=amount):
                found.append(("remove", key[1], amount))
            case Intent(action=action, key=key, amount=amount):
                found.append((action, key[1], amount))
            case Quarantined(key=key, code=code, amount=amount):
                found.append((code, key[-1], amount))
            case Waiting(key=key, amount=amount, until=until):
                found.append(("waiting", key[-1], amount, until))
            case Unchanged(key=key):
                found.append(("unchanged", key[-1]))
            case OutOfScope(key=key):
                found.append(("out of scope", key[-1]))
    return found


# --- a bill that changed after it was charged

FIVE = bill(line("l1", "5"))


def charged(the_bill, **world):
    """What the ledger knows once the bill is charged: its lines are li-0, li-1, … on draft1."""
    return tuple(replace(one, line_id=f"li-{n}") for n, one in enumerate(applied(case(the_bill, **world))))


def decide(the_bill, standing, *invoices, policy_changes=None, **world):
    return decide_bill(case(the_bill, standing=standing, invoices=invoices, **world), policy(**(policy_changes or {})))


REPLACED = [
    pytest.param(["7"], [("remove", "sub1", -500), ("create", "sub1", 700)], id="more"),
    pytest.param(["4"], [("remove", "sub1", -500), ("create", "sub1", 400)], id="less"),
    pytest.param(["0"], [("remove", "sub1", -500)], id="nothing"),
    pytest.param(["5"], [("unchanged", "sub1")], id="as-before"),
    pytest.param(["5", "3"], [("create", "sub1", 300)], id="another-line-joins"),
    pytest.param(["-2"], [("remove", "sub1", -500), ("MB-BILL-CHANGED", "sub1", -200)], id="a-credit-is-left"),
]
"""What a portion of 5.00 wants by now, line by line, and what becomes of its open line."""
