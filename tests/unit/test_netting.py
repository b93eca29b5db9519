import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterbridge.rules.netting import Move, Row, net

rows = st.lists(
    st.builds(
        Row,
        subscription_id=st.sampled_from(["s1", "s2", "s3"]),
        product=st.sampled_from(["p1", "p2", None]),
        amount=st.integers(-(10**14), 10**14) | st.integers(-3, 3),
    ),
    max_size=14,
)


@pytest.mark.parametrize(
    ("given_rows", "across", "expected"),
    [
        pytest.param([("s1", "p1", 100), ("s1", "p1", -30)], False, (70, 0), id="within-the-product"),
        pytest.param([("s1", "p1", -30), ("s1", "p1", 100)], False, (0, 70), id="whatever-the-order"),
        pytest.param(
            [("s1", "p2", 100), ("s1", "p1", 20), ("s1", "p1", -20)], False, (100, 0, 0), id="own-product-pays-first"
        ),
        pytest.param(
            [("s1", "p2", 100), ("s1", "p1", 20), ("s1", "p1", -50)],
            False,
            (70, 0, 0),
            id="then-the-rest-of-the-subscription",
        ),
        pytest.param(
            [("s1", "p1", 100), ("s2", "p1", -30)], False, (100, -30), id="another-subscription-is-left-alone"
        ),
        pytest.param([("s1", "p1", 100), ("s2", "p1", -30)], True, (70, 0), id="unless-the-setting-allows-it"),
        pytest.param([("s1", "p1", 10), ("s1", "p1", -30)], True, (0, -20), id="what-is-left-stays-negative"),
        pytest.param(
            [("s1", "p1", 10), ("s1", "p1", 10), ("s1", "p1", -15)], False, (0, 5, 0), id="earlier-rows-pay-first"
        ),
        pytest.param([("s1", None, 10), ("s1", None, -4)], False, (6, 0), id="lines-without-a-product-net-too"),
        pytest.param([("s1", "p1", -5), ("s1", "p1", -6)], False, (-5, -6), id="credits-alone"),
        pytest.param([], False, (), id="nothing"),
    ],
)
def test_negative_rows_lower_positive_ones_nearest_first(given_rows, across, expected):
    assert net([Row(*row) for row in given_rows], across_subscriptions=across).amounts == expected


def test_moves_say_which_credit_lowered_which_row():
    netted = net([Row("s1", "p1", 10), Row("s1", "p2", 50), Row("s1", "p1", -25)], across_subscriptions=False)
    assert netted.moves == (Move(credit=2, debit=0, amount=10), Move(credit=2, debit=1, amount=15))


@given(rows, st.booleans())
def test_netting_conserves_the_sum(given_rows, across):
    netted = net(given_rows, across_subscriptions=across)
    assert sum(netted.amounts) == sum(row.amount for row in given_rows)


@given(rows)
def test_netting_conserves_every_subscriptions_sum(given_rows):
    netted = net(given_rows, across_subscriptions=False)
    for name in ("s1", "s2", "s3"):
        left = [left for row, left in zip(given_rows, netted.amounts, strict=True) if row.subscription_id == name]
        assert sum(left) == sum(row.amount for row in given_rows if row.subscription_id == name)
        assert min(left, default=0) >= 0 or max(left) <= 0


@given(rows)
def test_netting_never_raises_an_amount_nor_turns_its_sign(given_rows):
    for row, left in zip(given_rows, net(given_rows, across_subscriptions=True).amounts, strict=True):
        assert min(0, row.amount) <= left <= max(0, row.amount)
