"""What a run works with: settings, ledger, both vendors' clients, clock. Built once per run and process."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from connectors.chargebee.client import ChargebeeClient
from connectors.m3ter.client import M3terClient
from connectors.retry import RetryPolicy
from connectors.transport import Traffic
from meterbridge.clock import Clock, boottime
from meterbridge.ledger import allowances
from meterbridge.ledger.ledger import Ledger, moment
from meterbridge.rules.sites import Site
from meterbridge.settings import Settings, load_settings
from tasks.ledger_opening import open_ledger as open_ledger

logger = logging.getLogger(__name__)

SENDING_SHARE = 11 / 12
"""This part of a lease is for starting writes; what is left lets the last one leave before another run takes over."""

BLOCK_SECONDS = 1.0
FIRST_SECONDS = 1 / 16
"""A process leases this much of a vendor's budget first, twice as much each time, and at most ``BLOCK_SECONDS``.

What a run leases and does not use is lost to the next one: a run of ten requests must not cost a second.
"""


TOLD_SECONDS = 10.0
"""A wait that is longer is logged with its reason: a run that only waits must not look like one that hangs."""


WAITING_THREADS = 64
"""So many requests may wait for their slots at once, in all processes together."""


class AllowancePacer:
    """A vendor's pacing clock that lives in the ledger, so that all processes share one budget.

    Slots are leased in blocks, the next one while a quarter of the last is left: nobody waits for the ledger then, and
    none of the budget passes between two blocks. ``rate`` is requests per second after the reserve; ``window`` is the
    time in seconds over which the vendor counts: no wait is longer than that and the longest hold, whatever a clock did
    (at a rate so low that the threads of a few processes fill more than the window, than they take).
    """

    def __init__(self, ledger: Ledger, vendor: str, rate: float, *, window: float = 1.0) -> None:
        self._ledger = ledger
        self._vendor = vendor
        self._rate = rate
        self._longest = max(window, WAITING_THREADS / rate) + RetryPolicy().retry_after_cap
        self._held = False
        self._most = max(1, int(rate * BLOCK_SECONDS))
        self._block = max(1, int(rate * FIRST_SECONDS))
        self._slots: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()
        self._leasing = threading.Lock()

    def wait(self) -> None:
        """Block until one request may leave."""
        while (slot := self._take()) is None:
            with self._leasing:
                if not self._slots:
                    self._lease()
        if self._is_low() and self._leasing.acquire(blocking=False):
            try:
                if self._is_low():
                    self._lease()
            finally:
                self._leasing.release()
        pause = slot - time.monotonic()
        if pause > 0:
            time.sleep(pause)

    def hold(self, seconds: float) -> None:
        """Keep everybody from sending for that long: the vendor said so."""
        with self._leasing:
            with self._lock:
                self._slots.clear()
            self._held = True
            with self._ledger.write() as tx:
                allowances.hold(tx, self._vendor, self._ledger.now() + seconds)
                tx.commit()

    def _take(self) -> float | None:
        """The next slot on the monotonic clock; None when all that were leased are used up."""
        with self._lock:
            if not self._slots:
                return None
            slot, left = self._slots.popleft()
            if left > 1:
                self._slots.appendleft((slot + 1 / self._rate, left - 1))
            return slot

    def _is_low(self) -> bool:
        with self._lock:
            return self._block == self._most and sum(left for _, left in self._slots) <= self._block // 4

    def _lease(self) -> None:
        with self._ledger.write() as tx:
            first = allowances.lease(tx, self._vendor, self._block, self._rate, self._longest)
            ahead = min(max(0.0, first - moment(tx)), self._longest)
            tx.commit()
        if ahead > TOLD_SECONDS:
            reason = "the vendor asked for a pause" if self._held else "other processes use the budget, or hold it"
            told = {"vendor": self._vendor, "seconds": round(ahead, 1), "reason": reason}
            logger.info("waiting for the vendor's request budget", extra=told)
        self._held = False
        with self._lock:
            self._slots.append((time.monotonic() + ahead, self._block))
            self._block = min(self._most, 2 * self._block)


@dataclass(slots=True)
class Services:
    """Everything a task may need. Thread-safe; closed by :func:`release`.

    ``before`` is the vendors' traffic when the run began, where it came to connections that others had used;
    ``held`` is left when the run ends.
    """

    settings: Settings
    ledger: Ledger
    chargebee: ChargebeeClient
    m3ter: M3terClient
    clock: Clock
    before: tuple[Traffic, Traffic] = (Traffic(), Traffic())
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def site(self) -> Site:
        """This connection's site, and how it is told in m3ter."""
        return Site(self.settings.chargebee_site, self.settings.site_in_ids)

    def close(self) -> None:
        """Close connections and files."""
        self.held.close()
        self.chargebee.transport.close()
        self.m3ter.transport.close()
        self.ledger.close()

    def requests(self) -> dict[str, int]:
        """Requests sent so far, per vendor."""
        chargebee, m3ter = self._traffic()
        return {
            "chargebee": chargebee.requests - self.before[0].requests,
            "m3ter": m3ter.requests - self.before[1].requests,
        }

    def throttled(self) -> int:
        """Answers of 429 so far."""
        return sum(now.throttled - then.throttled for now, then in zip(self._traffic(), self.before, strict=True))

    def for_run(self) -> Services:
        """The same connections with counts and a clock of their own."""
        chargebee, m3ter = self._traffic()
        return replace(self, clock=Clock(), before=(replace(chargebee), replace(m3ter)), held=ExitStack())

    def _traffic(self) -> tuple[Traffic, Traffic]:
        return self.chargebee.transport.traffic, self.m3ter.transport.traffic


