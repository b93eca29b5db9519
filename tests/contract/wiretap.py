"""What crosses the wire of an HTTP client in this process: each request with its answer, in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; ``path`` still percent-encoded, without the query."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    sent: bytes
    sent_type: str
    status: int
    received: bytes
    received_type: str

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"

    @property
    def answer(self) -> Any:
        return json.loads(self.received)

    @classmethod
    def of(cls, request: httpx.Request, status: int, received: bytes, received_type: str) -> Exchange:
        return cls(
            method=request.method,
            path=request.url.raw_path.decode().partition("?")[0],
            query=tuple(request.url.params.multi_items()),
            sent=request.read(),
            sent_type=request.headers.get("content-type", "application/json"),
            status=status,
            received=received,
            received_type=received_type.partition(";")[0],
        )


@contextmanager
def tapped(port: int) -> Iterator[list[Exchange]]:
    """Every exchange with a server on this port, from any thread, while the block runs."""
    crossed: list[Exchange] = []
    pass_on = httpx.HTTPTransport.handle_request

    def listen(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        answer = pass_on(transport, request)
        if request.url.port != port:
            return answer
        try:
            body = b"".join(answer.iter_raw())
        finally:
            answer.close()
        again = httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(body))
        again.extensions = answer.extensions
        crossed.append(Exchange.of(request, again.status_code, body, answer.headers.get("content-type", "")))
        return again

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.HTTPTransport, "handle_request", listen)
        yield crossed
