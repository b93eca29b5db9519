"""What a closed invoice has too much of lowers new charges of the same subscription, to the minor unit."""

from dataclasses import replace

import pytest

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.carry import carry_over
from meterbridge.rules.records import Intent, Quarantined, StandingLine, Waiting
from tests.unit.bill_world import applied, bill, case, draft, line, policy, told


def surplus(amount, subscription="sub1", currency="EUR"):
    return Quarantined("charge", ("old", subscription), "MB-BILL-CHANGED", "why", -amount, currency, 3, amount)


def charges(*amounts, number=1):
    lines = (line(f"l{n}", str(amount), n, plan=f"plan{number}") for n, amount in enumerate(amounts, 1))
    return decide_bill(case(bill(*lines)), policy())


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        pytest.param(
            [surplus(200), *charges(10)], [("waiting", "sub1", -200, None), ("create", "sub1", 800)], id="lowered"
        ),
        pytest.param(
            [*charges(10), surplus(200)], [("create", "sub1", 800), ("waiting", "sub1", -200, None)], id="any-order"
        ),
        pytest.param(
            [surplus(1000), *charges(10)], [("waiting", "sub1", -1000, None), ("net", "sub1", 0)], id="used-up-whole"
        ),
        pytest.param(
            [surplus(1200), *charges(10)], [("MB-BILL-CHANGED", "sub1", -200), ("net", "sub1", 0)], id="some-is-left"
        ),
        pytest.param(
            [surplus(700), *charges(5, 3)],
            [("waiting", "sub1", -700, None), ("net", "sub1", 0), ("create", "sub1", 100)],
            id="over-two-charges",
        ),
        pytest.param(
            [surplus(100), surplus(200, "sub2"), *charges(10)],
            [("waiting", "sub1", -100, None), ("MB-BILL-CHANGED", "sub2", -200), ("create", "sub1", 900)],
            id="never-across-subscriptions",
        ),
        pytest.param(
            [surplus(100, currency="USD"), *charges(10)],
            [("MB-BILL-CHANGED", "sub1", -100), ("create", "sub1", 1000)],
            id="never-across-currencies",
        ),
    ],
)
def test_a_surplus_lowers_new_charges(decisions, expected):
    assert told(carry_over(decisions)) == expected


def test_a_lowered_charge_is_another_one_and_says_why():
    [plain] = charges(10)
    _, lowered = carry_over([surplus(200), plain])
    assert lowered.payload["amount"] == lowered.state["amount"] == 800
    assert lowered.state["carried"] == [{"bill_id": "old", "subscription_id": "sub1", "amount": 200}]
    assert lowered.fingerprint != plain.fingerprint
    assert "lowered by 200 minor units that bill old was charged too much" in lowered.reason


def test_only_what_stands_for_good_is_a_surplus():
    standing = applied(case(bill(line("l1", "5"))))
    closed = case(bill(line("l1", "4")), standing=standing, invoices=(draft(1, status="paid"),))
    [aside] = decide_bill(closed, policy())
    assert aside.surplus == 100
    never_charged = decide_bill(case(bill(line("l1", "-4"))), policy())
    adopted = decide_bill(replace(closed, standing=(replace(standing[0], adopted=True),)), policy())
    settled = decide_bill(case(bill(line("l1", "4")), settled={"sub1": 500}), policy())
    assert [one.surplus for one in (*never_charged, *adopted, *settled)] == [0, 0, 0]


def stands_carried(status, **invoice):
    """Both bills once the lowered charge is applied, its draft in the given state: what is decided of each."""
    first = applied(case(bill(line("l1", "5"))))
    new = bill(line("l9", "10"), id="bill2")
    _, lowered = carry_over([surplus(100), *decide_bill(case(new, invoices=(draft(1, id="next"),)), policy())])
    ours = StandingLine(lowered.key, "bill2", "sub1", "next", "x1", 900, "EUR", "", movable=False)
    plus = replace(ours, key=("bill2", "sub1", "carried"), amount=100, carried=True)
    minus = replace(plus, key=("bill1", "sub1", "carried"), bill_id="bill1", amount=-100)
    invoices = (draft(1, status="paid"), draft(1, id="next", status=status, **invoice))
    old = case(bill(line("l1", "4")), standing=(*first, minus), invoices=invoices)
    return told(decide_bill(old, policy())), told(
        decide_bill(case(new, standing=(ours, plus), invoices=invoices), policy())
    )


@pytest.mark.parametrize("status", ["pending", "paid"])
def test_both_bills_rest_once_the_lowered_charge_is_booked(status):
    assert stands_carried(status) == ([("unchanged", "sub1")], [("unchanged", "sub1")])


def test_a_surplus_goes_away_with_the_line_that_carried_it():
    assert stands_carried("voided") == ([("MB-VOIDED", "sub1", -100)], [("MB-VOIDED", "sub1", 1000)])


def test_what_is_not_a_charge_is_left_alone():
    others = [Waiting("charge", ("b", "sub1"), "", 5, "EUR"), surplus(10)]
    assert [one for one in carry_over(others) if isinstance(one, Intent)] == []
    assert carry_over(others) == others


def test_a_lowered_line_is_no_rounding_that_was_sent():
    thirds = (line("l1", "0.335"), line("l2", "0.335", 2, plan="plan2"), line("l3", "0.33", 3))
    key = next(one.key for one in decide_bill(case(bill(*thirds)), policy()) if isinstance(one, Intent))
    ours = StandingLine(key, "bill1", "sub1", "draft1", "x1", 33, "EUR", "", movable=False)
    plus = replace(ours, key=("bill1", "sub1", "carried"), amount=1, carried=True)
    decisions = decide_bill(case(bill(*thirds), standing=(ours, plus)), policy())
    assert told(decisions) == [("create", "sub1", 33), ("create", "sub2", 33)]
