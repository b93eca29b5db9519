"""What the receiver answers, and what it keeps: over HTTP, on a real ledger."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from meterbridge import receiver
from meterbridge.cli import slow_senders
from meterbridge.ledger import inbox, malformed
from meterbridge.ledger.ledger import Ledger
from meterbridge.receiver import Mailbox
from tests.receiver.conftest import AUTH, body, receiving, settings, told

CHARGEBEE = "/webhooks/chargebee"
M3TER = "/webhooks/m3ter/hidden-path"
KEY = {"x-api-key": "m3ter-key"}


def events(ledger: Ledger) -> list[inbox.Event]:
    with ledger.read() as rx:
        return [row.event for row in inbox.pending(rx)]


def test_an_event_is_in_the_ledger_when_it_is_answered(http: httpx.Client, ledger: Ledger) -> None:
    assert http.post(CHARGEBEE, json=told(7)).status_code == 200
    expected = inbox.Event("chargebee", "ev_7", "subscription_changed", "subscription", "sub-1", 1_769_907_000, 7)
    assert events(ledger) == [expected]


def test_an_event_that_comes_again_is_answered_again_and_kept_once(http: httpx.Client, ledger: Ledger) -> None:
    assert [http.post(CHARGEBEE, json=told(7)).status_code for _ in range(3)] == [200, 200, 200]
    with ledger.write() as tx:
        inbox.done(tx, [row.id for row in inbox.pending(tx)])
        tx.commit()
    assert http.post(CHARGEBEE, json=told(7)).status_code == 200
    assert events(ledger) == []


def test_a_bill_notification_is_kept_with_its_bill(http: httpx.Client, ledger: Ledger) -> None:
    event = {"id": "n-1", "eventName": "billing.bill.updated", "m3terEvent": {"eventData": {"newDto": {"id": "b-1"}}}}
    assert http.post(M3TER, json=event, headers=KEY).status_code == 200
    assert [(found.source, found.resource, found.resource_id) for found in events(ledger)] == [("m3ter", "bill", "b-1")]


@pytest.mark.parametrize(
    ("path", "auth", "headers", "status"),
    [
        pytest.param(CHARGEBEE, ("hook", "wrong"), {}, 401, id="wrong-password"),
        pytest.param(CHARGEBEE, ("other", AUTH[1]), {}, 401, id="wrong-user"),
        pytest.param(CHARGEBEE, None, {}, 401, id="no-credentials"),
        pytest.param(M3TER, None, {}, 401, id="m3ter-without-key"),
        pytest.param("/webhooks/m3ter/guessed", None, KEY, 401, id="m3ter-on-a-wrong-path"),
        pytest.param("/webhooks", AUTH, {}, 404, id="no-such-path"),
    ],
)
def test_a_stranger_leaves_no_trace(
    http: httpx.Client, ledger: Ledger, path: str, auth: tuple[str, str] | None, headers: dict[str, str], status: int
) -> None:
    with httpx.Client(base_url=http.base_url) as stranger:
        answer = stranger.post(path, content=b"nonsense", auth=auth or httpx.USE_CLIENT_DEFAULT, headers=headers)
    assert answer.status_code == status
    assert events(ledger) == []
    with ledger.read() as rx:
        assert malformed.all(rx) == []


def test_a_vendor_whose_secret_is_not_set_finds_nothing(ledger: Ledger, tmp_path: Path) -> None:
    with receiving(ledger, settings(tmp_path, webhook_password="", webhook_m3ter_path="")) as http:
        assert http.post(CHARGEBEE, json=told(1), auth=("hook", "")).status_code == 404
        assert http.post("/webhooks/m3ter/", json={}, headers=KEY).status_code == 404


def test_what_is_no_event_is_refused_and_kept_in_outline(http: httpx.Client, ledger: Ledger) -> None:
    odd = {"id": "ev_1", "customer": {"email": "ann@acme.example"}}
    assert [http.post(CHARGEBEE, json=odd).status_code for _ in range(2)] == [400, 400]
    assert http.post(CHARGEBEE, content=b"\xff\x00").status_code == 400
    with ledger.read() as rx:
        kept = {row.body.outline: (row.times, row.body.size) for row in malformed.all(rx)}
    assert kept == {
        "{customer: {email: text}, id: text}": (2, len(httpx.Request("POST", "http://x", json=odd).content)),
        "text": (1, 2),
    }
    assert events(ledger) == []


def test_no_personal_data_reaches_the_ledgers_file(http: httpx.Client, ledger: Ledger, tmp_path: Path) -> None:
    http.post(CHARGEBEE, json=told(1))
    http.post(CHARGEBEE, json={"customer": {"email": "ann@acme.example"}})
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as database:
        dump = "\n".join(database.iterdump())
    assert "ev_1" in dump
    assert "ann@acme" not in dump


def test_a_body_of_exactly_one_mebibyte_is_read_and_one_more_byte_is_not(http: httpx.Client, ledger: Ledger) -> None:
    event = body(told(1))
    most = event + b" " * (1024 * 1024 - len(event))
    assert http.post(CHARGEBEE, content=most).status_code == 200
    assert http.post(CHARGEBEE, content=most + b" ").status_code == 413
    chunks = (most[start : start + 65_536] for start in range(0, len(most) + 1, 65_536))
    assert http.post(CHARGEBEE, content=(each or b" " for each in [*chunks, b" "])).status_code == 413
    assert len(events(ledger)) == 1


def test_a_sender_that_goes_away_in_mid_body_is_no_malformed_one(http: httpx.Client, ledger: Ledger) -> None:
    url = http.base_url
    request = httpx.Request("POST", f"{url}{CHARGEBEE}", headers={"Content-Length": "500"})
    authorization = next(http.auth.auth_flow(request)).headers["authorization"]  # type: ignore[union-attr]
    with socket.create_connection((url.host, url.port)) as raw:
        head = f"POST {CHARGEBEE} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: 500\r\n\r\n"
        raw.sendall(head.encode() + b'{"id": ')
    assert http.get("/health").json()["waiting"] == 0
    with ledger.read() as rx:
        assert malformed.all(rx) == []


def test_only_posts_are_taken(http: httpx.Client) -> None:
    assert http.get(CHARGEBEE).status_code == 405
    assert http.post("/health").status_code == 405


def test_health_tells_what_waits(http: httpx.Client) -> None:
    http.post(CHARGEBEE, json=told(1))
    found = http.get("/health")
    assert (found.status_code, found.json()["status"], found.json()["waiting"]) == (200, "ok", 1)


def test_events_that_come_together_are_all_kept(http: httpx.Client, ledger: Ledger) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: http.post(CHARGEBEE, json=told(number % 150)).status_code, range(300)))
    assert set(answers) == {200}
    assert {event.event_id for event in events(ledger)} == {f"ev_{number}" for number in range(150)}
    assert len(events(ledger)) == 150


def test_the_drain_hears_of_an_event_after_it_is_stored(ledger: Ledger, tmp_path: Path) -> None:
    seen: list[int] = []
    with receiving(ledger, settings(tmp_path), lambda: seen.append(len(events(ledger)))) as http:
        http.post(CHARGEBEE, json=told(1))
    assert seen == [1]


def test_a_ledger_that_cannot_be_written_is_a_503_and_the_vendor_comes_again(ledger: Ledger, tmp_path: Path) -> None:
    with receiving(ledger, settings(tmp_path)) as http:
        with sqlite3.connect(tmp_path / "ledger.sqlite3") as database:
            database.execute("alter table inbox rename to elsewhere")
        answer = http.post(CHARGEBEE, json=told(1))
        assert answer.status_code == 503
        assert http.get("/health").status_code == 503
        with sqlite3.connect(tmp_path / "ledger.sqlite3") as database:
            database.execute("alter table elsewhere rename to inbox")
        assert http.post(CHARGEBEE, json=told(1)).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "\ud800x"),
        ("id", ".."),
        ("id", "a\x1fb"),
        ("event_type", "sub\udfff"),
        ("subscription", "."),
        ("subscription", ".."),
    ],
)
def test_an_id_that_cannot_be_kept_or_asked_for_is_refused_at_the_door(
    http: httpx.Client, ledger: Ledger, field: str, value: str
) -> None:
    event = told(1, value) if field == "subscription" else {**told(1), field: value}
    answer = http.post(CHARGEBEE, content=json.dumps(event).encode(), headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert events(ledger) == []
    with ledger.read() as rx:
        assert len(malformed.all(rx)) == 1


def test_one_event_that_the_ledger_cannot_take_fails_none_that_comes_with_it(ledger: Ledger) -> None:
    good = [inbox.Event("chargebee", f"ev_{n}", "changed", "subscription", f"sub-{n}") for n in range(28)]
    bad = [
        inbox.Event("chargebee", "ev_big", "changed", "subscription", "sub", None, 2**70),
        inbox.Event("chargebee", "ev_odd", "changed", "subscription", "sub", object()),  # type: ignore[arg-type]
    ]
    half = inbox.Event("chargebee", "ev_\ud800", "changed", "subscription", "sub")  # kept, marked
    mixed = [*good[:14], *bad, half, *good[14:]]

    async def post_all() -> list[BaseException | None]:
        mailbox = Mailbox(ledger, lambda: None)
        return await asyncio.gather(*(mailbox.keep(event) for event in mixed), return_exceptions=True)

    outcomes = asyncio.run(post_all())

    assert [outcome is None for outcome in outcomes] == [event not in bad for event in mixed]
    assert {event.event_id for event in events(ledger)} == {"ev_\ufffd", *(event.event_id for event in good)}


def test_a_body_that_does_not_come_in_time_is_given_up(
    http: httpx.Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "BODY_SECONDS", 0.5)
    with socket.create_connection((http.base_url.host, http.base_url.port)) as slow:
        slow.settimeout(10)
        slow.sendall(head(AUTH, 100) + b'{"id": ')
        began = time.monotonic()
        answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        while slow.recv(4096):
            pass
    assert time.monotonic() - began < 5
    assert http.post(CHARGEBEE, json=told(1)).status_code == 200
    assert len(events(ledger)) == 1


def head(auth: tuple[str, str], length: int) -> bytes:
    basic = base64.b64encode(":".join(auth).encode()).decode()
    return (
        f"POST {CHARGEBEE} HTTP/1.1\r\nhost: here\r\nauthorization: Basic {basic}\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("begun", [b"", b"POST /webhooks/chargebee HTTP/1.1\r\nhost: he"])
def test_a_connection_that_sends_no_whole_head_is_closed(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(slow_senders, "HEAD_SECONDS", 0.5)
    with socket.create_connection((http.base_url.host, http.base_url.port)) as slow:
        slow.settimeout(10)
        slow.sendall(begun)
        began = time.monotonic()
        assert slow.recv(4096) == b""
        assert time.monotonic() - began < 5


def test_half_a_head_after_an_answered_request_is_closed_too(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_senders, "HEAD_SECONDS", 0.5)
    with socket.create_connection((http.base_url.host, http.base_url.port)) as slow:
        slow.settimeout(10)
        sent = body(told(3))
        slow.sendall(head(AUTH, len(sent)) + sent)
        assert slow.recv(4096).startswith(b"HTTP/1.1 200")
        slow.sendall(b"POST /webhooks")
        while slow.recv(4096):
            pass
