"""The imitated vendors send their events: at least once, in no order, seven times more when nobody answers."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from meterbridge.sandbox import CHARGEBEE_API_KEY, M3TER_ORGANIZATION_ID, Sandbox, scenarios
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.sandbox.webhooks import RETRY_SECONDS


class Recipient(ThreadingHTTPServer):
    """Answers every post with ``status`` and keeps it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keeping)
        self.status = 200
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Keeping(BaseHTTPRequestHandler):
    server: Recipient

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    server = Recipient()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scenarios.build("single")) as running:
        yield running


@contextmanager
def chargebee(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.chargebee_url, auth=(CHARGEBEE_API_KEY, "")) as http:
        yield http


def endpoint(http: httpx.Client, url: str, *events: str) -> dict[str, Any]:
    named = {f"enabled_events[{n}]": event for n, event in enumerate(events)}
    login = {"basic_auth_username": "hook", "basic_auth_password": "word"}
    answer = http.post("/webhook_endpoints", data={"name": "ours", "url": url, **login, **named})
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()["webhook_endpoint"]
    return row


def rename(http: httpx.Client, number: int) -> None:
    http.post("/customers/cust-single", data={"company": f"Single {number}"}).raise_for_status()


def test_an_event_is_posted_bare_with_basic_auth(sandbox: Sandbox, recipient: Recipient) -> None:
    with chargebee(sandbox) as http:
        endpoint(http, recipient.url, "customer_changed")
        rename(http, 1)
    assert sandbox.world.webhooks.wait(10)
    ((headers, event),) = recipient.got
    assert headers["authorization"] == "Basic " + base64.b64encode(b"hook:word").decode()
    assert (event["event_type"], event["content"]["customer"]["company"]) == ("customer_changed", "Single 1")
    assert "webhooks" not in event


def test_only_events_that_were_asked_for_are_posted(sandbox: Sandbox, recipient: Recipient) -> None:
    with chargebee(sandbox) as http:
        row = endpoint(http, recipient.url, "subscription_changed")
        rename(http, 1)
        http.post(f"/webhook_endpoints/{row['id']}", data={"enabled_events[0]": "customer_changed"})
        rename(http, 2)
        http.post(f"/webhook_endpoints/{row['id']}", data={"disabled": "true"})
        rename(http, 3)
    assert sandbox.world.webhooks.wait(10)
    assert [event["content"]["customer"]["company"] for _, event in recipient.got] == ["Single 2"]


def test_an_answer_never_shows_the_credentials_and_a_site_has_five(sandbox: Sandbox) -> None:
    with chargebee(sandbox) as http:
        row = endpoint(http, "http://127.0.0.1:1/a")
        assert not [name for name in row if name.startswith("basic_auth")]
        for _ in range(4):
            endpoint(http, "http://127.0.0.1:1/a")
        full = http.post("/webhook_endpoints", data={"name": "n", "url": "http://127.0.0.1:1/a"})
        assert (full.status_code, full.json()["api_error_code"]) == (400, "resource_limit_exceeded")
        assert http.post(f"/webhook_endpoints/{row['id']}/delete").status_code == 200
        assert len(http.get("/webhook_endpoints").json()["list"]) == 4


def test_what_is_not_answered_with_2xx_comes_seven_times_more_on_the_virtual_clock(
    sandbox: Sandbox, recipient: Recipient
) -> None:
    recipient.status = 500
    with chargebee(sandbox) as http:
        endpoint(http, recipient.url, "customer_changed")
        rename(http, 1)
    webhooks = sandbox.world.webhooks
    assert webhooks.wait(10)
    for number, seconds in enumerate(RETRY_SECONDS, 1):
        sandbox.world.advance(seconds - 30)
        assert webhooks.wait(10)
        assert len(recipient.got) == number
        sandbox.world.advance(31)
        assert webhooks.wait(10)
        assert len(recipient.got) == number + 1
    sandbox.world.advance(10 * 86_400)
    assert webhooks.wait(10)
    assert len(recipient.got) == 8
    assert webhooks.counts["failed"] == 1


