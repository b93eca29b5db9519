"""Harm on purpose, the control endpoints, and the sandbox as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from meterbridge.sandbox import CHARGEBEE_API_KEY, Sandbox, scenarios
from meterbridge.sandbox.faults import Fault

POST_CUSTOMER = {"vendor": "chargebee", "method": "POST", "path": "/customers$"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scenarios.build("single")) as running:
        yield running


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.chargebee_url, auth=(CHARGEBEE_API_KEY, ""), timeout=5) as client:
        yield client


def harm(sandbox: Sandbox, name: str, match: dict[str, Any] = POST_CUSTOMER, **more: Any) -> None:
    answer = httpx.post(f"{sandbox.url}/_sandbox/faults", json=[{"harm": name, "match": match} | more])
    assert answer.status_code == 200, answer.text


def exists(http: httpx.Client, customer: str) -> bool:
    return http.get(f"/customers/{customer}").status_code == 200


def test_drop_before_leaves_nothing_behind(sandbox: Sandbox, http: httpx.Client) -> None:
    harm(sandbox, "drop_before")
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/customers", data={"id": "a"})
    assert not exists(http, "a")


def test_commit_then_drop_executes_and_a_resend_with_the_key_is_a_replay(sandbox: Sandbox, http: httpx.Client) -> None:
    harm(sandbox, "commit_then_drop")
    key = {"chargebee-idempotency-key": "k"}
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/customers", data={"id": "a"}, headers=key)
    assert exists(http, "a")
    again = http.post("/customers", data={"id": "a"}, headers=key)
    assert (again.status_code, again.headers["chargebee-idempotency-replayed"]) == (200, "true")


@pytest.mark.parametrize(
    ("name", "status", "executed"),
    [
        pytest.param("error_after_commit", 500, True, id="500-after-commit"),
        pytest.param("status_500", 500, False, id="500-instead"),
        pytest.param("status_503", 503, False, id="503-instead"),
        pytest.param("html_503", 503, False, id="html-instead"),
        pytest.param("status_429", 429, False, id="429-instead"),
    ],
)
def test_answers_in_place_of_the_vendors(
    sandbox: Sandbox, http: httpx.Client, name: str, status: int, executed: bool
) -> None:
    harm(sandbox, name, retry_after=7)
    answer = http.post("/customers", data={"id": "a"})
    assert answer.status_code == status
    assert exists(http, "a") is executed
    assert answer.headers["content-type"] == ("text/html" if name == "html_503" else "application/json")
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)


def test_html_503_may_come_after_the_commit(sandbox: Sandbox, http: httpx.Client) -> None:
    harm(sandbox, "html_503", committed=True)
    assert http.post("/customers", data={"id": "a"}).status_code == 503
    assert exists(http, "a")


def test_truncated_answer_breaks_off_in_its_body(sandbox: Sandbox, http: httpx.Client) -> None:
    harm(sandbox, "truncate", {"path": "/customers/cust-single$"})
    with pytest.raises(httpx.RemoteProtocolError):
        http.get("/customers/cust-single")
    assert exists(http, "cust-single")


def test_an_answer_may_lack_a_field_of_one_record(sandbox: Sandbox, http: httpx.Client) -> None:
    http.post("/customers", data={"id": "a", "email": "a@example.com"})
    harm(sandbox, "lose_field", {"path": "/customers$", "method": "GET"}, field="id", record="a")
    first, second = (row["customer"] for row in http.get("/customers").json()["list"])
    assert {first.get("id"), second.get("id")} == {"cust-single", None}
    assert "email" in first
    assert "email" in second


@pytest.mark.parametrize(("name", "executed"), [("slow", False), ("slow_after_commit", True)])
def test_slow_request_is_executed_before_or_after_the_wait(
    sandbox: Sandbox, http: httpx.Client, name: str, executed: bool
) -> None:
    harm(sandbox, name, seconds=0.6)
    with pytest.raises(httpx.ReadTimeout):
        http.post("/customers", data={"id": "a"}, timeout=0.2)
    assert exists(http, "a") is executed
    time.sleep(0.6)
    assert exists(http, "a")


def test_stale_list_shows_the_past(sandbox: Sandbox, http: httpx.Client) -> None:
    http.post("/customers", data={"id": "a"})
    harm(sandbox, "stale_list", {"path": "/customers$", "method": "GET"}, seconds=60)
    assert len(http.get("/customers").json()["list"]) == 1
    assert len(http.get("/customers").json()["list"]) == 2


def test_overlapping_writes_on_one_invoice_are_refused_with_lock_timeout(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.world.advance(20 * 86_400)
    draft = http.get("/invoices", params={"status[is]": "pending"}).json()["list"][0]["invoice"]["id"]
    path = f"/invoices/{draft}/add_charge"
    harm(sandbox, "slow", {"path": "add_charge$"}, seconds=0.5)
    first: list[httpx.Response] = []
    body = {"amount": "5", "description": "one"}
    key = {"chargebee-idempotency-key": "k"}
    running = threading.Thread(target=lambda: first.append(http.post(path, data=body, headers=key)))
    running.start()
    time.sleep(0.2)
    second = http.post(path, data={"amount": "6", "description": "two"})
    running.join()
    assert (second.status_code, second.json()["api_error_code"]) == (429, "lock_timeout")
    assert first[0].status_code == 200
    assert http.post(path, data={"amount": "6", "description": "two"}).status_code == 200
    assert http.post(path, data=body, headers=key).headers["chargebee-idempotency-replayed"] == "true"


@pytest.mark.parametrize(("status", "code"), [(409, "invalid_state_for_request"), (429, "lock_timeout")])
def test_second_use_of_a_key_in_flight_is_refused(sandbox: Sandbox, http: httpx.Client, status: int, code: str) -> None:
    sandbox.world.switches.update({"in_flight_duplicate_status": status})
    harm(sandbox, "slow", seconds=0.5)
    key = {"chargebee-idempotency-key": "k"}
    first: list[httpx.Response] = []
    running = threading.Thread(target=lambda: first.append(http.post("/customers", data={"id": "a"}, headers=key)))
    running.start()
    time.sleep(0.2)
    second = http.post("/customers", data={"id": "a"}, headers=key)
    running.join()
    assert (second.status_code, second.json()["api_error_code"]) == (status, code)
    assert first[0].status_code == 200


def test_a_held_call_loses_its_client_at_once_and_is_executed_later(sandbox: Sandbox, http: httpx.Client) -> None:
    harm(sandbox, "held", {"path": "/customers$"}, seconds=0.4)
    key = {"chargebee-idempotency-key": "k"}
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/customers", data={"id": "a"}, headers=key)
    assert not exists(http, "a")
    meanwhile = http.post("/customers", data={"id": "a"}, headers=key)
    assert (meanwhile.status_code, "in progress" in meanwhile.json()["message"]) == (409, True)
    time.sleep(0.5)
    assert exists(http, "a")
    late = http.post("/customers", data={"id": "a"}, headers=key)
    assert (late.status_code, late.headers["chargebee-idempotency-replayed"]) == (200, "true")


@pytest.mark.parametrize(
    ("spec", "struck"),
    [
        pytest.param({"match": {"nth": 2}}, [2], id="the-second"),
        pytest.param({"match": {"nth": 2}, "times": 2}, [2, 3], id="two-from-the-second"),
        pytest.param({"match": {"request": 3}}, [3], id="by-number"),
        pytest.param({"match": {}, "times": -1}, [1, 2, 3, 4], id="always"),
        pytest.param({"match": {"vendor": "m3ter"}}, [], id="other-vendor"),
        pytest.param({"match": {"method": "GET"}}, [], id="other-method"),
        pytest.param({"match": {"path": "^/x"}}, [], id="other-path"),
    ],
)
def test_which_requests_a_fault_strikes(spec: dict[str, Any], struck: list[int]) -> None:
    fault = Fault.from_json({"harm": "status_500"} | spec)
    assert [n for n in range(1, 5) if fault.strikes(n, "chargebee", "POST", "/a")] == struck


def test_unknown_fault_or_switch_is_refused(sandbox: Sandbox) -> None:
    for path, body in (("faults", [{"harm": "nonsense"}]), ("faults", [{"harm": "slow", "tmies": 2}])):
        assert httpx.post(f"{sandbox.url}/_sandbox/{path}", json=body).status_code == 400
    assert httpx.post(f"{sandbox.url}/_sandbox/switches", json={"nonsense": 1}).status_code == 400
    assert httpx.post(f"{sandbox.url}/_sandbox/switches", json={"price_override": "no"}).status_code == 400
    assert (
        httpx.post(f"{sandbox.url}/_sandbox/switches", json={"price_override": False}).json()["price_override"] is False
    )


def test_log_numbers_vendor_requests_and_tells_harm(sandbox: Sandbox, http: httpx.Client) -> None:
    http.get("/customers/cust-single")
    harm(sandbox, "commit_then_drop")
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/customers", data={"id": "a"}, headers={"chargebee-idempotency-key": "k"})
    log = httpx.get(f"{sandbox.url}/_sandbox/requests").json()
    assert [(each["n"], each["method"], each["status"], each["harm"]) for each in log] == [
        (1, "GET", 200, None),
        (2, "POST", 0, "commit_then_drop"),
    ]
    assert log[1]["idempotency_key"] == "k"


def test_state_is_equal_for_equal_deeds_in_another_order(sandbox: Sandbox, http: httpx.Client) -> None:
    def state(names: list[str]) -> Any:
        with Sandbox(scenarios.build("single")) as other:
            for name in names:
                httpx.post(f"{other.chargebee_url}/customers", data={"id": name}, auth=(CHARGEBEE_API_KEY, ""))
            return httpx.get(f"{other.url}/_sandbox/state").json()

    assert state(["a", "b"]) == state(["b", "a"])
    assert state(["a"]) != state(["b"])


def test_month_and_clock_by_http(sandbox: Sandbox) -> None:
    now = httpx.get(f"{sandbox.url}/_sandbox/clock").json()["now"]
    report = httpx.post(f"{sandbox.url}/_sandbox/month").json()
    assert report["now"] > now + 25 * 86_400
    assert httpx.post(f"{sandbox.url}/_sandbox/clock", json={"advance": -1}).status_code == 400
    assert httpx.get(f"{sandbox.url}/_sandbox/nothing").status_code == 404


def test_several_requests_in_one_packet_are_answered_in_order(sandbox: Sandbox) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as wire:
        wire.sendall(b"GET /_sandbox/clock HTTP/1.1\r\n\r\nGET /_sandbox/none HTTP/1.1\r\n\r\n")
        received = b""
        while received.count(b"HTTP/1.1") < 2 or not received.endswith(b"}"):
            received += wire.recv(65_536)
    assert received.index(b"200 OK") < received.index(b"404 Not Found")


def test_process_says_where_it_is_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "meterbridge.sandbox", "--scenario", "single", "--chargebee-per-minute", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."}) as server:
        try:
            assert server.stdout is not None
            place = json.loads(server.stdout.readline())
            auth = (place["CHARGEBEE_API_KEY"], "")
            statuses = [httpx.get(f"{place['CHARGEBEE_BASE_URL']}/customers", auth=auth).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=10) == 0


def test_large_world_pages_quickly() -> None:
    with Sandbox(scenarios.build("large", subscriptions=500)) as running:
        auth = (CHARGEBEE_API_KEY, "")
        params = {"limit": "100", "sort_by[asc]": "updated_at", "updated_at[between]": "[1,1999999999]"}
        count, offset = 0, None
        while True:
            page = httpx.get(
                f"{running.chargebee_url}/subscriptions",
                params=params | ({"offset": offset} if offset else {}),
                auth=auth,
            ).json()
            count += len(page["list"])
            offset = page.get("next_offset")
            if offset is None:
                break
        assert count == 500
