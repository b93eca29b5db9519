"""Which differences are known already, and what is left of those that are known in part."""

import pytest

from meterbridge.rules.explained import Reason, split_charges, split_items
from meterbridge.rules.reconcile import Difference

PORTION = ("bill-1", "sub-1")


def charge(money: int, disagreement: str = "missing") -> Difference:
    return Difference(disagreement, "charge", PORTION, "1000", None, money, "EUR")  # type: ignore[arg-type]


def reason(code: str, amount: int | None, key: tuple[str, ...] = PORTION) -> Reason:
    return Reason("quarantined", key, code, "why", amount, "EUR")


def test_a_difference_that_nobody_knows_of_is_drift():
    assert split_charges([charge(-1000)], []) == ([charge(-1000)], [])


@pytest.mark.parametrize(
    ("money", "reasons"),
    [
        pytest.param(-1000, [reason("MB-NO-INVOICE", 1000)], id="missing-money-that-is-set-aside"),
        pytest.param(-1000, [reason("", 400), reason("", 600)], id="two-reasons-add-up"),
        pytest.param(50, [reason("MB-BILL-NEGATIVE", -50)], id="a-credit-left-over"),
        pytest.param(1000, [reason("MB-BILL-DELETED", 1000)], id="what-stands-for-a-deleted-bill"),
        pytest.param(700, [reason("MB-DOUBLE-CHARGE", 1000)], id="a-person-has-to-look-at-the-invoice"),
        pytest.param(-123, [reason("MB-BILL-LINE", None, ("bill-1",))], id="the-whole-bill-is-set-aside"),
        pytest.param(-300, [reason("MB-REFUSED", 300, (*PORTION, "line"))], id="one-charge-of-the-portion"),
    ],
)
def test_what_a_reason_accounts_for_to_the_minor_unit_is_no_drift(money, reasons):
    drift, explained = split_charges([charge(money)], reasons)

    assert (drift, explained) == ([], [(charge(money), tuple(reasons))])


@pytest.mark.parametrize(
    ("money", "amount", "left"),
    [
        pytest.param(-1000, 400, -600, id="more-is-missing-than-was-set-aside"),
        pytest.param(100, 400, 500, id="and-more"),
    ],
)
def test_what_no_reason_covers_is_drift_at_that_amount(money, amount, left):
    known = reason("MB-NO-INVOICE", amount)

    drift, explained = split_charges([charge(money)], [known])

    assert [one.money for one in drift] == [left]
    assert explained == [(charge(money), (known,))]


def test_a_reason_of_another_portion_explains_nothing():
    drift, _ = split_charges([charge(-1000)], [reason("MB-NO-INVOICE", 1000, ("bill-1", "sub-2"))])

    assert drift == [charge(-1000)]


MISSING = Difference("missing", "account plan", ("sub-1", "price-1"), "plan p", None)
ENDED = Difference("different", "end", ("sub-1", "price-1", "ap-1"), "open", "2026-05-01T00:00:00+00:00")
EXTRA = Difference("extra", "account plan", ("", "", "ap-9"), None, "plan p")


def item(message: str, *key: str) -> Reason:
    return Reason("quarantined", key, "MB-PLAN-OVERLAP", message)


@pytest.mark.parametrize(
    ("difference", "known"),
    [
        pytest.param(MISSING, item("overlaps", "sub-1", "price-1", "2"), id="its-item-is-set-aside"),
        pytest.param(MISSING, item("comes without status", "sub-1"), id="its-subscription-is"),
        pytest.param(
            EXTRA, item("would overlap account plan ap-9, which", "sub-7", "x", "1"), id="the-reason-names-it"
        ),
    ],
)
def test_an_account_plan_that_is_set_aside_is_no_drift(difference, known):
    assert split_items([difference], [known]) == ([], [(difference, (known,))])


def test_an_account_plan_changed_by_hand_is_drift_even_where_its_next_period_is_set_aside():
    assert split_items([ENDED], [item("overlaps", "sub-1", "price-1", "2")]) == ([ENDED], [])


def test_an_account_plan_that_no_reason_names_is_drift():
    assert split_items([EXTRA], [item("overlaps account plan ap-8", "sub-7", "x", "1")]) == ([EXTRA], [])
