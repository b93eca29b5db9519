"""Portions in one call: what is intended, and which lines are whose when the answer or a list shows them."""

from datetime import UTC, datetime

import pytest

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.booked import Wish
from meterbridge.rules.charge_sets import pair
from meterbridge.rules.records import ChargeRule, InFlight, Intent, InvoiceLine
from tests.unit.bill_world import APRIL, MARCH, bill, case, draft, line, policy, stand, subscription, told

FROM, TO = 1_772_323_200, 1_775_001_599
CREATE = {"no_pending_invoice": "create"}


def wish(reference, amount, item=None):
    return Wish("charge_item_price" if item else "adhoc", item, reference, FROM, TO, "sub1", amount)


def there(name, amount, text="", item=None):
    first, last = (datetime.fromtimestamp(at, UTC) for at in (FROM, TO))
    return InvoiceLine(name, "charge_item_price" if item else "adhoc", item, text, first, last, amount, "sub1")


TABLE = {
    "each by its reference": (
        [wish("mb:1", 5), wish("mb:2", 5)],
        [there("b", 5, "x [mb:2]"), there("a", 5, "x [mb:1]")],
        ({0: "a", 1: "b"}, {}, []),
    ),
    "a line without our reference is not ours": ([wish("mb:1", 5)], [there("a", 5, "x")], ({}, {}, [])),
    "charge items without a text by amount": (
        [wish("mb:1", 5, "ip"), wish("mb:2", 7, "ip")],
        [there("a", 7, item="ip"), there("b", 5, item="ip")],
        ({0: "b", 1: "a"}, {}, []),
    ),
    "a wrong amount": ([wish("mb:1", 5, "ip")], [there("a", 9, item="ip")], ({}, {0: "a"}, [])),
    "one line too many": (
        [wish("mb:1", 5)],
        [there("a", 5, "x [mb:1]"), there("b", 5, "x [mb:1]")],
        ({0: "a"}, {}, ["b"]),
    ),
    "what stood before is not ours": ([wish("mb:1", 5, "ip")], [there("old", 5, item="ip")], ({}, {}, [])),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_line_is_given_to_one_charge(name):
    wishes, lines, (booked, wrong, beyond) = TABLE[name]
    found = pair(wishes, lines, taken={"old"})
    assert found.booked == booked
    assert {index: one.id for index, one in found.wrong.items()} == wrong
    assert found.beyond == beyond


def ended(**changes):
    gone = subscription(1, status="cancelled", next_billing_at=None)
    lines = (line("l1", "10.00"), line("l2", "5.50", sequence=2))
    known = {"subscriptions": {"sub1": gone, "sub2": subscription(2)}, "invoices": ()}
    return case(bill(*lines), **{**known, **changes})


def test_all_lines_of_a_portion_are_one_intent_and_the_reason_says_where_they_go():
    [one] = decide_bill(ended(), policy(**CREATE))
    assert isinstance(one, Intent)
    assert (one.kind, one.amount, one.payload["method"]) == ("charge_set", 1550, "create_invoice")
    assert [line["amount"] for line in one.payload["lines"]] == [1000, 550]
    assert "15.50 EUR on an invoice of its own; no pending invoice: subscription sub1 is cancelled" in one.reason


def test_other_amounts_are_the_same_set_and_other_lines_another_one():
    before, after, other = (
        decide_bill(ended(bill=bill(*lines)), policy(**CREATE))[0]
        for lines in (
            [line("l1", "10.00"), line("l2", "5.50", sequence=2)],
            [line("l1", "11.00"), line("l2", "5.50", sequence=2)],
            [line("l1", "10.00")],
        )
    )
    assert before.key == after.key != other.key
    assert before.fingerprint != after.fingerprint


def test_unbilled_charges_of_an_ended_subscription_carry_a_warning():
    [one] = decide_bill(ended(), policy(no_pending_invoice="unbilled"))
    assert "has ended" in one.warnings[-1]


def test_nothing_is_decided_while_a_call_has_no_answer():
    call = InFlight("charge_set", ("bill1", "sub1"), 1550, "EUR")
    single = InFlight("charge", ("bill1", "sub1", "x"), 1550, "EUR")
    for unproven in (call, single):
        assert told(decide_bill(ended(in_flight=(unproven,)), policy(**CREATE))) == [("waiting", "sub1", 1550, None)]


def test_a_waiting_portion_goes_on_no_invoice_of_its_own():
    world = ended(subscriptions={"sub1": subscription(1)})
    assert [one[0] for one in told(decide_bill(world, policy(**CREATE)))] == ["waiting"]


def test_what_is_unbilled_stands_and_only_the_difference_is_charged():
    world = ended(invoices=(draft(1, at=APRIL),), subscriptions={"sub1": subscription(1)})
    first = [one for one in decide_bill(world, policy()) if isinstance(one, Intent)]
    lines = tuple(stand(one) for one in first)
    more = ended(bill=bill(line("l1", "12.00"), line("l2", "5.50", sequence=2)), standing=lines)
    [one] = decide_bill(more, policy(no_pending_invoice="unbilled"))
    assert (one.kind, one.amount) == ("charge_set", 200)


def test_more_lines_than_an_invoice_takes_are_set_aside():
    assert told(decide_bill(ended(), policy(max_invoice_lines=1, **CREATE))) == [("MB-INVOICE-FULL", "sub1", 1550)]


def test_a_charge_item_keeps_its_item_price_and_has_a_text_of_its_own():
    rules = (ChargeRule("api-usage-EUR", aggregation="api_calls"),)
    [one] = decide_bill(ended(), policy(charges=rules, **CREATE))
    [first, second] = one.payload["lines"]
    assert (first["method"], first["item_price_id"]) == ("add_charge_item", "api-usage-EUR")
    assert first["description"].startswith("API: ")
    assert first["description"] != second["description"]
    assert MARCH.timestamp() == first["date_from"]
