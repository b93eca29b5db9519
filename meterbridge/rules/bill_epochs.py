"""When a subscription's full terms begin: the day from which m3ter counts its billing periods."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from meterbridge.rules.intervals import ENDED, status_of
from meterbridge.rules.records import Subscription

HOUR = timedelta(hours=1)
"""By so much a term boundary moves where the site's zone has summer time and the organisation's has not."""

_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "week": 7}


@dataclass(frozen=True, slots=True)
class FullTerms:
    """A subscription's full terms begin on ``epoch``; ``boundaries`` are instants at which one begins or ends.

    One lasts ``months``, or ``days`` where that is none.
    """

    epoch: date
    boundaries: tuple[datetime, ...]
    months: int
    days: int
    zone: tzinfo

    def fit(self, epoch: date) -> bool:
        """True if every boundary falls on the cycle that begins on this day."""
        return all(self.on_cycle(epoch, at) for at in self.boundaries)

    def on_cycle(self, epoch: date, at: datetime) -> bool:
        """True if a period that is counted from the epoch begins on the day of this instant."""
        return any(self._begins(epoch, (at + shift).astimezone(self.zone).date()) for shift in (-HOUR, 0 * HOUR, HOUR))

    def _begins(self, epoch: date, day: date) -> bool:
        if self.days:
            return (day - epoch).days % self.days == 0
        months = (day.year - epoch.year) * 12 + day.month - epoch.month
        return months % self.months == 0 and day.day == min(epoch.day, monthrange(day.year, day.month)[1])


def full_terms(subscription: Subscription, zone: tzinfo, start: datetime) -> FullTerms:
    """Find the full terms of a subscription by its record alone.

    A present term that is none of the full length is not counted: full terms begin where it ends. So they do where the
    month lacks the day on which the others begin, as February lacks the 31st.

    Args:
        subscription: The record, instants aware UTC.
        zone: The m3ter organisation's.
        start: When it is metered from; counts where the record shows no term.
    """
    begin, end = _term(subscription, start)
    unit, every = subscription.billing_period_unit or "month", subscription.billing_period or 1
    months, days = _MONTHS.get(unit, 0) * every, _DAYS.get(unit, 0) * every
    terms = FullTerms(begin.astimezone(zone).date(), (begin,), months or int(not days), days, zone)
    if end is None or end <= begin:
        return terms
    if not terms.on_cycle(terms.epoch, end):
        terms = FullTerms(end.astimezone(zone).date(), (end,), terms.months, days, zone)
    boundaries = tuple(at for at in (begin, end) if terms.on_cycle(terms.epoch, at))
    return FullTerms(terms.epoch, boundaries, terms.months, days, zone)


def _term(subscription: Subscription, start: datetime) -> tuple[datetime, datetime | None]:
    """The present term, or when the first one begins."""
    if subscription.status == "future":
        begin = subscription.start_date or start
        return max(begin, subscription.trial_end or begin), None
    if subscription.status == "in_trial":
        return subscription.trial_end or start, None
    if subscription.current_term_start is None:
        return start, None
    if status_of(subscription) in ENDED:
        return subscription.current_term_start, None  # its end is where it was cut off, not where a full one begins
    return subscription.current_term_start, subscription.current_term_end


def billing_epoch(terms: FullTerms, standing: Iterable[date] = (), *, exact: bool = False) -> date:
    """The billing epoch of an account plan: the first of those that stand and fit, else the day computed.

    Args:
        terms: Its subscription's.
        standing: Epochs of the subscription's account plans that go on.
        exact: It has not started, so there is no reason to keep another day of the same cycle.
    """
    fitting = () if exact else (day for day in standing if terms.fit(day))
    return next(iter(fitting), terms.epoch)
