"""A person allows a bill to be charged beyond its total: the one way round the law of money. Needs no vendor."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from meterbridge.errors import RecordRefused, SetupError
from meterbridge.ledger import bills, releases
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.money import exponent


def release(
    tx: Writer, bill_id: str, amount: str, by: str, note: str, *, three_decimal: int | None
) -> releases.Release:
    """Write the release down, and make the next run decide the bill again.

    Args:
        amount: Major units of the bill's currency, such as ``12.50``; above zero, in whole minor units.
        three_decimal: The exponent set for currencies with three decimals, if one is.

    Raises:
        SetupError: MB-COMMAND, the ledger does not know the bill, or the amount is none of its currency.
    """
    known = bills.get(tx, bill_id)
    if known is None:
        raise SetupError("MB-COMMAND", f"the ledger knows no bill {bill_id}: `sync bills --id` reads it", key=bill_id)
    minor = _minor(amount, known.currency, three_decimal)
    entry = releases.Release(bill_id, minor, known.currency, by, note)
    releases.add(tx, entry)
    bills.reopen(tx, bill_id)
    return entry


def _minor(amount: str, currency: str, three_decimal: int | None) -> int:
    try:
        places = exponent(currency, three_decimal=three_decimal)
        minor = Decimal(amount.strip()).scaleb(places)
    except (InvalidOperation, RecordRefused) as error:
        raise SetupError("MB-COMMAND", f"{amount!r} is no amount of {currency}") from error
    if not minor.is_finite() or minor != minor.to_integral_value() or not 0 < minor < 10**15:
        words = f"{amount!r} is no amount of {currency} above zero with at most {places} decimals"
        raise SetupError("MB-COMMAND", words)
    return int(minor)
