"""No write makes a bill's excess positive: whole runs on the sandbox, amounts against the bill's total."""

import json
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from flows.approve_bills import approve_bills
from flows.reconcile import reconcile
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.cli.main import app
from meterbridge.ledger import mappings
from meterbridge.sandbox.chargebee.renewals import cancel_now
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.settings import load_settings
from tasks.services import open_ledger
from tests.flows.billed_month import BilledMonth, asides
from tests.flows.test_shared_invoices import SECOND, by_subscription, two_subscriptions

API = ("api-pro-EUR-Monthly",)


def owned(month):
    """What stands by subscription, over all invoices that are not voided."""
    found = {}
    for row in (one for one in month.invoices if one["status"] != "voided"):
        for owner, amount in by_subscription(month, row).items():
            found[owner] = found.get(owner, 0) + amount
    return {owner: amount for owner, amount in found.items() if amount}


def hand_over(month, *, customer="cust-single", to="sub-heir"):
    """The subscription is cancelled with backdating, before the bill's period; another one takes its place there."""
    world = month.world
    start = epoch(2026, 2, 12)
    with world.lock:
        before = world.chargebee.subscriptions.get("sub-single")
        cancel_now(world, before, start)
        put_subscription(world, SubscriptionSeed(to, customer, API, start))
    world.advance(3600)
    sync_subscriptions.fn()


def again(month):
    """The bill is approved anew, unchanged."""
    amounts = [line["convertedSubtotal"] for line in month.bill["lineItems"]]
    month.recalculate(*amounts)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open-draft"])
def test_a_line_that_moved_to_another_subscription_is_charged_once(open_sandbox, closed):
    month = BilledMonth(open_sandbox)
    total = month.total()
    if closed:
        month.close()
    hand_over(month)
    again(month)
    report = month.charge()
    assert sum(owned(month).values()) == total
    assert set(owned(month)) == ({"sub-single"} if closed else {"sub-heir"})
    assert report.quarantined == []
    month.world.log.clear()
    assert month.charge().intended == {}
    assert month.writes() == []
    assert reconcile.fn().differences == 0
    if closed:
        traced = json.loads(run("trace", month.bill["id"], "--json").stdout)
        said = {one["subscription_id"]: one["reason"] for one in traced["portions"]}
        assert "stand for subscription sub-single (the line moved)" in said["sub-heir"]
        assert "count for subscription sub-heir (the line moved)" in said["sub-single"]


def test_of_a_moved_line_only_what_it_gained_is_charged(open_sandbox):
    month = BilledMonth(open_sandbox)
    total = month.total()
    month.close()
    hand_over(month)
    amounts = [line["convertedSubtotal"] for line in month.bill["lineItems"]]
    month.recalculate(amounts[0] + Decimal("5"), *amounts[1:])
    assert month.charge().quarantined == []
    assert owned(month) == {"sub-single": total, "sub-heir": 500}
    assert reconcile.fn().differences == 0


def with_memo(month, amount, **facts):
    """The bill gets a line that belongs to no plan."""
    state = month.world.m3ter
    bill = month.bill
    memo = bill["lineItems"][0] | {
        "id": state.ids.uuid("memo", amount),
        "lineItemType": "PREPAYMENT_DRAWDOWN",
        "description": "Prepaid",
        "convertedSubtotal": Decimal(amount),
        "subtotal": Decimal(amount),
        "sequenceNumber": 99,
        **dict.fromkeys(("planId", "pricingId", "aggregationId", "productId", "productCode", "productName")),
        **facts,
    }
    with month.world.lock:
        total = bill["billTotal"] + Decimal(amount)
        state.save(state.bills, bill | {"lineItems": [*bill["lineItems"], memo], "billTotal": total}, bill)


