"""More rows than fit into one lease, of every kind of write: the lease is renewed, and ONE run ends well."""

from decimal import Decimal

import pytest

from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox.clock import epoch, rfc3339
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.crash_worlds import API, close_drafts, no_draft_comes

LEASE = 5
CUSTOMERS = 10
SLOW = 0.3
"""Seconds that each request takes: ten writes with what is read before them outlast the lease twice."""


class Many:
    """Ten customers with a subscription each; both vendors are slow once the run that counts begins."""

    def __init__(self, open_sandbox, **settings):
        settings = {"METERBRIDGE_LEASE_SECONDS": str(LEASE), "METERBRIDGE_DELIVER_THREADS": "1", **settings}
        self.sandbox = open_sandbox("empty", **settings)
        self.world = self.sandbox.world
        with self.world.lock:
            for number in range(CUSTOMERS):
                put_customer(self.world, f"cust-{number}", f"Customer {number} Ltd", "EUR")
                seed = SubscriptionSeed(f"sub-{number}", f"cust-{number}", (API,), epoch(2026, 1, 1))
                put_subscription(self.world, seed)

    def bill(self):
        sync_subscriptions.fn()
        use_and_bill(self.world)

    def recalculate(self, *amounts):
        """Every bill's lines get these amounts, in euros; lines beyond are dropped."""
        state = self.world.m3ter
        with self.world.lock:
            for before in list(state.bills.rows()):
                lines = [
                    line | {"convertedSubtotal": Decimal(amount), "subtotal": Decimal(amount)}
                    for line, amount in zip(before["lineItems"], amounts, strict=False)
                ]
                total = sum((line["convertedSubtotal"] for line in lines), Decimal(0))
                now = rfc3339(self.world.clock.now_ms())
                row = before | {"lineItems": lines, "billTotal": total, "lastCalculatedDate": now}
                state.save(state.bills, row, before)

    def slowly(self, flow=sync_bills):
        """One run against slow vendors."""
        gate = self.sandbox._gate
        gate._latency = SLOW
        try:
            return flow.fn()
        finally:
            gate._latency = 0.0


def ended_well(report, **applied):
    assert (report.exit_code, report.held, report.quarantined) == (0, 0, [])
    assert {name.replace("_", ".", 1) if name == "credit_create" else name: n for name, n in applied.items()}
    for name, count in applied.items():
        kind, _, action = name.rpartition("_")
        assert report.applied[f"{kind}.{action}"] == count


def test_more_credits_than_fit_into_one_lease_are_given_in_one_run(open_sandbox):
    many = Many(open_sandbox, METERBRIDGE_NEGATIVE="promotional_credit")
    many.bill()
    many.recalculate("1", "-2.5")
    ended_well(many.slowly(), credit_create=CUSTOMERS)
    given = [row["amount"] for row in many.world.chargebee.promotional_credits.rows()]
    assert given == [150] * CUSTOMERS


@pytest.mark.slow
def test_accounts_account_plans_and_mappings_outlast_a_lease(open_sandbox):
    many = Many(open_sandbox)
    report = many.slowly(sync_subscriptions)
    ended_well(report, account_create=CUSTOMERS, account_plan_create=CUSTOMERS)


@pytest.mark.slow
def test_charges_and_their_mappings_outlast_a_lease(open_sandbox):
    many = Many(open_sandbox)
    many.bill()
    ended_well(many.slowly(), charge_create=2 * CUSTOMERS, external_mapping_create=3 * CUSTOMERS)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["create", "unbilled"])
def test_charge_sets_outlast_a_lease(open_sandbox, mode):
    many = Many(open_sandbox, METERBRIDGE_NO_PENDING_INVOICE=mode)
    many.bill()
    no_draft_comes(many.world)
    ended_well(many.slowly(), charge_set_create=CUSTOMERS)


@pytest.mark.slow
def test_removals_outlast_a_lease(open_sandbox):
    many = Many(open_sandbox)
    many.bill()
    sync_bills.fn()
    many.recalculate("50", "7")
    ended_well(many.slowly(), charge_removal_delete=2 * CUSTOMERS, charge_create=2 * CUSTOMERS)


@pytest.mark.slow
def test_credit_notes_outlast_a_lease(open_sandbox):
    many = Many(open_sandbox, METERBRIDGE_NEGATIVE_DELTA="credit_note")
    many.bill()
    sync_bills.fn()
    close_drafts(many.world)
    sync_bills.fn()
    many.recalculate("1", "2")
    ended_well(many.slowly(), credit_create=CUSTOMERS)
