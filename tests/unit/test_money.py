from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterbridge.errors import RecordRefused
from meterbridge.rules.money import (
    apart,
    exact_sum,
    exponent,
    major_text,
    plain,
    round_lines,
    to_minor,
)

sizes = st.integers(-9, 12)
digits = st.integers(-(10**22), 10**22)


@st.composite
def decimals(draw) -> Decimal:
    """Amounts whose first digit stands anywhere from 1e-9 to 1e12, with up to 22 digits behind it."""
    number = draw(digits)
    power = draw(sizes) - len(str(abs(number)))
    return Decimal((int(number < 0), Decimal(abs(number)).as_tuple().digits, power))


def fraction_rounded(total: Fraction, half_up: bool) -> int:
    whole, rest = divmod(abs(total), 1)
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and (half_up or whole % 2 == 1))
    return (int(whole) + up) * (-1 if total < 0 else 1)


@pytest.mark.parametrize(
    ("currency", "three_decimal", "expected"),
    [
        pytest.param("EUR", None, 2, id="euro-in-cents"),
        pytest.param("JPY", None, 0, id="yen-in-whole-units"),
        pytest.param("XOF", None, 0, id="west-african-franc-in-whole-units"),
        pytest.param("KRW", 3, 0, id="the-three-decimal-setting-does-not-touch-won"),
        pytest.param("HUF", None, 2, id="forint-has-hundredths-at-chargebee"),
        pytest.param("KWD", 2, 2, id="dinar-in-hundredths-once-proven"),
        pytest.param("KWD", 3, 3, id="dinar-in-thousandths-once-proven"),
    ],
)
def test_the_exponent_is_chargebees_scale(currency, three_decimal, expected):
    assert exponent(currency, three_decimal=three_decimal) == expected


@pytest.mark.parametrize("currency", ["BHD", "KWD", "OMR", "JOD", "TND", "ISK", "UGX"])
def test_an_unproven_scale_is_refused(currency):
    with pytest.raises(RecordRefused) as refusal:
        exponent(currency, three_decimal=None)
    assert refusal.value.code == "MB-CURRENCY-EXPONENT"


@pytest.mark.parametrize(
    ("amount", "places", "rounding", "expected"),
    [
        pytest.param("41.237", 2, "half_up", 4124, id="rounds-up"),
        pytest.param("41.234", 2, "half_up", 4123, id="rounds-down"),
        pytest.param("0.005", 2, "half_up", 1, id="half-goes-up"),
        pytest.param("-0.005", 2, "half_up", -1, id="half-goes-away-from-zero"),
        pytest.param("0.005", 2, "half_even", 0, id="half-goes-to-even-down"),
        pytest.param("0.015", 2, "half_even", 2, id="half-goes-to-even-up"),
        pytest.param("-0.025", 2, "half_even", -2, id="negative-half-goes-to-even"),
        pytest.param(
            "0.00499999999999999999999999999999999", 2, "half_up", 0, id="thirty-digits-below-half-stay-below"
        ),
        pytest.param("1234567890123.123456789", 2, "half_up", 123456789012312, id="long-amount"),
        pytest.param("100", 0, "half_up", 100, id="yen-are-not-scaled"),
        pytest.param("0.5", 0, "half_up", 1, id="half-a-yen"),
        pytest.param("1E+3", 2, "half_up", 100000, id="exponent-notation"),
        pytest.param("0E-999", 2, "half_up", 0, id="zero-with-any-exponent"),
    ],
)
def test_one_amount_becomes_minor_units(amount, places, rounding, expected):
    assert to_minor(Decimal(amount), places, rounding) == expected


@pytest.mark.parametrize(
    ("amounts", "places", "expected"),
    [
        pytest.param(["0.335", "0.335", "0.33"], 2, [34, 33, 33], id="a-tie-goes-to-the-earlier-line"),
        pytest.param(["1.4", "1.4", "1.2"], 0, [2, 1, 1], id="yen-lines-sum-to-the-rounded-total"),
        pytest.param(["0.333", "0.333", "0.334"], 2, [33, 33, 34], id="the-largest-remainder-gets-the-cent"),
        pytest.param(["0.004", "0.004", "0.004"], 2, [1, 0, 0], id="three-crumbs-make-a-cent"),
        pytest.param(["0.004"], 2, [0], id="one-crumb-makes-none"),
        pytest.param(["-0.335", "-0.335", "-0.33"], 2, [-33, -34, -33], id="credits"),
        pytest.param(["10.005", "-0.005"], 2, [1001, -1], id="a-tie-with-a-credit-goes-to-the-earlier-line"),
        pytest.param(["-0.5", "0.5", "1"], 0, [0, 0, 1], id="the-larger-of-equal-remainders-is-the-earlier-line"),
        pytest.param(["5", "0", "0.5"], 0, [5, 0, 1], id="a-line-that-lost-nothing-never-changes"),
        pytest.param([], 2, [], id="no-lines"),
    ],
)
def test_rounded_lines_are_those_expected_by_hand(amounts, places, expected):
    assert round_lines([Decimal(amount) for amount in amounts], places) == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param([33, 34, 33], [33, 34, 33], id="the-second-line-keeps-its-cent"),
        pytest.param([None, 34, None], [33, 34, 33], id="one-sent-line-is-enough"),
        pytest.param([34, 34, 33], [34, 33, 33], id="the-total-wins-over-what-was-sent"),
        pytest.param([500, 1, None], [34, 33, 33], id="far-off-amounts-do-not-count"),
        pytest.param([33, None, None], [33, 34, 33], id="a-line-sent-at-its-floor-stays-there"),
    ],
)
def test_rounding_prefers_the_units_already_sent(sent, expected):
    amounts = [Decimal("0.335"), Decimal("0.335"), Decimal("0.33")]
    assert round_lines(amounts, 2, prefer=sent) == expected


