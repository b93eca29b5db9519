"""The gate: which writes wait for a person, and why."""

from decimal import Decimal

import pytest

from meterbridge.rules.gate import GatePolicy, Past, propose
from meterbridge.rules.records import Intent, Ref


def charge(bill, amount, sub="s", line="l", **changes):
    known = {
        "kind": "charge",
        "key": (bill, sub, line),
        "action": "create",
        "target": "chargebee",
        "payload": {"bill_id": bill},
        "fingerprint": f"f-{amount}",
        "reason": "r",
        "scope": "invoice:i",
        "amount": amount,
        "currency": "EUR",
    }
    return Intent(**{**known, **changes})


def removal(bill, amount, line="l"):
    return charge(bill, -amount, kind="charge_removal", key=(bill, "s", line, "li"), action="delete")


def mapping(bill, *needed):
    refs = tuple(Ref(one.kind, one.key) for one in needed)
    changes = {"kind": "external_mapping", "key": ("Bill", bill, "i"), "target": "m3ter", "depends_on": refs}
    return charge(bill, None, **{**changes, "currency": None})


def told(intents, policy=None, **past):
    """Bill and reason of each gated write."""
    found = propose(intents, policy or GatePolicy(), Past(**past))
    return sorted(
        {(key[0] if kind != "external_mapping" else key[1], one.why) for (kind, key), one in found.why.items()}
    )


CAP = {"EUR": Decimal("100"), "JPY": Decimal("1000")}
PER_BILL = GatePolicy(max_per_bill=CAP)
TOTAL = GatePolicy(max_total_per_run=CAP)


@pytest.mark.parametrize(
    ("policy", "past", "expected"),
    [
        pytest.param(GatePolicy(), {}, [], id="off-lets-everything-pass"),
        pytest.param(GatePolicy(approval=True), {}, [("a", "approval"), ("b", "approval")], id="required-asks-for-all"),
        pytest.param(GatePolicy(), {"older": {"a"}}, [("a", "older")], id="an-older-bill-is-asked-for-though-off"),
        pytest.param(
            GatePolicy(approval=True), {"older": {"a"}}, [("a", "older"), ("b", "approval")], id="older-is-said-first"
        ),
        pytest.param(GatePolicy(canary=1), {}, [("b", "canary")], id="the-canary-goes-ahead-alone"),
        pytest.param(GatePolicy(canary=2), {}, [], id="a-canary-as-large-as-the-run-holds-nothing-back"),
        pytest.param(GatePolicy(canary=1), {"verified": {"b"}}, [], id="what-waited-for-a-canary-that-passed-is-sent"),
        pytest.param(GatePolicy(canary=1), {"verified": {"a"}}, [], id="a-verified-bill-does-not-use-up-the-canary"),
        pytest.param(
            GatePolicy(approval=True, canary=1),
            {"verified": {"a", "b"}},
            [("a", "approval"), ("b", "approval")],
            id="a-canary-approves-nothing",
        ),
    ],
)
def test_what_waits_and_why(policy, past, expected):
    assert told([charge("a", 10), charge("b", 20)], policy, **past) == expected


@pytest.mark.parametrize(
    ("intents", "expected"),
    [
        pytest.param([charge("a", 10000), charge("b", 10001)], [("b", "max_per_bill")], id="the-cap-itself-passes"),
        pytest.param(
            [charge("a", 6000, line="1"), charge("a", 6000, "t", "2"), charge("b", 1)],
            [("a", "max_per_bill")],
            id="a-bill-counts-with-all-its-portions",
        ),
        pytest.param([removal("a", 90000), charge("a", 95000)], [], id="a-replaced-line-counts-with-its-difference"),
        pytest.param([removal("a", 10001)], [("a", "max_per_bill")], id="what-is-taken-off-counts-too"),
        pytest.param([charge("a", -10001, kind="credit")], [("a", "max_per_bill")], id="a-credit-counts-too"),
        pytest.param([charge("a", 1000, currency="JPY")], [], id="yen-are-whole-units-at-the-cap"),
        pytest.param([charge("a", 1001, currency="JPY")], [("a", "max_per_bill")], id="yen-are-whole-units-above"),
        pytest.param([charge("a", 10**9, currency="USD")], [], id="a-currency-without-a-cap-is-not-capped"),
        pytest.param([charge("a", 20000, action="adopt")], [], id="adopting-moves-no-money"),
    ],
)
def test_a_bill_above_the_cap_waits_alone(intents, expected):
    assert told(intents, PER_BILL) == expected