def test_events_are_lost_doubled_and_overtaken_as_the_switches_say(sandbox: Sandbox, recipient: Recipient) -> None:
    shares = {"webhook_loss_percent": 20, "webhook_duplicate_percent": 30, "webhook_jitter_seconds": 600}
    sandbox.world.switches.update(shares)
    with chargebee(sandbox) as http:
        endpoint(http, recipient.url, "customer_changed")
        for number in range(100):
            rename(http, number)
    sandbox.world.advance(601)
    webhooks = sandbox.world.webhooks
    assert webhooks.wait(30)
    ids = [event["id"] for _, event in recipient.got]
    assert len(set(ids)) == 100 - webhooks.counts["lost"]
    assert len(ids) - len(set(ids)) == webhooks.counts["duplicated"]
    assert 5 < webhooks.counts["lost"] < 40
    assert 10 < webhooks.counts["duplicated"] < 50
    sent = [event["content"]["customer"]["company"] for _, event in recipient.got]
    assert sent != sorted(sent, key=lambda name: int(name.split()[1]))


def test_nothing_leaves_this_machine(sandbox: Sandbox) -> None:
    with chargebee(sandbox) as http:
        endpoint(http, "https://bridge.example.com/hook", "customer_changed")
        rename(http, 1)
    assert sandbox.world.webhooks.wait(10)
    assert sandbox.world.webhooks.counts == {"duplicated": 0, "tried again": 1}


@contextmanager
def m3ter(sandbox: Sandbox) -> Iterator[httpx.Client]:
    from meterbridge.sandbox import M3TER_API_KEY, M3TER_API_SECRET

    grant = {"grant_type": "client_credentials"}
    answer = httpx.post(f"{sandbox.m3ter_url}/oauth/token", auth=(M3TER_API_KEY, M3TER_API_SECRET), json=grant)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    root = f"{sandbox.m3ter_url}/organizations/{M3TER_ORGANIZATION_ID}"
    with httpx.Client(base_url=root, headers=headers) as http:
        yield http


RULE = {
    "name": "approved",
    "code": "approved",
    "description": "a bill was approved",
    "eventName": "billing.bill.updated",
    "calculation": 'new.status == "APPROVED" AND old.status != "APPROVED"',
}


def bill_every_month(sandbox: Sandbox, http: httpx.Client) -> None:
    """An account with a plan and its mapping, so that months bring bills."""
    plan = next(row["id"] for row in sandbox.world.m3ter.plans.rows() if row["code"] == "api-pro-eur")
    account = {"name": "Single", "code": "cust-single", "emailAddress": "a@b.example", "currency": "EUR"}
    owner = http.post("/accounts", json=account).json()["id"]
    placed = {"accountId": owner, "planId": plan, "startDate": "2026-01-01T00:00:00Z"}
    assert http.post("/accountplans", json=placed).status_code == 200


def test_an_approved_bill_reaches_a_linked_webhook_and_an_unlinked_one_hears_nothing(
    sandbox: Sandbox, recipient: Recipient
) -> None:
    sandbox.world.switches.m3ter_token_seconds = 10**8
    with m3ter(sandbox) as http:
        bill_every_month(sandbox, http)
        signed = {"type": "M3TER_SIGNED_REQUEST", "apiKey": "k", "secret": "s"}
        webhook = {"name": "hook", "description": "d", "url": recipient.url, "credentials": signed}
        webhook_id = http.post("/integrationdestinations/webhooks", json=webhook).json()["id"]
        rule_id = http.post("/notifications/configurations", json=RULE).json()["id"]
        assert use_and_bill(sandbox.world).approved
        assert sandbox.world.webhooks.wait(10)
        assert recipient.got == []
        ends = {
            "entityType": "Notification",
            "entityId": rule_id,
            "destination": "Webhook",
            "destinationId": webhook_id,
        }
        assert http.post("/integrationconfigs", json={"name": "l", "configData": {}, **ends}).status_code == 200
    use_and_bill(sandbox.world)
    assert sandbox.world.webhooks.wait(10)
    assert recipient.got
    for headers, event in recipient.got:
        assert headers["x-api-key"] == "k"
        assert event["m3terEvent"]["eventData"]["newDto"]["status"] == "APPROVED"
        assert event["m3terEvent"]["eventData"]["oldDto"]["status"] != "APPROVED"


def test_a_calculation_can_be_tried_before_it_is_used(sandbox: Sandbox) -> None:
    with m3ter(sandbox) as http:
        good = {"eventName": RULE["eventName"], "calculation": RULE["calculation"]}
        assert http.post("/notifications/evaluate", json=good).json() == {"success": True}
        bad = http.post("/notifications/evaluate", json={**good, "calculation": "new.status"}).json()
        assert bad["success"] is False
