"""What we would charge beside what is there: each charge finds its own line, nothing is called equal that is not."""

from datetime import timedelta
from decimal import Decimal

import pytest

from meterbridge.rules.keys import reference
from meterbridge.rules.native import sending_bills
from meterbridge.rules.portions import reckon
from meterbridge.rules.records import ChargeRule, InvoiceLine
from meterbridge.rules.shadow import compare
from tests.unit.bill_world import APRIL, MARCH, bill, case, draft, line, policy

LAST = APRIL - timedelta(seconds=1)
ITEM = (ChargeRule("api-usage-EUR", aggregation="api_calls"),)


def there(name, amount, *, text="", item=None, first=MARCH, last=LAST, owner="sub1", kind=None):
    kind = kind or ("charge_item_price" if item else "adhoc")
    return InvoiceLine(name, kind, item, text, first, last, amount, owner)


def compared(lines, *charges, rules=(), status="paid", **changes):
    world = case(bill(*charges), invoices=(draft(1, *lines, status=status),), **changes)
    rows = compare([(world, reckon(world, policy(charges=rules), 2))])
    return [(row.verdict, row.wanted, row.found, row.line_id) for row in rows]


TEN, TWO = line("l1", "10.00"), line("l2", "2.00", sequence=2)
TABLE = {
    "equal by the dates and the amount": ([there("a", 1000)], [TEN], [("equal", 1000, 1000, "a")]),
    "dates as others book them": ([there("a", 1000, last=APRIL)], [TEN], [("equal", 1000, 1000, "a")]),
    "a part of the period": ([there("a", 1000, first=APRIL - timedelta(days=9))], [TEN], [("equal", 1000, 1000, "a")]),
    "another amount": ([there("a", 999)], [TEN], [("different", 1000, 999, "a")]),
    "not there": ([], [TEN], [("missing", 1000, None, "")]),
    "another subscription's": ([there("a", 1000, owner="sub2")], [TEN], [("missing", 1000, None, "")]),
    "another month's": (
        [there("a", 1000, first=APRIL, last=APRIL + timedelta(days=30))],
        [TEN],
        [("missing", 1000, None, "")],
    ),
    "there alone": ([there("a", 1000), there("b", 5)], [TEN], [("equal", 1000, 1000, "a"), ("extra", None, 5, "b")]),
    "the plan itself is none of ours": (
        [there("a", 1000), there("p", 4900, kind="plan_item_price", item="api-EUR")],
        [TEN],
        [("equal", 1000, 1000, "a")],
    ),
    "amounts pair before dates do": (
        [there("a", 200), there("b", 1000)],
        [TEN, TWO],
        [("equal", 1000, 1000, "b"), ("equal", 200, 200, "a")],
    ),
    "one line serves one charge": (
        [there("a", 1000)],
        [TEN, line("l2", "10.00", sequence=2)],
        [("equal", 1000, 1000, "a"), ("missing", 1000, None, "")],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_charge_finds_its_line(name):
    lines, charges, expected = TABLE[name]
    assert compared(lines, *charges) == expected


def test_a_mapping_tells_more_than_an_equal_amount():
    lines = [there("a", 1000), there("b", 700)]
    rows = compared(lines, TEN, mapped_invoice_lines={"l1": "b"})
    assert rows == [("different", 1000, 700, "b"), ("extra", None, 1000, "a")]


def test_our_reference_and_the_charge_item_tell_more_than_an_equal_amount():
    world = case(bill(TEN))
    [portion] = [one for one in reckon(world, policy(), 2) if one.wanted]
    mark = reference(portion.wanted[0].key)
    assert compared([there("a", 1000), there("b", 7, text=f"x [{mark}]")], TEN)[0] == ("different", 1000, 7, "b")
    assert compared([there("a", 1000), there("b", 7, item="api-usage-EUR")], TEN, rules=ITEM)[0] == (
        "different",
        1000,
        7,
        "b",
    )


def test_voided_invoices_hold_nothing():
    assert compared([there("a", 1000)], TEN, status="voided") == [("missing", 1000, None, "")]


def test_a_line_is_counted_for_one_bill_only():
    lines = (there("a", 1000), there("b", 1000))
    worlds = [case(bill(TEN, id=name), invoices=(draft(1, *lines, status="paid"),)) for name in ("bill1", "bill2")]
    rows = compare([(world, reckon(world, policy(), 2)) for world in worlds])
    assert [(row.bill_id, row.verdict, row.line_id) for row in rows] == [
        ("bill1", "equal", "a"),
        ("bill2", "equal", "b"),
    ]


def test_a_bill_that_is_not_approved_and_a_line_worth_nothing_want_no_charge():
    pending = case(bill(TEN, status="PENDING"), invoices=(draft(1, there("a", 1000), status="paid"),))
    rows = compare([(pending, reckon(pending, policy(), 2))])
    assert [(row.verdict, row.found) for row in rows] == [("extra", 1000)]
    assert compared([], TEN, line("l2", "0", sequence=2)) == [("missing", 1000, None, "")]


def test_rounding_is_the_bills_own():
    third = Decimal("0.335")
    lines = [line(f"l{n}", str(third), sequence=n) for n in (1, 2)]
    assert [row[1] for row in compared([], *lines)] == [34, 33]


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({}, True),
        ({"accountIds": ["acc-1", "acc-9"]}, True),
        ({"accountIds": ["acc-9"]}, False),
        ({"Account ids": "acc-8, acc-9"}, False),
        ({"restrictedAccountIds": ["acc-1"]}, True),
        ({"restrictedAccountIds": ["acc-1", "acc-2"]}, False),
        ({"accountIds": ["acc-1"], "restrictedAccountIds": ["acc-1"]}, False),
        ({"accountFilter": "address.country == US"}, True),
        ({"someOtherList": ["acc-9"]}, True),
        ("no mapping", True),
    ],
)
def test_an_integration_counts_unless_its_lists_leave_our_accounts_out(options, counts):
    one = {"name": "own", "destination": "Chargebee", "entityType": "Bill", "enabled": True, "configData": options}
    assert sending_bills([one], {"acc-1", "acc-2"}) == (["own"] if counts else [])
    assert sending_bills([one], ()) == ["own"]