def test_a_prepayment_is_allocated_over_two_subscriptions(open_sandbox):
    month = two_subscriptions(open_sandbox, SECOND, charge=False)
    assert len(month.bills) == 1
    with_memo(month, "-6.00")
    report = month.charge()
    assert report.quarantined == []
    assert sum(owned(month).values()) == month.total()
    assert len(owned(month)) == 2
    month.world.log.clear()
    assert month.charge().intended == {}
    assert month.writes() == []
    assert reconcile.fn().differences == 0


def test_the_setting_holds_such_a_bill(open_sandbox):
    month = two_subscriptions(open_sandbox, SECOND, charge=False, METERBRIDGE_BILL_LEVEL_LINES="hold")
    with_memo(month, "-6.00")
    assert asides(month.charge()) == [("MB-BILL-LINE", month.total())]
    assert owned(month) == {}


def test_a_line_of_a_plan_made_by_hand_holds_back_itself_alone(open_sandbox):
    month = two_subscriptions(open_sandbox, SECOND, charge=False)
    total = month.total()
    with_memo(month, "7.00", planId="made-by-hand")
    assert asides(month.charge()) == [("MB-BILL-LINE", 700)]
    assert sum(owned(month).values()) == total
    assert reconcile.fn().differences == 0
    month.world.log.clear()
    month.charge()
    assert month.writes() == []


def test_a_line_of_a_plan_made_by_hand_goes_to_the_only_subscription(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    total = month.total()
    with_memo(month, "7.00", planId="made-by-hand")
    assert asides(month.charge()) == []
    assert sum(owned(month).values()) == total + 700
    assert month.charge().writes == 0


def overdrawn(open_sandbox, **settings):
    """Two subscriptions; the second one's charges turn into a credit of 1.00."""
    month = two_subscriptions(open_sandbox, SECOND, charge=False, **settings)
    lines = month.bill["lineItems"]
    support = {line["productCode"] for line in lines if line["productCode"] != "api"}
    assert support, "the second subscription has lines of its own product"
    rest = iter(["-1.00"])
    amounts = [
        line["convertedSubtotal"] if line["productCode"] == "api" else Decimal(next(rest, "0")) for line in lines
    ]
    month.recalculate(*amounts)
    return month


def run(*arguments):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_what_exceeds_the_total_waits_until_a_person_releases_it(open_sandbox):
    month = overdrawn(open_sandbox)
    total = month.total()
    report = month.charge()
    assert asides(report) == [("MB-BILL-OVERDRAWN", -100), ("MB-BILL-OVERDRAWN", 100)]
    assert owned(month) == {"sub-single": total}
    assert reconcile.fn().differences == 0
    month.world.log.clear()
    month.charge()
    assert month.writes() == []

    said = run("bills", "release", month.bill["id"], "--amount", "0.40", "--by", "Ann", "--note", "agreed", "--json")
    assert json.loads(said.stdout) == {"bill_id": month.bill["id"], "amount": 40, "currency": "EUR", "released": 40}
    assert asides(month.charge()) == [("MB-BILL-NEGATIVE", -100), ("MB-BILL-OVERDRAWN", 60)]
    assert owned(month) == {"sub-single": total + 40}
    month.charge()
    assert owned(month) == {"sub-single": total + 40}


def test_the_setting_cancels_them_within_the_bill(open_sandbox):
    month = overdrawn(open_sandbox, METERBRIDGE_NET_ACROSS_SUBSCRIPTIONS="true")
    assert month.charge().quarantined == []
    assert owned(month) == {"sub-single": month.total()}
    assert reconcile.fn().differences == 0


def test_a_credit_of_ours_makes_the_room_in_the_same_run(open_sandbox):
    month = overdrawn(open_sandbox, METERBRIDGE_NEGATIVE="promotional_credit")
    total = month.total()
    month.world.log.clear()
    assert month.charge().quarantined == []
    assert owned(month) == {"sub-single": total + 100}
    assert "promotional_credits" in month.writes()[0].path, "the credit is proven before the charges leave"
    month.world.log.clear()
    assert month.charge().intended == {}
    assert month.writes() == []


def test_what_was_booked_since_a_charge_was_decided_keeps_it_from_leaving(open_sandbox):
    """Whoever books for the bill in between, and however: the ceiling is compared right before the write."""
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_BILLS_APPROVAL="required")
    proposed = month.charge().awaiting_approval
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        key = (month.bill["id"], "sub-other", "elsewhere")
        state = {"bill_id": key[0], "subscription_id": key[1], "amount": 1, "currency": "EUR", "invoice_id": "inv-x"}
        mappings.put(tx, mappings.Mapping("charge", key, "li-x", "", "inv-x", state))
        tx.commit()
    ledger.close()
    report = approve_bills.fn(change_set=proposed[0]["change_set"], by="Ann")
    assert sum(month.ours()) < month.total()
    assert "MB-BILL-OVERDRAWN" in {row["code"] for row in report.quarantined}


