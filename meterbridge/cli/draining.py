"""The drain loop of ``meterbridge serve``: events that arrived become flow runs, one per micro-batch."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Literal

from meterbridge.cli.prefect_ready import tagged
from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import inbox
from meterbridge.ledger.ledger import Ledger

if TYPE_CHECKING:
    from tasks.report import RunReport

logger = logging.getLogger(__name__)

Source = Literal["chargebee", "m3ter"]
Drain = Callable[[Source, int], "RunReport | None"]
Around = AbstractContextManager[None]

SOURCES: tuple[Source, ...] = ("chargebee", "m3ter")
POLL_SECONDS = 2.0
"""How often the inbox is looked at unasked: another process may have stored events, failed ones become due."""

GATHER_SECONDS = 0.05
"""After the first event of a batch: what comes together is synced together."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""After a failed batch, doubled each time: a vendor that is down is not asked every two seconds."""


class DrainLoop(threading.Thread):
    """Drains until it is stopped; a batch that has begun is ended first.

    ``around`` is entered by the thread for its whole life: what batches share.
    """

    def __init__(self, ledger: Ledger, drain: Drain, *, limit: int, around: Callable[[], Around] = nullcontext) -> None:
        super().__init__(name="drain", daemon=True)
        self._ledger = ledger
        self._drain = drain
        self._limit = limit
        self._around = around
        self._arrived = threading.Event()
        self._stopped = threading.Event()

    def arrived(self) -> None:
        """Say that events were stored; from any thread."""
        self._arrived.set()

    def stop(self, timeout: float) -> bool:
        """Begin no further batch and wait for the one under way; whether it has ended in time (seconds)."""
        self._stopped.set()
        self._arrived.set()
        self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        """The thread's work."""
        with self._around():
            self._loop()

    def _loop(self) -> None:
        pause = 0.0
        while not self._stopped.is_set():
            if self._arrived.wait(POLL_SECONDS):
                self._stopped.wait(GATHER_SECONDS)
            self._arrived.clear()
            failed = [source for source in SOURCES if not self._drained(source)]
            pause = 0.0 if not failed else min(max(pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self._stopped.wait(pause)

    def _drained(self, source: Source) -> bool:
        """True if everything of one vendor that was due has been drained."""
        try:
            while not self._stopped.is_set() and self._is_due(source):
                self._drain(source, self._limit)
        except MeterbridgeError as failure:
            logger.warning("a batch failed", extra={"source": source, "code": failure.code, "trouble": failure.message})
            return False
        except Exception:  # the loop must outlive any batch: events wait in the ledger until it passes
            logger.exception("a batch failed", extra={"source": source})
            return False
        return True

    def _is_due(self, source: Source) -> bool:
        with self._ledger.read() as rx:
            return bool(inbox.pending(rx, 1, source=source, due_only=True))


def drain_by_prefect() -> Drain:
    """How a batch is drained: as a flow run on the server of PREFECT_API_URL, without one by the bare function."""
    from prefect.context import SyncClientContext
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.drain_inbox import drain_inbox

    if not os.environ.get("PREFECT_API_URL"):
        return drain_inbox.fn

    kept = ExitStack()

    def drain(source: Source, limit: int) -> RunReport | None:
        if SyncClientContext.get() is None:
            # Entered once in the drain's thread, and not before the server answers: else each run connects anew.
            kept.enter_context(SyncClientContext())
        # Each synchronous flow would wait a second for its heartbeat thread to end; this process outlives its runs.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), tagged("webhook"):
            return drain_inbox(source=source, limit=limit)

    return drain
