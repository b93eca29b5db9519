"""How a case writes instants and money, and how what stands is written to be held against it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from tests.histories.per_bill import PLACES

_MONEY = re.compile(r"(-?\d+(?:\.\d+)?) ([A-Z]{3})")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?")


def moment(value: Any) -> int:
    """Epoch seconds of a date (its midnight, UTC) or of ``2026-04-01 10:00``.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    return int(datetime.fromisoformat(str(value)).replace(tzinfo=UTC).timestamp())


def is_moment(value: Any) -> bool:
    """True if the value is a date or an instant as cases write it."""
    return isinstance(value, date) or (isinstance(value, str) and _MOMENT.fullmatch(value) is not None)


def minor(value: Any) -> int | None:
    """Chargebee's integer of ``20.00 EUR``; None where the value is no money."""
    found = _MONEY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    return int(Decimal(found[1]).scaleb(PLACES.get(found[2], 2)))


def money(amount: int, currency: str) -> str:
    """Chargebee's integer as people write it: ``20.00 EUR``."""
    return f"{Decimal(amount).scaleb(-PLACES.get(currency, 2))} {currency}"


def instant(value: int | str | None) -> str:
    """``2026-04-01``, with the time where it is not midnight UTC; ``open`` without one."""
    if value is None:
        return "open"
    at = datetime.fromtimestamp(value, UTC) if isinstance(value, int) else datetime.fromisoformat(value).astimezone(UTC)
    if (at.hour, at.minute, at.second) == (0, 0, 0):
        return f"{at:%Y-%m-%d}"
    return f"{at:%Y-%m-%d %H:%M}" if at.second == 0 else f"{at:%Y-%m-%d %H:%M:%S}"