@given(st.lists(decimals(), max_size=12), st.sampled_from([0, 2, 3]), st.sampled_from(["half_up", "half_even"]))
def test_rounded_lines_sum_exactly_to_the_rounded_total(amounts, places, rounding):
    exact = [Fraction(amount) * 10**places for amount in amounts]
    rounded = round_lines(amounts, places, rounding)
    assert sum(rounded) == fraction_rounded(sum(exact, Fraction(0)), rounding == "half_up")
    assert all(abs(units - wanted) < 1 for units, wanted in zip(rounded, exact, strict=True))


@given(st.lists(st.tuples(decimals(), st.none() | st.integers(-5, 5)), max_size=8))
def test_preferred_units_never_change_the_total(rows):
    amounts = [amount for amount, _ in rows]
    preferred = round_lines(amounts, 2, prefer=[sent for _, sent in rows])
    assert sum(preferred) == sum(round_lines(amounts, 2))


@given(st.lists(decimals(), max_size=8))
def test_rounding_again_with_what_was_sent_changes_nothing(amounts):
    sent = round_lines(amounts, 2)
    assert round_lines(amounts, 2, prefer=sent) == sent


@given(st.lists(decimals(), max_size=12))
def test_sums_keep_every_digit(amounts):
    assert Fraction(exact_sum(amounts)) == sum((Fraction(amount) for amount in amounts), Fraction(0))


def test_a_narrow_decimal_context_changes_no_amount():
    amount = Decimal("123456789012.12345678901234567890")
    with localcontext() as context:
        context.prec = 5
        assert to_minor(amount, 2) == 12345678901212
        assert exact_sum([amount, Decimal("1E-20")]) == Decimal("123456789012.12345678901234567891")
        assert round_lines([amount, amount.copy_negate()], 2) == [12345678901212, -12345678901212]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: to_minor(0.1, 2), id="to-minor"),
        pytest.param(lambda: round_lines([Decimal(1), 0.1], 2), id="round-lines"),
        pytest.param(lambda: exact_sum([0.1]), id="exact-sum"),
        pytest.param(lambda: apart(Decimal(1), 1.0, 2), id="apart"),
        pytest.param(lambda: to_minor(1, 2), id="an-integer-is-not-major-units-either"),
    ],
)
def test_only_decimals_are_money(call):
    with pytest.raises(TypeError, match="money is Decimal"):
        call()


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+500", "1E-500"])
def test_a_damaged_number_is_refused(text):
    with pytest.raises(RecordRefused) as refusal:
        to_minor(Decimal(text), 2)
    assert refusal.value.code == "MB-RECORD"


@pytest.mark.parametrize(
    ("left", "right", "places", "expected"),
    [
        pytest.param("41.237", "41.24", 2, False, id="m3ter-rounded-its-total"),
        pytest.param("41.235", "41.24", 2, False, id="exactly-half-a-cent"),
        pytest.param("41.2349", "41.24", 2, True, id="a-hair-more-than-half-a-cent"),
        pytest.param("1000.5", "1000", 0, False, id="half-a-yen"),
        pytest.param("1001", "1000", 0, True, id="a-yen"),
    ],
)
def test_amounts_are_apart_beyond_half_a_minor_unit(left, right, places, expected):
    assert apart(Decimal(left), Decimal(right), places) is expected


@pytest.mark.parametrize(
    ("minor", "places", "expected"),
    [(4124, 2, "41.24"), (-4124, 2, "-41.24"), (5, 2, "0.05"), (0, 2, "0.00"), (100, 0, "100"), (-1, 3, "-0.001")],
)
def test_minor_units_are_written_in_major_ones(minor, places, expected):
    assert major_text(minor, places) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [("45316", "45316"), ("45.3160", "45.316"), ("1E+6", "1000000"), ("0.000", "0"), ("1E-9", "0.000000001")],
)
def test_quantities_are_plain_digits(number, expected):
    assert plain(Decimal(number)) == expected
