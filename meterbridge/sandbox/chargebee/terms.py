"""Billing terms: epoch seconds in the site's time zone, which is UTC here."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta

_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "week": 7}


def term_end(start: int, period: int, unit: str, anchor_day: int) -> int:
    """The end of the term that starts at `start`; a month without the anchor day ends it on its last day."""
    moment = datetime.fromtimestamp(start, tz=UTC)
    if unit in _DAYS:
        return int((moment + timedelta(days=_DAYS[unit] * period)).timestamp())
    months = moment.year * 12 + moment.month - 1 + _MONTHS[unit] * period
    year, month = divmod(months, 12)
    day = min(anchor_day, monthrange(year, month + 1)[1])
    return int(moment.replace(year=year, month=month + 1, day=day).timestamp())


def day_of(moment: int) -> int:
    return datetime.fromtimestamp(moment, tz=UTC).day
