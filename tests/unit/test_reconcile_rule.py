from datetime import UTC, datetime

import pytest

from meterbridge.rules.reconcile import (
    Difference,
    StandingCharge,
    StandingPlan,
    Total,
    WantedCharge,
    WantedPlan,
    compare_bills,
    compare_items,
)

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


def want(start=MARCH, end=None, item="ip", account="acc", plan="pl"):
    return WantedPlan("sub", item, account, plan, start, end)


def stand(start=MARCH, end=None, item="ip", account="acc", plan="pl", remote="ap1"):
    return StandingPlan(remote, "sub", item, account, plan, start, end)


@pytest.mark.parametrize(
    ("desired", "found", "expected"),
    [
        pytest.param([want()], [stand()], [], id="equal"),
        pytest.param([], [], [], id="nothing-on-either-side"),
        pytest.param(
            [want()],
            [],
            [
                Difference(
                    "missing",
                    "account plan",
                    ("sub", "ip"),
                    "plan pl on account acc, 2026-03-01T00:00:00+00:00 to open",
                    None,
                )
            ],
            id="missing",
        ),
        pytest.param(
            [],
            [stand(end=APRIL)],
            [
                Difference(
                    "extra",
                    "account plan",
                    ("sub", "ip", "ap1"),
                    None,
                    "plan pl on account acc, 2026-03-01T00:00:00+00:00 to 2026-04-01T00:00:00+00:00",
                )
            ],
            id="extra",
        ),
        pytest.param(
            [want(end=APRIL)],
            [stand()],
            [Difference("different", "end", ("sub", "ip", "ap1"), "2026-04-01T00:00:00+00:00", "open")],
            id="one-does-not-end",
        ),
        pytest.param(
            [want(start=APRIL)],
            [stand(start=MARCH)],
            [
                Difference(
                    "different", "start", ("sub", "ip", "ap1"), "2026-04-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00"
                )
            ],
            id="another-start",
        ),
        pytest.param(
            [want(plan="pro", account="a2")],
            [stand()],
            [
                Difference("different", "account", ("sub", "ip", "ap1"), "a2", "acc"),
                Difference("different", "plan", ("sub", "ip", "ap1"), "pro", "pl"),
            ],
            id="another-account-and-plan",
        ),
        pytest.param(
            [want(end=APRIL), want(start=APRIL, plan="pro")],
            [stand(start=APRIL, plan="pro", remote="ap2"), stand(end=APRIL)],
            [],
            id="periods-are-paired-by-start",
        ),
        pytest.param(
            [want(start=APRIL)],
            [stand(start=MARCH, end=APRIL), stand(start=APRIL, remote="ap2")],
            [
                Difference(
                    "extra",
                    "account plan",
                    ("sub", "ip", "ap1"),
                    None,
                    "plan pl on account acc, 2026-03-01T00:00:00+00:00 to 2026-04-01T00:00:00+00:00",
                )
            ],
            id="the-period-nobody-wants-is-extra",
        ),
    ],
)
def test_account_plans_differ_as_expected(desired, found, expected):
    assert compare_items(desired, found) == expected


def test_items_are_compared_each_with_its_own():
    differences = compare_items([want(item="a"), want(item="b")], [stand(item="b"), stand(item="c", remote="ap3")])
    assert [(one.disagreement, one.key) for one in differences] == [
        ("missing", ("sub", "a")),
        ("extra", ("sub", "c", "ap3")),
    ]


@pytest.mark.parametrize(
    ("wanted", "standing", "differences", "totals"),
    [
        pytest.param(
            [WantedCharge("b", "s", 100, "EUR")],
            [StandingCharge("b", "s", 60, "EUR", "i1"), StandingCharge("b", "s", 40, "EUR", "i2")],
            [],
            {"EUR": Total(100, 100)},
            id="a-portion-is-right-when-its-sum-is",
        ),
        pytest.param(
            [WantedCharge("b", "s", 4124, "EUR")],
            [],
            [Difference("missing", "charge", ("b", "s"), "4124", None, -4124, "EUR")],
            {"EUR": Total(4124, 0)},
            id="missing",
        ),
        pytest.param(
            [],
            [StandingCharge("b", "s", 500, "JPY", "i1")],
            [Difference("extra", "charge", ("b", "s"), None, "500 on invoice i1", 500, "JPY")],
            {"JPY": Total(0, 500)},
            id="extra",
        ),
        pytest.param(
            [WantedCharge("b", "s", 60, "EUR"), WantedCharge("b", "s", 41, "EUR")],
            [StandingCharge("b", "s", 100, "EUR", "i1")],
            [Difference("different", "amount", ("b", "s"), "101", "100 on invoice i1", -1, "EUR")],
            {"EUR": Total(101, 100)},
            id="one-cent-short",
        ),
        pytest.param(
            [WantedCharge("b", "s", 100, "EUR")],
            [StandingCharge("b", "s", 90, "EUR")],
            [Difference("different", "amount", ("b", "s"), "100", "90 on no invoice: settled by hand", -10, "EUR")],
            {"EUR": Total(100, 90)},
            id="settled-by-hand-counts",
        ),
        pytest.param(
            [WantedCharge("b", "s", 100, "EUR")],
            [StandingCharge("b", "s", 100, "USD", "i1")],
            [
                Difference("missing", "charge", ("b", "s"), "100", None, -100, "EUR"),
                Difference("extra", "charge", ("b", "s"), None, "100 on invoice i1", 100, "USD"),
            ],
            {"EUR": Total(100, 0), "USD": Total(0, 100)},
            id="currencies-never-mix",
        ),
        pytest.param([WantedCharge("b", "s", 0, "EUR")], [], [], {"EUR": Total(0, 0)}, id="zero-needs-no-charge"),
        pytest.param([], [], [], {}, id="nothing"),
    ],
)
def test_money_differs_as_expected(wanted, standing, differences, totals):
    assert compare_bills(wanted, standing) == (differences, totals)


def test_a_total_tells_its_difference():
    assert Total(wanted=101, standing=100).difference == -1


def test_money_in_both_directions_does_not_cancel():
    differences, totals = compare_bills(
        [WantedCharge("b1", "s", 10, "EUR"), WantedCharge("b2", "s", 20, "EUR")],
        [StandingCharge("b1", "s", 20, "EUR", "i"), StandingCharge("b2", "s", 10, "EUR", "i")],
    )
    assert [one.money for one in differences] == [10, -10]
    assert totals["EUR"].difference == 0
