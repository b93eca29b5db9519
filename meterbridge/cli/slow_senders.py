"""A time limit for a request's head: uvicorn has one for idle connections only, and waits for half a head for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0


class TimedProtocol(H11Protocol):
    """uvicorn's protocol; a connection that sends no whole head within :data:`HEAD_SECONDS` is closed."""

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count: so far not a byte has come."""
        super().connection_made(transport)
        self._count()

    def data_received(self, data: bytes) -> None:
        """Stop counting once the head is there; begin again with the first byte of the next one."""
        super().data_received(data)
        if self._in_request():
            self._stop_counting()
        elif self._closing is None:
            self._count()

    def on_response_complete(self) -> None:
        """From here on uvicorn's own limit for idle connections counts."""
        self._stop_counting()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to be closed."""
        self._stop_counting()
        super().connection_lost(exc)

    def _in_request(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _count(self) -> None:
        self._closing = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_counting(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
