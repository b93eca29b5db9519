"""Consolidated invoices, several subscriptions of one bill, child accounts: the right invoice, or an honest word."""

from functools import partial

import pytest

from flows.reconcile import reconcile
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_subscription
from tests.flows.billed_month import BilledMonth

SECOND = SubscriptionSeed(
    "sub-second", "cust-single", ("support-EUR-Monthly", "messages-EUR-Monthly"), epoch(2026, 1, 1)
)
TWIN = SubscriptionSeed("sub-second", "cust-single", ("api-pro-EUR-Monthly",), epoch(2026, 1, 1))


def put_another(world, seed, consolidated):
    with world.lock:
        put_subscription(world, seed)
        customer = world.chargebee.customers.get("cust-single")
        world.chargebee.save(world.chargebee.customers, customer | {"consolidated_invoicing": consolidated})


def two_subscriptions(open_sandbox, seed, consolidated=False, **more):
    """The one customer has another subscription; with ``consolidated`` both renew onto one draft."""
    return BilledMonth(open_sandbox, before=[partial(put_another, seed=seed, consolidated=consolidated)], **more)


def by_subscription(month, invoice):
    ours = [line for line in invoice["line_items"] if line["entity_type"] in ("charge_item_price", "adhoc")]
    return {
        owner: sum(x["amount"] for x in ours if x["subscription_id"] == owner)
        for owner in {x["subscription_id"] for x in ours}
    }


@pytest.mark.parametrize("consolidated", [False, True], ids=["a-draft-each", "one-draft"])
def test_each_subscription_is_charged_on_its_invoice(open_sandbox, consolidated):
    month = two_subscriptions(open_sandbox, SECOND, consolidated)
    pending = [row for row in month.invoices if row["status"] == "pending"]
    assert len(pending) == (1 if consolidated else 2)
    assert sum(month.ours()) == sum(month.total(bill) for bill in month.bills)
    for row in pending:
        for owner, amount in by_subscription(month, row).items():
            assert amount > 0
            assert row.get("subscription_id") in (None, owner)
    month.world.switches.update({"draft_line_ids_on_close": "renew"})
    for row in pending:
        month.close(row)
    month.world.log.clear()
    assert month.charge().quarantined == []
    assert month.writes() == []
    assert reconcile.fn().differences == 0


def test_a_child_account_s_bill_goes_on_its_own_subscription(open_sandbox):
    month = two_subscriptions(open_sandbox, TWIN, METERBRIDGE_ON_PRODUCT_OVERLAP="child_account")
    assert len(month.bills) == 2
    assert sum(month.ours()) == sum(month.total(bill) for bill in month.bills)
    assert reconcile.fn().differences == 0


def test_lines_of_a_child_on_its_parent_s_bill_go_on_the_child_s_subscription(open_sandbox):
    month = two_subscriptions(open_sandbox, TWIN, charge=False, METERBRIDGE_ON_PRODUCT_OVERLAP="child_account")
    state = month.world.m3ter
    parent, child = sorted(month.bills, key=lambda bill: bill["accountCode"])
    named = [line | {"childAccountId": child["accountId"]} for line in child["lineItems"]]
    with month.world.lock:
        state.bills.remove(child["id"], month.world.clock.now_ms())
        total = parent["billTotal"] + child["billTotal"]
        state.save(state.bills, parent | {"lineItems": [*parent["lineItems"], *named], "billTotal": total}, parent)
    report = month.charge()
    assert report.quarantined == []
    found = {owner: amount for row in month.invoices for owner, amount in by_subscription(month, row).items()}
    assert set(found) == {"sub-single", "sub-second"}
    assert sum(found.values()) == month.total()
