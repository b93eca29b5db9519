"""Billing periods: cycles counted from an epoch date, in UTC."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

_FIXED_DAYS = {"DAILY": 1, "WEEKLY": 7}
_MONTHS = {"MONTHLY": 1, "ANNUALLY": 12}


def period_until(last_day: date, frequency: str, every: int, epoch: date) -> tuple[date, date, date]:
    """(start, end, end of the next) of the latest cycle that is complete by the end of `last_day`; ends exclusive."""
    limit = last_day + timedelta(days=1)
    if frequency in _FIXED_DAYS:
        length = timedelta(days=_FIXED_DAYS[frequency] * every)
        end = epoch + length * ((limit - epoch) // length)
        return end - length, end, end + length
    step = _MONTHS[frequency] * every
    count = ((limit.year - epoch.year) * 12 + limit.month - epoch.month) // step
    if _months_after(epoch, count * step) > limit:
        count -= 1
    return (
        _months_after(epoch, (count - 1) * step),
        _months_after(epoch, count * step),
        _months_after(epoch, (count + 1) * step),
    )


def _months_after(epoch: date, months: int) -> date:
    year, month = divmod(epoch.year * 12 + epoch.month - 1 + months, 12)
    return date(year, month + 1, min(epoch.day, monthrange(year, month + 1)[1]))


def at_midnight(day: date) -> int:
    """Epoch milliseconds of the start of a day in UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