@pytest.mark.parametrize(
    ("intents", "expected"),
    [
        pytest.param([charge("a", 6000), charge("b", 4000)], [], id="the-cap-itself-passes"),
        pytest.param(
            [charge("a", 6000), charge("b", 4001), charge("c", 5, currency="USD")],
            [("a", "max_total_per_run"), ("b", "max_total_per_run"), ("c", "max_total_per_run")],
            id="above-it-the-whole-run-waits",
        ),
        pytest.param(
            [charge("a", 6000), charge("b", -4001, kind="credit")],
            [("a", "max_total_per_run"), ("b", "max_total_per_run")],
            id="credits-make-no-room-for-charges",
        ),
    ],
)
def test_a_run_above_the_cap_waits_whole(intents, expected):
    assert told(intents, TOTAL) == expected


def test_a_bill_that_waits_alone_does_not_count_for_the_total():
    policy = GatePolicy(max_per_bill={"EUR": Decimal(90)}, max_total_per_run=CAP)
    assert told([charge("a", 9001), charge("b", 9000)], policy) == [("a", "max_per_bill")]


def test_the_canary_does_not_go_ahead_of_a_run_above_its_cap():
    policy = GatePolicy(max_total_per_run=CAP, canary=1)
    assert told([charge("a", 1), charge("b", 10000)], policy) == [
        ("a", "max_total_per_run"),
        ("b", "max_total_per_run"),
    ]


def test_what_is_approved_is_neither_asked_for_nor_counted_again():
    first = charge("a", 9000)
    approved = {("charge", first.key)}
    assert told([first, charge("b", 9000)], TOTAL, approved=approved) == []
    assert told([first, charge("b", 9000)], GatePolicy(approval=True), approved=approved) == [("b", "approval")]


def test_a_currency_of_unproven_scale_is_above_every_cap():
    assert told([charge("a", 1, currency="BHD")], GatePolicy(max_per_bill={"BHD": Decimal(10**6)})) == [
        ("a", "max_per_bill")
    ]


def test_what_builds_on_a_write_that_waits_waits_too_and_nothing_else():
    gone, new, other = removal("a", 10), charge("a", 20), charge("b", 20000)
    free, bound = mapping("a", gone, new), mapping("b", other)
    found = propose([gone, new, other, free, bound], PER_BILL, Past())
    assert set(found.why) == {("charge", other.key), ("external_mapping", bound.key)}


def test_the_mark_of_a_charge_that_waits_is_not_made_and_goes_with_it():
    mark = mapping("a")
    lowered = charge("a", 20000, depends_on=(Ref("external_mapping", mark.key),))
    found = propose([lowered, mark, charge("b", 1)], PER_BILL, Past())
    assert {name: one.follows for name, one in found.why.items()} == {
        ("charge", lowered.key): False,
        ("external_mapping", mark.key): True,
    }
    approved = {("charge", lowered.key)}
    assert propose([lowered, mark], PER_BILL, Past(approved=approved)).why == {}


def test_the_reason_is_said_in_words():
    found = propose([charge("a", 123456)], PER_BILL, Past())
    assert [one.words for one in found.why.values()] == ["1234.56 EUR is above max_per_bill 100 EUR"]
    found = propose([charge("a", 123456)], TOTAL, Past())
    assert [one.words for one in found.why.values()] == ["the run's 1234.56 EUR are above max_total_per_run 100 EUR"]


def test_the_hash_is_that_of_what_waits_alone():
    required = GatePolicy(approval=True)
    one, two = charge("a", 10), charge("b", 20)
    both = propose([one, two], required, Past()).change_set
    adopted = charge("c", 5, action="adopt")
    assert propose([two, adopted, one], required, Past()).change_set == both
    assert propose([one], required, Past()).change_set != both
    assert (
        propose([one, charge("b", 20, payload={"bill_id": "b", "bill_version": 2})], required, Past()).change_set
        != both
    )
    assert propose([adopted], required, Past()).change_set == ""
