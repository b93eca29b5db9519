"""What should stand, made of decisions, and what stands, made of invoice lines."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from meterbridge.rules.booked import Wish
from meterbridge.rules.both_sides import UNKNOWN_BILL, Claim, Expected, desired_plans, standing_charges
from meterbridge.rules.reconcile import StandingCharge, WantedPlan
from meterbridge.rules.records import Intent, Invoice, InvoiceLine, KnownPlan, Ref

MARCH, APRIL, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 5))
LAST = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
KEY = ("sub-1", "price-1", "1")

KNOWN = KnownPlan("sub-1", "price-1", 1, "ap-1", "acc-1", "cust-1", "plan-1", "product-1", MARCH, None, "plan-1/x")
WANTED = WantedPlan("sub-1", "price-1", "acc-1", "plan-1", MARCH, None)


def decided(action, key=KEY, start="2026-03-01T00:00:00Z", end=None, **state) -> Intent:
    known = {
        "account_id": "acc-1",
        "customer_id": "cust-1",
        "plan_id": "plan-1",
        "start": start,
        "end": end,
        "subscription_id": key[0],
        "item_price_id": key[1],
        **state,
    }
    return Intent("account_plan", key, action, "m3ter", {}, "f", "reason", "account:cust-1", state=known)


@pytest.mark.parametrize(
    ("decisions", "wanted"),
    [
        pytest.param([], [WANTED], id="nothing-to-do-is-what-the-ledger-has"),
        pytest.param([decided("delete")], [], id="deleted"),
        pytest.param([decided("update", end="2026-04-01T00:00:00Z")], [replace(WANTED, end=APRIL)], id="ended"),
        pytest.param(
            [
                decided(
                    "replace",
                    ("sub-1", "price-1", "2"),
                    start="2026-04-01T00:00:00Z",
                    plan_id="plan-2",
                    replaces=[list(KEY)],
                )
            ],
            [replace(WANTED, end=APRIL), replace(WANTED, plan_id="plan-2", start=APRIL)],
            id="replaced-at-one-instant",
        ),
        pytest.param(
            [decided("update", ("sub-1", "price-2", "1"), plan_id="plan-2", replaces=[list(KEY)])],
            [replace(WANTED, item_price_id="price-2", plan_id="plan-2")],
            id="goes-on-under-another-item-price",
        ),
        pytest.param(
            [decided("create", ("sub-2", "price-1", "1"), account_id={"$ref": ["account", "cust-1"]})],
            [WANTED, replace(WANTED, subscription_id="sub-2", account_id="the new account of cust-1")],
            id="created-on-an-account-to-be",
        ),
    ],
)
def test_desired_is_what_the_ledger_knows_and_the_decisions_change(decisions, wanted):
    assert desired_plans([KNOWN], decisions) == wanted


def test_decisions_on_accounts_and_mappings_want_no_account_plan():
    other = Intent("account", ("cust-1",), "create", "m3ter", {}, "f", "r", "s", depends_on=(Ref("account", ("x",)),))

    assert desired_plans([], [other]) == []


# --- charges --------------------------------------------------------------------------------

BY_REFERENCE = Expected("bill-1", "sub-1", "mb:0123456789ab", None, MARCH, LAST)
BY_PRICE = Expected("bill-1", "sub-1", "mb:ba9876543210", "usage-EUR", MARCH, LAST)


def line(line_id: str, amount: int = 500, *, price: str | None = None, text: str = "", first=MARCH, last=LAST):
    entity = "charge_item_price" if price else "adhoc"
    return InvoiceLine(line_id, entity, price, text, first, last, amount, "sub-1")


def invoice(*lines: InvoiceLine, status: str = "pending") -> Invoice:
    return Invoice("inv-1", status, "cust-1", "sub-1", "EUR", APRIL, "tax_exclusive", lines)


def claim(line_id: str) -> Claim:
    wish = Wish("charge_item_price", "usage-EUR", "", int(MARCH.timestamp()), int(LAST.timestamp()), "sub-1", 500)
    return Claim("bill-1", "sub-1", line_id, wish)


def standing(amount: int, bill_id: str = "bill-1") -> StandingCharge:
    return StandingCharge(bill_id, "sub-1", amount, "EUR", "inv-1")


OURS = line("li-1", price="usage-EUR")


@pytest.mark.parametrize(
    ("claims", "lines", "found"),
    [
        pytest.param([claim("li-1")], [OURS], [standing(500)], id="claimed"),
        pytest.param([claim("li-1")], [replace(OURS, amount=700)], [standing(700)], id="at-the-amount-it-has-now"),
        pytest.param([claim("li-1")], [], [], id="gone"),
        pytest.param([claim("li-0")], [OURS], [standing(500)], id="under-a-new-line-id"),
        pytest.param([claim("li-1")], [OURS, replace(OURS, id="li-2")], [standing(500)] * 2, id="and-once-more"),
        pytest.param([], [line("x", text="Usage [mb:0123456789ab]")], [standing(500)], id="by-reference"),
        pytest.param(
            [], [line("x", text="Usage [mb:ffffffffffff]")], [standing(500, UNKNOWN_BILL)], id="of-no-bill-known"
        ),
        pytest.param([], [line("x", text="Setup fee")], [], id="somebody-elses-ad-hoc-charge"),
        pytest.param([], [line("x", price="fee-EUR")], [], id="somebody-elses-charge-item"),
        pytest.param([], [line("x", price="usage-EUR", first=APRIL, last=MAY)], [], id="of-another-period"),
    ],
)
def test_lines_that_stand_for_a_bill(claims, lines, found):
    assert standing_charges(claims, [BY_REFERENCE, BY_PRICE], [invoice(*lines)], set()) == found


def test_lines_of_a_voided_invoice_count_nothing():
    assert standing_charges([claim("li-1")], [BY_PRICE], [invoice(OURS, status="voided")], set()) == []


def test_lines_without_a_claim_are_left_to_whoever_settled_the_portion():
    assert standing_charges([], [BY_PRICE], [invoice(OURS)], {("bill-1", "sub-1")}) == []
