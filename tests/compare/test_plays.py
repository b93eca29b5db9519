"""The whole way from a request to a difference: what the bridge sends is changed on its way, and must be told."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from meterbridge.sandbox.scenarios import build
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.back_off import no_back_off
from tests.compare.differences import differences
from tests.compare.ending import Ending
from tests.compare.plays import connected

Send = Callable[[httpx.Request], httpx.Response]
Change = Callable[[Send, httpx.Request], httpx.Response]
KEY = "chargebee-idempotency-key"


def as_it_is(send: Send, request: httpx.Request) -> httpx.Response:
    return send(request)


def one_cent_more(send: Send, request: httpx.Request) -> httpx.Response:
    body = re.sub(rb"amount=(\d+)", lambda found: b"amount=%d" % (int(found[1]) + 1), request.read())
    again = httpx.Request(request.method, request.url, content=body, headers={**request.headers, "content-length": ""})
    again.headers["content-length"] = str(len(body))
    return send(again)


def twice_under_another_key(send: Send, request: httpx.Request) -> httpx.Response:
    other = {**request.headers, KEY: f"{request.headers[KEY]}-2"}
    send(httpx.Request(request.method, request.url, content=request.read(), headers=other)).read()
    return send(request)


def twice_under_one_key(send: Send, request: httpx.Request) -> httpx.Response:
    send(request).read()
    return send(request)


def without_its_key(send: Send, request: httpx.Request) -> httpx.Response:
    del request.headers[KEY]
    return send(request)


@contextmanager
def changed(change: Change) -> Iterator[None]:
    """Inside the block the charges on their way to Chargebee are changed."""
    original = httpx.HTTPTransport.handle_request

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        def send(each: httpx.Request) -> httpx.Response:
            return original(self, each)

        charges = request.method == "POST" and "/invoices/" in request.url.path and KEY in request.headers
        return change(send, request) if charges else send(request)

    httpx.HTTPTransport.handle_request = handle  # type: ignore[method-assign]
    try:
        yield
    finally:
        httpx.HTTPTransport.handle_request = original  # type: ignore[method-assign]


def month(home: Path, change: Change = as_it_is, settings: dict[str, str] | None = None) -> dict[str, object]:
    """A month of one customer, billed and charged."""
    world = build("single")
    before = dict(os.environ)
    try:
        with no_back_off(), connected(world, home, settings or {}) as bridge, changed(change):
            bridge.run("sync_subscriptions")
            use_and_bill(world)
            bridge.run("sync_bills")
            return Ending.of("month", bridge).as_json()
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return month(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (as_it_is, []),
        (one_cent_more, ["chargebee invoices", "write: POST chargebee/invoices"]),
        (twice_under_another_key, ["chargebee invoices", "write: POST chargebee/invoices"]),
        (twice_under_one_key, ["write: POST chargebee/invoices"]),
        (without_its_key, ["write: POST chargebee/invoices"]),
    ],
)
def test_what_is_sent_otherwise_is_told(
    sound: dict[str, object], tmp_path: Path, change: Change, told: list[str]
) -> None:
    found = [one.what for one in differences(sound, month(tmp_path, change))]
    assert [beginning for beginning in told if not any(one.startswith(beginning) for one in found)] == []
    assert bool(found) is bool(told)


def test_a_setting_that_a_version_does_not_know_is_left_out_and_noted(sound: dict[str, object], tmp_path: Path) -> None:
    played = month(tmp_path, settings={"METERBRIDGE_OF_TOMORROW": "yes", "METERBRIDGE_ON_VOID": "of tomorrow"})
    assert [note.partition(":")[0] for note in played["notes"]] == [  # type: ignore[attr-defined]
        "played without METERBRIDGE_OF_TOMORROW=yes",
        "played without METERBRIDGE_ON_VOID=of tomorrow",
    ]
    assert list(differences(sound, played)) == []
