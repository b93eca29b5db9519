"""Runs that end in the middle, as when their process is killed."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from meterbridge.settings import load_settings
from tests.flows.crash_ledgers import SqliteLedger


class Killed(BaseException):
    """The process ends; nobody catches it."""


def killed(
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[], object],
    at: Callable[[httpx.Request], bool],
    *,
    number: int = 1,
    before: bool = False,
) -> None:
    """Run until the vendor executes a request, or right before it does; the run's lease has run out since.

    Args:
        monkeypatch: Of the test.
        run: A flow.
        at: True for the requests that count.
        number: Which of these it is.
        before: True if the vendor never gets it.
    """
    send, sent = httpx.HTTPTransport.handle_request, 0

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += at(request)
        if not at(request) or sent != number:
            return send(self, request)
        if not before:
            send(self, request).read()
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(httpx.HTTPTransport, "handle_request", handle)
        with pytest.raises(Killed):
            run()
    SqliteLedger(load_settings().home).expire_leases()
