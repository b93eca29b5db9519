"""Request pacing: one shared clock of slots per vendor, a request each.

An even stream just under the vendor's limit meets no 429, where bursts do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class SlotPacer:
    """Hands out departure times at 0.99 of a rate, to any number of threads.

    Idle time is not saved up: after a pause the stream goes on at its rate, without a burst.

    Args:
        per_second: Requests per second that the vendor allows us (150 a minute are 2.5).
        share: Part of it that is used; the rest pays for clocks that differ and answers that travel.
        monotonic: Clock in seconds that never goes back.
        sleep: Blocks the calling thread for so many seconds.
    """

    def __init__(
        self,
        per_second: float,
        *,
        share: float = 0.99,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if per_second <= 0 or not 0 < share <= 1:
            raise ValueError("a pacer needs a positive rate and a share in (0, 1]")
        self._interval = 1.0 / (per_second * share)
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next_slot = monotonic()
        self._held_until = self._next_slot

    def wait(self) -> None:
        """Block until one request may leave."""
        slot = self._take_slot()
        while True:
            now = self._monotonic()
            if now < slot:
                self._sleep(slot - now)
            elif now < self._held_until:
                # A hold came while we slept: our slot is void, we queue up behind it with all others.
                slot = self._take_slot()
            else:
                return

    def hold(self, seconds: float) -> None:
        """Let nobody leave for so many seconds from now."""
        with self._lock:
            self._held_until = max(self._held_until, self._monotonic() + seconds)
            self._next_slot = max(self._next_slot, self._held_until)

    def _take_slot(self) -> float:
        with self._lock:
            slot = max(self._next_slot, self._monotonic())
            self._next_slot = slot + self._interval
            return slot


class Unlimited:
    """No pacing: for imitations of a vendor that have no limit."""

    def wait(self) -> None:
        """Return at once."""

    def hold(self, seconds: float) -> None:
        """Ignored: the request that was throttled backs off by itself."""
