"""The whole state of a sandbox: both vendors, the clock, faults, switches, the log of requests."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meterbridge.sandbox.chargebee.state import ChargebeeState
from meterbridge.sandbox.clock import VirtualClock
from meterbridge.sandbox.faults import Faults
from meterbridge.sandbox.ids import Ids
from meterbridge.sandbox.m3ter.state import M3terState
from meterbridge.sandbox.switches import Switches
from meterbridge.sandbox.webhooks import Webhooks


@dataclass(slots=True)
class LoggedRequest:
    """One request that reached a vendor; `status` 0 means it got no answer (yet)."""

    n: int
    vendor: str
    method: str
    path: str
    idempotency_key: str | None
    status: int = 0
    harm: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "vendor": self.vendor,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "idempotency_key": self.idempotency_key,
            "harm": self.harm,
        }


class World:
    """Everything is reached through `lock`: the server's thread and tests in the same process share it."""

    def __init__(self, start: int, *, seed: int = 7) -> None:
        self.seed = seed
        self.clock = VirtualClock(start)
        self.ids = Ids(seed)
        self.switches = Switches()
        self.faults = Faults()
        self.lock = threading.RLock()
        self.log: list[LoggedRequest] = []
        self.facts: dict[str, Any] = {}
        self.chargebee = ChargebeeState(self.clock, self.ids)
        self.m3ter = M3terState(self.clock, self.ids)
        self.webhooks = Webhooks(self)
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._due_at_site: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def schedule(self, at: int, work: Callable[[], None]) -> None:
        """Do `work` when the clock reaches epoch second `at`; equal instants in the order scheduled."""
        heapq.heappush(self._due, (at * 1000, next(self._order), work))

    def schedule_site(self, at: int, work: Callable[[], None]) -> None:
        """As `schedule`, by the clock of the Chargebee site, which may travel."""
        heapq.heappush(self._due_at_site, (at * 1000, next(self._order), work))

    def settle(self) -> None:
        """Do all work that has come due, each at its own instant."""
        while (due := self._next_due()) is not None:
            at_ms, queue = due
            _, _, work = heapq.heappop(queue)
            with self.clock.held(at_ms):
                work()

    def _next_due(self) -> tuple[int, list[tuple[int, int, Callable[[], None]]]] | None:
        """The queue whose first work is due before the other's, and when that is by the sandbox's clock."""
        queues = ((self._due, 0), (self._due_at_site, self.chargebee.clock.ahead_ms))
        ready = [(queue[0][0] - ahead, queue[0][1], queue) for queue, ahead in queues if queue]
        if not ready:
            return None
        at_ms, _, queue = min(ready, key=lambda one: one[:2])
        return (at_ms, queue) if at_ms <= self.clock.now_ms() else None

    def start_site_afresh(self, moment: int) -> None:
        """Chargebee's Time Machine: an empty site at another time; catalogue and webhook endpoints stay."""
        self._due_at_site.clear()
        self.chargebee.erase()
        self.chargebee.genesis_time = moment
        self.chargebee.clock.travel_to(moment)

    def travel_site(self, moment: int) -> None:
        """Take the Chargebee site forward to an epoch second: all that is due until then happens at its own instant."""
        self.chargebee.clock.travel_to(moment)
        self.settle()

    def advance(self, seconds: float) -> None:
        with self.lock:
            self.clock.advance(seconds)
            self.settle()

    def advance_to(self, moment: int) -> None:
        """Forward to an epoch second; one that has passed is no error, the clock stays."""
        with self.lock:
            left = moment * 1000 - self.clock.now_ms()
            if left > 0:
                self.clock.advance(left / 1000)
            self.settle()

    def record(self, vendor: str, method: str, path: str, idempotency_key: str | None) -> LoggedRequest:
        entry = LoggedRequest(len(self.log) + 1, vendor, method, path, idempotency_key)
        self.log.append(entry)
        return entry
