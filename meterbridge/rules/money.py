"""Exact money: m3ter's decimals in major units become Chargebee's integers.

Everything is integer arithmetic over a common power of ten, so no decimal
context can round an amount on the way, however many digits it has. A float is
refused with :class:`TypeError`: it has lost the amount already.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from meterbridge.errors import RecordRefused

Rounding = Literal["half_up", "half_even"]

ZERO_DECIMAL = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
)
"""Currencies that Chargebee counts in whole units: its API pages name JPY, KRW, XAF and XOF, ISO 4217 the others."""

THREE_DECIMAL = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
"""Three decimals in ISO 4217; Chargebee's documents say hundredths, nobody has tested it."""

DISPUTED = frozenset(["ISK", "MGA", "UGX"])
"""Whole units in one source, hundredths in another: a guess would be wrong by a factor of a hundred."""

LARGEST_POWER = 200
"""Beyond this power of ten a number is damage, not money."""


def exponent(currency: str, *, three_decimal: int | None) -> int:
    """Decimal places that Chargebee counts in for a currency: 0 or 2, or the setting for three-decimal ones.

    Args:
        currency: ISO 4217 code, as written on the bill.
        three_decimal: The proven exponent of three-decimal currencies, None while it is not proven.

    Raises:
        RecordRefused: MB-CURRENCY-EXPONENT, when the scale at Chargebee is not proven.
    """
    if currency in ZERO_DECIMAL:
        return 0
    if currency in DISPUTED:
        message = f"Chargebee may count {currency} in whole units or in hundredths: charge it by hand, then dismiss"
        raise RecordRefused("MB-CURRENCY-EXPONENT", message, key=currency)
    if currency not in THREE_DECIMAL:
        return 2
    if three_decimal is None:
        message = f"{currency} has three decimals; three_decimal_exponent is not set"
        raise RecordRefused("MB-CURRENCY-EXPONENT", message, key=currency)
    return three_decimal


def to_minor(amount: Decimal, exponent: int, rounding: Rounding = "half_up") -> int:
    """Round one amount in major units to minor units; half-up is away from zero.

    >>> to_minor(Decimal("-41.235"), 2)
    -4124
    """
    (numerator,), denominator = _scaled([amount], exponent)
    return _rounded(numerator, denominator, rounding)


def round_lines(
    amounts: Sequence[Decimal],
    exponent: int,
    rounding: Rounding = "half_up",
    prefer: Sequence[int | None] | None = None,
) -> list[int]:
    """Round bill lines so that they sum exactly to the rounded bill total.

    Largest remainder: every line is floored, then the missing units go to the
    lines that lost most; among equals to the earlier one. A line whose amount
    was sent before keeps its units wherever the total allows it.

    Args:
        amounts: Major units, any number of digits, negative for credits.
        exponent: Decimal places that Chargebee counts in for the currency.
        rounding: How the total is rounded.
        prefer: Minor units that stand already, line by line; None where nothing stands.

    Returns:
        Chargebee's integers, in the order given.

    >>> round_lines([Decimal("0.335"), Decimal("0.335"), Decimal("0.33")], 2)
    [34, 33, 33]
    """
    numerators, denominator = _scaled(amounts, exponent)
    floors = [numerator // denominator for numerator in numerators]
    lost = [numerator % denominator for numerator in numerators]
    sent = list(prefer) if prefer is not None else [None] * len(floors)
    if len(sent) != len(floors):
        raise ValueError(f"{len(sent)} preferred amounts for {len(floors)} lines")

    def urgency(index: int) -> tuple[int, int, int]:
        if not lost[index]:
            return 3, 0, index  # last: a line that lost nothing must never change
        ranks: dict[int | None, int] = {floors[index] + 1: 0, floors[index]: 2}
        rank = ranks.get(sent[index], 1)
        return rank, -lost[index], index

    missing = _rounded(sum(numerators), denominator, rounding) - sum(floors)
    for index in sorted(range(len(floors)), key=urgency)[:missing]:
        floors[index] += 1
    return floors


def exact_sum(amounts: Sequence[Decimal]) -> Decimal:
    """Sum without losing a digit."""
    numerators, denominator = _scaled(amounts, 0)
    total = sum(numerators)
    digits = Decimal(abs(total)).as_tuple().digits
    return Decimal((int(total < 0), digits, 1 - len(str(denominator))))


def apart(left: Decimal, right: Decimal, exponent: int) -> bool:
    """True if two amounts are more than half a minor unit apart."""
    (one, other), denominator = _scaled([left, right], exponent)
    return 2 * abs(one - other) > denominator


def major_text(minor: int, exponent: int) -> str:
    """Minor units as a person writes them, in major units.

    >>> major_text(-4124, 2)
    '-41.24'
    """
    return f"{Decimal((int(minor < 0), Decimal(abs(minor)).as_tuple().digits, -exponent)):f}"


def amount_text(minor: int | None, currency: str | None) -> str:
    """An amount as people write it, such as ``41.24 EUR``; empty without one, honest about an unproven scale."""
    return "" if minor is None else f"{major(minor, currency or '')} {currency or ''}".strip()


def major(minor: int, currency: str) -> str:
    """An amount in major units without its currency; ``minor units`` are said to be such where the scale is not proven.

    >>> major(4124, "EUR"), major(603, "JPY"), major(5, "ISK")
    ('41.24', '603', '5 minor units')
    """
    try:
        return major_text(minor, exponent(currency, three_decimal=2))
    except RecordRefused:
        return f"{minor} minor units"


def plain(number: Decimal) -> str:
    """Plain digits without exponent or trailing zeros.

    >>> plain(Decimal("4.5316E+4"))
    '45316'
    """
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(amounts: Sequence[Decimal], exponent: int) -> tuple[list[int], int]:
    """Amounts in minor units as numerators over one denominator, a power of ten."""
    parts = [_parts(amount) for amount in amounts]
    places = max((-(power + exponent) for _, power in parts), default=0)
    places = max(places, 0)
    return [digits * 10 ** (power + exponent + places) for digits, power in parts], 10**places


def _parts(amount: Decimal) -> tuple[int, int]:
    """Signed digits and power of ten of one amount."""
    if not isinstance(amount, Decimal):
        raise TypeError(f"money is Decimal, not {type(amount).__name__}")
    sign, digits, power = amount.as_tuple()
    if not isinstance(power, int) or (any(digits) and abs(amount.adjusted()) + len(digits) > LARGEST_POWER):
        raise RecordRefused("MB-RECORD", f"{str(amount)[:40]} is not an amount of money")
    value = int(Decimal((sign, digits, 0)))
    return (value, power) if value else (0, 0)


def _rounded(numerator: int, denominator: int, rounding: Rounding) -> int:
    whole, rest = divmod(abs(numerator), denominator)
    up = 2 * rest > denominator or (2 * rest == denominator and (rounding == "half_up" or whole % 2 == 1))
    return (whole + up) * (-1 if numerator < 0 else 1)
