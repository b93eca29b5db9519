"""HTTP/1.1 over asyncio: just enough for JSON and form requests, kept alive, answered in order.

A parser of our own for two reasons: an ASGI application cannot close a connection without an answer or in the middle
of one, which is what half of the faults are; and it was measured: on one core 14,000 requests/s for one account with
all the rules behind it, against 6,000 for a constant from uvicorn with h11 (benchmarks/bench_sandbox.py prints both).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from meterbridge.sandbox.wire import HttpReply, HttpRequest

_LARGEST_HEAD = 64 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Serve(Protocol):
    """Takes a request; answers through the connection, now or later."""

    def __call__(self, request: HttpRequest, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """One client's socket. While a request is unanswered, what follows waits in the buffer."""

    def __init__(self, serve: Serve, date: Callable[[], str]) -> None:
        self._serve = serve
        self._date = date
        self._buffer = bytearray()
        self._busy = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        while not self._busy and self._transport is not None:
            try:
                request = self._take()
            except ValueError as error:
                self.reply(HttpReply(400, str(error).encode(), "text/plain"))
                self.drop()
                return
            if request is None:
                return
            self._busy = True
            self._serve(request, self)

    def _take(self) -> HttpRequest | None:
        """The next whole request of the buffer, or None while it is incomplete."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _LARGEST_HEAD:
                raise ValueError("the head of the request is too long")
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if "transfer-encoding" in headers:
            raise ValueError("a body needs a Content-Length here")
        body_end = end + 4 + int(headers.get("content-length", "0"))
        if len(self._buffer) < body_end:
            return None
        method, target, _version = lines[0].split(" ")
        path, _, query = target.partition("?")
        body = bytes(self._buffer[end + 4 : body_end])
        del self._buffer[:body_end]
        return HttpRequest(method, path, query, headers, body)

    def reply(self, reply: HttpReply, *, cut: bool = False) -> None:
        """Send one answer; `cut`: only the first half of its body, then the connection closes."""
        if self._transport is None:
            return
        head = [
            f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}",
            f"Date: {self._date()}",
            f"Content-Type: {reply.content_type}",
            f"Content-Length: {len(reply.body)}",
        ]
        head += [f"{name}: {value}" for name, value in reply.extra]
        body = reply.body[: len(reply.body) // 2] if cut else reply.body
        self._transport.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
        if cut:
            self._transport.close()
            return
        self._busy = False
        if self._buffer:
            self._next()

    def drop(self) -> None:
        """Close without an answer, as a lost connection looks."""
        if self._transport is not None:
            self._transport.close()