def build(settings: Settings) -> Services:
    """Connect everything; sends no request."""
    settings.require_vendors()
    ledger = open_ledger(settings)
    share = 1 - settings.request_reserve
    chargebee = ChargebeeClient.connect(
        base_url=settings.chargebee_url,
        api_key=settings.chargebee_api_key.get_secret_value(),
        pacer=AllowancePacer(ledger, "chargebee", settings.chargebee_requests_per_minute / 60 * share, window=60),
        max_connections=settings.deliver_threads + 2,
        monotonic=boottime,
    )
    m3ter = M3terClient.connect(
        base_url=settings.m3ter_base_url.rstrip("/"),
        organization_id=settings.m3ter_org_id,
        api_key=settings.m3ter_api_key.get_secret_value(),
        api_secret=settings.m3ter_api_secret.get_secret_value(),
        pacer=AllowancePacer(ledger, "m3ter", settings.m3ter_requests_per_second * share, window=1),
        max_connections=settings.deliver_threads + 2,
        monotonic=boottime,
    )
    return Services(settings, ledger, chargebee, m3ter, Clock())


_open: dict[str, Services] = {}
_lock = threading.Lock()


@dataclass(slots=True)
class _Kept:
    """Connections that outlive the runs of :func:`keeping_services`."""

    services: Services | None = None

    def under(self, settings: Settings) -> Services:
        """Those of before while the settings are the same, else new ones."""
        if self.services is None or self.services.settings != settings:
            self.close()
            self.services = build(settings)
        return self.services

    def close(self) -> None:
        """Close what is kept."""
        found, self.services = self.services, None
        if found:
            found.close()


_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)


@contextmanager
def keeping_services() -> Iterator[None]:
    """Runs of this thread inside the block share ledger and vendor connections, as long as the settings are the same.

    For runs that must be quick: a new connection costs its TLS handshakes, a token, a second's worth of budget
    and every prepared statement.
    """
    kept = _Kept()
    before = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(before)
        kept.close()


def services(run_id: str, overrides: Mapping[str, Any] | None = None) -> Services:
    """The run's services in this process, built at the first call."""
    with _lock:
        if run_id not in _open:
            kept, settings = _kept.get(), load_settings(overrides)
            _open[run_id] = build(settings) if kept is None else kept.under(settings).for_run()
        return _open[run_id]


def release(run_id: str) -> None:
    """Close the run's services in this process, if any and if they are not kept."""
    kept = _kept.get()
    with _lock:
        found = _open.pop(run_id, None)
    if found and kept and kept.services and found.ledger is kept.services.ledger:
        found.held.close()
    elif found:
        found.close()


@contextmanager
def serving() -> Iterator[Services]:
    """Services for the length of a block, for commands that are no run."""
    built = build(load_settings())
    try:
        yield built
    finally:
        built.close()


@contextmanager
def ledger_in_use() -> Iterator[Ledger]:
    """The ledger of this environment for the length of a block, the kept one if there is one; asks no vendor."""
    kept = _kept.get()
    if kept is not None:
        yield kept.under(load_settings()).ledger
        return
    ledger = open_ledger(load_settings())
    try:
        yield ledger
    finally:
        ledger.close()


def staging_path(settings: Settings, flow: str, run_id: str) -> Path:
    """Where the run's staging file is."""
    return staging_folder(settings) / flow / f"{run_id}.duckdb"


def staging_folder(settings: Settings) -> Path:
    """Where the connection's staging files are, in one folder a flow."""
    return settings.home.expanduser().absolute() / settings.connection / "staging"
