"""When a draft closes by itself, and that what is most at risk leaves first."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.deadlines import by_risk, closing, deadlines
from meterbridge.rules.records import Intent, Unchanged
from tests.unit.bill_world import APRIL, HOUR, bill, case, draft, line, policy, subscription, told

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("own", "customers", "days", "at"),
    [
        pytest.param(None, None, 3, APRIL + 3 * DAY, id="the-site-closes-it"),
        pytest.param(None, None, None, None, id="the-site-closes-none"),
        pytest.param(None, False, 3, None, id="the-customer-beats-the-site"),
        pytest.param(True, False, 3, APRIL + 3 * DAY, id="the-subscription-beats-the-customer"),
        pytest.param(False, True, 3, None, id="the-subscription-beats-them-both"),
        pytest.param(False, None, None, None, id="nobody-closes-it"),
    ],
)
def test_who_says_when_a_draft_closes(own, customers, days, at):
    facts = replace(subscription(1), auto_close=own, customer_auto_close=customers)
    assert closing(draft(1), facts, days) == at


def test_a_consolidated_draft_is_its_customers():
    shared = draft(1, subscription_id=None)
    assert closing(shared, replace(subscription(1), auto_close=False), 3) == APRIL + 3 * DAY
    assert closing(shared, replace(subscription(1), auto_close=True, customer_auto_close=False), 3) is None


def test_only_pending_invoices_close():
    assert closing(draft(1, status="paid"), subscription(1), 3) is None


def ahead(world, days=3):
    return [
        (one.subscription_id, one.invoice_id, one.closes_at) for one in deadlines(world, policy(auto_close_days=days))
    ]


def test_the_draft_that_the_money_goes_on_is_the_deadline():
    """Drafts that stayed open from earlier terms close sooner, and take nothing of this bill."""
    old = [draft(1, at=APRIL - 30 * DAY, id="old"), draft(1, at=APRIL - 60 * DAY, id="older")]
    world = case(bill(line("l1", "5")), invoices=(draft(1, at=APRIL + DAY, id="later"), *old, draft(1)))
    assert ahead(world) == [("sub1", "draft1", APRIL + 3 * DAY)]
    charges = [one for one in decide_bill(world, policy(auto_close_days=3)) if isinstance(one, Intent)]
    assert {one.payload["invoice_id"] for one in charges} == {"draft1"}
    assert ahead(world, None) == []


def test_a_late_bill_has_the_deadline_of_the_newest_draft():
    world = case(
        bill(line("l1", "5")),
        invoices=(draft(1, at=APRIL - 60 * DAY, id="older"), draft(1, at=APRIL - 30 * DAY, id="old")),
    )
    assert ahead(world) == [("sub1", "old", APRIL - 27 * DAY)]


def test_a_bill_that_cannot_be_charged_has_its_deadline_too():
    wrong = replace(bill(line("l1", "5")), total=Decimal(7))
    world = case(wrong, invoices=(draft(1, at=APRIL - 30 * DAY, id="old"), draft(1)))
    assert ahead(world) == [("sub1", "draft1", APRIL + 3 * DAY)]


def test_of_drafts_between_which_nothing_decides_the_first_to_close_is_the_deadline():
    world = case(bill(line("l1", "5")), invoices=(draft(1), draft(1, id="twin")))
    assert ahead(world) == [("sub1", "draft1", APRIL + 3 * DAY)]


def test_a_subscription_that_is_never_closed_waits_until_its_bill_is_settled():
    kept = {"sub1": replace(subscription(1), auto_close=False), "sub2": subscription(2)}
    world = case(bill(line("l1", "5")), now=APRIL + HOUR, subscriptions=kept)
    assert told(decide_bill(world, policy(auto_close_days=1))) == [("waiting", "sub1", 500, APRIL + 24 * HOUR)]


def charge(invoice, amount):
    key, payload = ("b", "s", f"{invoice}{amount}"), {"invoice_id": invoice}
    return Intent("charge", key, "create", "chargebee", payload, "", "", invoice, amount=amount)


def test_drafts_that_close_soonest_go_first_then_those_with_the_most_money_and_each_stays_together():
    decided = [
        charge("never", 9_000),
        charge("late-1-small", 5),
        charge("soon", 1),
        charge("late-2-big", 40),
        Unchanged("charge", ("b",)),
        charge("soon", 2),
        charge("late-1-small", 6),
    ]
    closings = {"soon": APRIL, "late-1-small": APRIL + DAY, "late-2-big": APRIL + DAY}
    ordered = by_risk(decided, closings)
    assert isinstance(ordered[0], Unchanged)
    assert [(one.scope, one.amount) for one in ordered[1:]] == [
        ("soon", 1),
        ("soon", 2),
        ("late-2-big", 40),
        ("late-1-small", 5),
        ("late-1-small", 6),
        ("never", 9_000),
    ]
