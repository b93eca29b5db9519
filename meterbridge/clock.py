"""The vendors' time: this machine's wall clock, corrected once by a vendor's Date header, monotonic afterwards.

Windows, settle times and resend limits are compared with instants that the
vendors stamped, so a machine whose clock is wrong, or is set while a run is
under way, must not shift them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def boottime() -> float:
    """Seconds since an arbitrary start; never goes back and goes on while the machine sleeps.

    Leases are checked on it: a process that was frozen with its machine must see that its lease ran out.
    """
    # Linux stops CLOCK_MONOTONIC in suspension and has CLOCK_BOOTTIME; macOS counts it in CLOCK_MONOTONIC, but
    # stops what time.monotonic() reads; Windows counts it in time.monotonic() up to Python 3.12.
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        if hasattr(time, name):
            return time.clock_gettime(getattr(time, name))
    return time.monotonic()


class Clock:
    """One run's clock. Thread-safe: the only state is replaced as a whole.

    Args:
        wall: Epoch seconds of this machine's wall clock; asked at the start and by :meth:`learn` only.
        elapsed: Seconds on a clock that never goes back, see :func:`boottime`.
    """

    __slots__ = ("_anchor", "_elapsed", "_wall")

    def __init__(self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = boottime) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._anchor = (wall(), elapsed())

    def learn(self, offset: float) -> None:
        """Follow the vendor from now on.

        Args:
            offset: The vendor's clock minus this machine's wall clock, seconds; a Date header resolves one second.
        """
        self._anchor = (self._wall() + offset, self._elapsed())

    def epoch(self) -> float:
        """Now as epoch seconds; moves forward only, but for :meth:`learn`."""
        instant, since = self._anchor
        return instant + self._elapsed() - since

    def now(self) -> datetime:
        """Now as an aware UTC datetime."""
        return _EPOCH + timedelta(seconds=self.epoch())

    def boottime(self) -> float:
        """Seconds on this clock's monotonic source, for leases and time limits; not an instant."""
        return self._elapsed()
