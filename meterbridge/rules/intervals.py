"""When a subscription wants to be metered: half-open intervals as pure functions of the record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

from meterbridge.errors import RecordRefused
from meterbridge.rules.records import Interval, Subscription

Trial = Literal["free", "billed"]

SAME_MOMENT = timedelta(minutes=1)
"""Chargebee's jobs stamp what they do at a term's boundary seconds after it."""

ENDED = frozenset({"cancelled", "deleted", "transferred"})


def status_of(subscription: Subscription) -> str:
    """The status, with deletion as one of its values."""
    return "deleted" if subscription.deleted else subscription.status


def desired_interval(subscription: Subscription, *, trial: Trial, known_end: datetime | None = None) -> Interval | None:
    """When the subscription is metered, by its record alone; None where that is never.

    Args:
        subscription: The record, instants aware UTC.
        trial: ``free`` leaves the trial out, as Chargebee bills no usage in it.
        known_end: The end that stands already; deletion and transfer never move it later.

    Raises:
        RecordRefused: ``MB-STATUS`` for a status the bridge cannot place or one without its instant.
    """
    start, end = desired_span(subscription, trial=trial, known_end=known_end)
    if end is not None and end <= start:
        return None
    return Interval(start, end)


def desired_span(
    subscription: Subscription, *, trial: Trial, known_end: datetime | None = None
) -> tuple[datetime, datetime | None]:
    """Like :func:`desired_interval`, but an empty interval keeps its two ends."""
    return _start(subscription, trial), _end(subscription, known_end)


def _start(subscription: Subscription, trial: Trial) -> datetime:
    status = status_of(subscription)
    if status == "future":
        begin = _needed(subscription, "start_date", subscription.start_date)
        return max(begin, subscription.trial_end or begin) if trial == "free" else begin
    if status == "cancelled" and _never_began(subscription):
        return _needed(subscription, "cancelled_at", subscription.cancelled_at)
    first = subscription.started_at or subscription.start_date or subscription.created_at or subscription.activated_at
    first = _needed(subscription, "started_at", first)
    if status == "in_trial":
        return _needed(subscription, "trial_end", subscription.trial_end) if trial == "free" else first
    regular = max(first, subscription.trial_end) if subscription.trial_end else first
    activated = subscription.activated_at
    if activated is not None and activated > regular + SAME_MOMENT:
        return activated
    if trial == "billed":
        return first
    if activated is not None and first <= activated < regular - SAME_MOMENT and status not in ENDED:
        return activated
    return regular


def _never_began(subscription: Subscription) -> bool:
    """Cancelled before its start: Chargebee then shows neither the start that was planned nor one that was."""
    return not (subscription.started_at or subscription.activated_at or subscription.start_date)


def _end(subscription: Subscription, known_end: datetime | None) -> datetime | None:
    cancelled = subscription.cancelled_at
    match status_of(subscription):
        case "future" | "in_trial":
            return cancelled
        case "active":
            return None
        case "non_renewing":
            return _needed(subscription, "cancelled_at", cancelled or subscription.current_term_end)
        case "cancelled":
            return _needed(subscription, "cancelled_at", cancelled)
        case "paused":
            return _needed(subscription, "pause_date", subscription.pause_date)
        case "deleted" | "transferred":
            ends = [end for end in (known_end, cancelled, subscription.updated_at) if end is not None]
            return _needed(subscription, "updated_at", min(ends, default=None))
        case other:
            raise RecordRefused("MB-STATUS", f"subscription {subscription.id} has the status {other!r}")


def _needed(subscription: Subscription, name: str, value: datetime | None) -> datetime:
    if value is None:
        status = status_of(subscription)
        raise RecordRefused("MB-STATUS", f"subscription {subscription.id} is {status} without {name}")
    return value


def change_instant(
    subscription: Subscription, changed_at: datetime | None, now: datetime, *, begun: Iterable[datetime] = ()
) -> datetime:
    """When the last change of a subscription took effect, never after ``now``.

    The event's instant where one is known, else the record's ``updated_at``; the
    term's start where that is within a minute of it, as a change at term end is.
    Not so where an account plan of the subscription started in between: what was there
    when the term began changed only afterwards, and had that time.

    Args:
        begun: When the subscription's account plans started.
    """
    at = changed_at or subscription.updated_at or now
    term = subscription.current_term_start
    if term is not None and term <= at <= term + SAME_MOMENT and not any(term <= start < at for start in begun):
        at = term
    return min(at, now)


def overlap(first: Interval, second: Interval) -> bool:
    """True if two half-open intervals share an instant; touching ends do not.

    >>> day = [datetime(2026, 3, d, tzinfo=UTC) for d in range(1, 4)]
    >>> overlap(Interval(day[0], day[1]), Interval(day[1], None))
    False
    """
    return (second.end is None or first.start < second.end) and (first.end is None or second.start < first.end)


def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC with Z, milliseconds only where there are any.

    >>> instant_text(datetime(2026, 3, 1, tzinfo=UTC))
    '2026-03-01T00:00:00Z'
    """
    utc = instant.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds" if utc.microsecond else "seconds").replace("+00:00", "Z")
