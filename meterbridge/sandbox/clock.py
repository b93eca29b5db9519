"""The sandbox's clock: starts at the scenario's instant, runs with real time, can be moved forward."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate


class VirtualClock:
    """Epoch seconds and milliseconds, UTC. Never goes back."""

    def __init__(self, start: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._origin_ms = start * 1000
        self._began = monotonic()
        self._held_ms: int | None = None

    def now_ms(self) -> int:
        """Milliseconds since the epoch; inside `held` the instant that is held."""
        if self._held_ms is not None:
            return self._held_ms
        return self._origin_ms + int((self._monotonic() - self._began) * 1000)

    def now(self) -> int:
        """Whole seconds since the epoch."""
        return self.now_ms() // 1000

    def advance(self, seconds: float) -> None:
        """Jump forward.

        Raises:
            ValueError: The jump would go back.
        """
        if seconds < 0:
            raise ValueError("the clock of the sandbox never goes back")
        self._origin_ms += round(seconds * 1000)

    @contextmanager
    def held(self, at_ms: int) -> Iterator[None]:
        """Work that was due in the past runs at the instant it was due."""
        before = self._held_ms
        self._held_ms = at_ms
        try:
            yield
        finally:
            self._held_ms = before

    def http_date(self) -> str:
        return formatdate(self.now(), usegmt=True)


class SiteClock:
    """The time of the Chargebee site: the sandbox's, unless Time Machine took the site elsewhere."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.ahead_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as the site's records are dated."""
        return self._clock.now_ms() + self.ahead_ms

    def now(self) -> int:
        """Whole seconds since the epoch."""
        return self.now_ms() // 1000

    def travel_to(self, moment: int) -> None:
        """Let it be another epoch second at the site; from there on its time runs as everywhere."""
        self.ahead_ms = moment * 1000 - self._clock.now_ms()


def rfc3339(ms: int) -> str:
    """`2026-03-01T00:00:00.000Z`, the form of m3ter's date-time."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def parse_rfc3339(text: str) -> int:
    """Milliseconds since the epoch.

    Raises:
        ValueError: Not a date-time with a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or "T" not in text:
        raise ValueError(f"{text} is not a date-time with a zone")
    return round(moment.timestamp() * 1000)


def epoch(year: int, month: int, day: int, hour: int = 0) -> int:
    """Epoch seconds of an instant in UTC."""
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp())
