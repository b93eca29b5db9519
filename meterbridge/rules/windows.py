"""Windows of incremental reading, and the two vendors' ways to name the end of a period."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

LAST_SECOND = timedelta(seconds=1)
"""Chargebee counts in whole seconds and names the last one of a period."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a run reads and how far it settles; epoch seconds, ``since`` inclusive and always before ``until``.

    Lists are read from ``since`` up to now; None reads them without a filter. ``until`` stays behind now: the
    watermark goes there, and what changed after it is young.
    """

    since: int | None
    until: int


def reading_window(
    watermark: float | None,
    now: float,
    *,
    overlap_seconds: int = 300,
    hold_back_seconds: int = 300,
    full: bool,
) -> Window:
    """Fix what a run reads, and how far it settles, before its first page.

    Lists show late what happened, so a run reads all that they show and settles only what is older than
    the hold-back; the lower end steps back behind the watermark for the same reason. A first or full read has no
    filter, since a filter on ``updated_at`` hides rows that have none. A run never settles less than the
    watermark says, or a longer hold-back would make it go back.

    Args:
        watermark: Last instant fully settled, epoch seconds; None before the first run.
        now: The run's clock, epoch seconds.
        overlap_seconds: How far to step back behind the watermark.
        hold_back_seconds: How far the watermark stays behind ``now``.
        full: Read everything, whatever the watermark says.

    >>> reading_window(1_000_000, 1_003_600, full=False)
    Window(since=999700, until=1003300)
    """
    until = math.floor(now - hold_back_seconds)
    if watermark is None:
        return Window(None, until)
    until = max(until, math.floor(watermark))
    if full:
        return Window(None, until)
    return Window(min(math.floor(watermark - overlap_seconds), until - 1), until)


def inclusive_end(end: datetime) -> datetime:
    """m3ter's exclusive end → Chargebee's last second inclusive."""
    return end - LAST_SECOND