@pytest.mark.parametrize("amount", ["0", "-1", "1.005", "nan", "1e99", "ten", ""])
def test_a_release_takes_only_an_amount_of_the_bill_s_currency(open_sandbox, amount):
    month = BilledMonth(open_sandbox)
    said = CliRunner().invoke(
        app, ["bills", "release", month.bill["id"], f"--amount={amount}", "--by", "Ann", "--note", "agreed"]
    )
    assert said.exit_code == 2 or getattr(said.exception, "code", "") == "MB-COMMAND"


# --- who pays ---------------------------------------------------------------------------------------------------


def test_a_subscription_that_moved_away_does_not_take_an_old_bill_along(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    world, state = month.world, month.world.chargebee
    with world.lock:
        put_customer(world, "cust-new", "New Ltd", "EUR")
        row = state.subscriptions.get("sub-single")
        state.save(state.subscriptions, row | {"customer_id": "cust-new"})
        draft = month.draft
        new = draft | {"id": "draft_new", "customer_id": "cust-new", "line_items": []}
        state.save(state.invoices, new)
    assert month.charge().quarantined == []
    assert sum(month.ours()) == month.total()
    holding = [row["customer_id"] for row in month.invoices if by_subscription(month, row)]
    assert holding == ["cust-single"]


def test_without_a_draft_of_the_old_customer_it_is_set_aside(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_NO_PENDING_INVOICE="create")
    world, state = month.world, month.world.chargebee
    with world.lock:
        put_customer(world, "cust-new", "New Ltd", "EUR")
        row = state.subscriptions.get("sub-single")
        state.save(state.subscriptions, row | {"customer_id": "cust-new"})
        draft = month.draft
        state.save(state.invoices, draft | {"customer_id": "cust-new"})
    assert asides(month.charge()) == [("MB-NO-INVOICE", month.total())]
    assert month.ours() == []


def test_a_draft_of_another_business_entity_is_no_candidate(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    state = month.world.chargebee
    with month.world.lock:
        row = state.subscriptions.get("sub-single")
        state.save(state.subscriptions, row | {"business_entity_id": "be-1"})
        state.save(state.invoices, month.draft | {"business_entity_id": "be-2"})
    report = month.charge()
    assert month.ours() == []
    assert len(report.waiting) == 1


@pytest.mark.parametrize("on_void", ["hold", "recharge"])
def test_a_moved_line_whose_invoice_was_voided_is_charged_again_only_by_the_setting(open_sandbox, on_void):
    month = BilledMonth(open_sandbox, METERBRIDGE_ON_VOID=on_void)
    total = month.total()
    month.void(month.close())
    hand_over(month)
    again(month)
    report = month.charge()
    again_charged = on_void == "recharge"
    assert owned(month) == ({"sub-heir": total} if again_charged else {})
    assert asides(report) == ([] if again_charged else [("MB-VOIDED", total)])
    month.world.log.clear()
    assert month.charge().intended == {}
    assert month.writes() == []
    assert reconcile.fn().differences == 0
