"""Which leftovers become a credit, by setting, and what stands once one is given."""

from dataclasses import replace

import pytest

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.records import StandingLine
from tests.unit.bill_world import APRIL, applied, bill, case, draft, line, policy, subscription, told

NEGATIVE = bill(line("l1", "1"), line("l2", "-2.5", 2))
FIVE = bill(line("l1", "5"))
FOUR = bill(line("l1", "4"))


def given(intent):
    """The ledger's credit once the intent is applied."""
    return StandingLine(intent.key, "bill1", "sub1", "", "", intent.amount, "EUR", "", movable=False)


def closed(status="paid"):
    return {"standing": applied(case(FIVE)), "invoices": (draft(1, status=status),)}


@pytest.mark.parametrize(
    ("the_bill", "world", "changes", "expected"),
    [
        pytest.param(NEGATIVE, {}, {}, ("MB-BILL-NEGATIVE", "sub1", -150), id="a-person-by-default"),
        pytest.param(NEGATIVE, {}, {"negative": "promotional_credit"}, ("create", "sub1", -150), id="promotional"),
        pytest.param(
            NEGATIVE,
            {"now": APRIL},
            {"negative": "promotional_credit"},
            ("waiting", "sub1", -150, APRIL.replace(day=2)),
            id="not-before-the-bill-has-settled",
        ),
        pytest.param(
            NEGATIVE,
            {"subscriptions": {"sub1": subscription(1, "USD")}},
            {"negative": "promotional_credit"},
            ("MB-BILL-NEGATIVE", "sub1", -150),
            id="never-in-another-currency",
        ),
        pytest.param(FOUR, closed(), {"negative_delta": "credit_note"}, ("create", "sub1", -100), id="credit-note"),
        pytest.param(FOUR, closed(), {}, ("MB-BILL-CHANGED", "sub1", -100), id="netted-later-by-default"),
        pytest.param(
            FOUR, closed(), {"negative": "promotional_credit"}, ("MB-BILL-CHANGED", "sub1", -100), id="another-setting"
        ),
    ],
)
def test_what_becomes_of_a_leftover(the_bill, world, changes, expected):
    assert told(decide_bill(case(the_bill, **world), policy(**changes))) == [expected]


@pytest.mark.parametrize(("status", "kind"), [("paid", "refundable"), ("payment_due", "adjustment")])
def test_a_credit_note_names_the_closed_invoice_and_fits_its_payment(status, kind):
    [intent] = decide_bill(case(FOUR, **closed(status)), policy(negative_delta="credit_note"))
    assert (intent.kind, intent.payload["invoice_id"], intent.payload["type"]) == ("credit", "draft1", kind)
    assert (intent.payload["amount"], intent.scope) == (100, "customer:cust")


def test_a_given_credit_rests_and_a_further_fall_is_a_second_one():
    rules = policy(negative_delta="credit_note")
    world = closed()
    [first] = decide_bill(case(FOUR, **world), rules)
    world["standing"] = (*world["standing"], given(first))
    assert told(decide_bill(case(FOUR, **world), rules)) == [("unchanged", "sub1")]
    [second] = decide_bill(case(bill(line("l1", "3")), **world), rules)
    assert (second.amount, second.key == first.key) == (-100, False)


def test_a_bill_that_rises_again_is_charged_what_was_credited():
    [credit] = decide_bill(case(NEGATIVE), policy(negative="promotional_credit"))
    again = bill(line("l1", "3"), line("l2", "-2.5", 2))
    charged = decide_bill(case(again, standing=(given(credit),)), policy())
    assert sum(one.amount for one in charged) == 200


def test_the_paying_customer_gets_the_credit():
    owned = replace(subscription(1), invoice_owner_id="owner")
    [intent] = decide_bill(case(NEGATIVE, subscriptions={"sub1": owned}), policy(negative="promotional_credit"))
    assert intent.payload["customer_id"] == "owner"
