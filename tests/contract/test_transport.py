"""The transport against scripted answers, and against real sockets where a mock would lie."""

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from connectors.pacing import SlotPacer, Unlimited
from connectors.transport import Request, RetryPolicy, Transport
from meterbridge.errors import (
    MeterbridgeError,
    OutcomeUnknown,
    RecordRefused,
    RetriableError,
    SetupError,
    Throttled,
)

KEY = "live_abcdefghijklmnop1234"
WRITE = Request("POST", "/invoices/d1/add_charge", "amount=5", "application/x-www-form-urlencoded")
READ = Request("GET", "/invoices/d1")
POLICY = RetryPolicy(attempts=3, first_delay=2.0, retry_after_cap=60.0)
Step = httpx.Response | type[httpx.HTTPError]


def answer(status: int, body: object = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, str):
        return httpx.Response(status, text=body, headers=named)
    return httpx.Response(status, json={} if body is None else body, headers=named)


def refusal(status: int, code: str, message: str = "no", **headers: str) -> httpx.Response:
    body = {"message": message, "type": "invalid_request", "api_error_code": code, "param": "amount"}
    return answer(status, body, **headers)


class Vendor:
    """Plays steps one by one, on a clock that only sleeping moves; keeps what it received."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.received: list[httpx.Request] = []
        self.slept: list[float] = []
        self.holds: list[float] = []
        self.now = 1000.0
        self.seconds_per_wait = 0.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.received.append(request)
        step = self.steps.pop(0)
        if isinstance(step, httpx.Response):
            return step
        raise step("the vendor at secret-host said nothing", request=request)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def wait(self) -> None:
        self.now += self.seconds_per_wait

    def hold(self, seconds: float) -> None:
        self.holds.append(seconds)

    def transport(self, policy: RetryPolicy = POLICY, firewall: bool = False) -> Transport:
        return Transport(
            "chargebee",
            "https://site.example/api/v2",
            httpx.BasicAuth(KEY, ""),
            self,
            policy=policy,
            firewall=firewall,
            sleep=self.sleep,
            monotonic=lambda: self.now,
            wall=lambda: 1767225600.0,
            jitter=lambda: 0.5,
            client_transport=httpx.MockTransport(self),
        )


def test_a_request_goes_out_as_it_was_stored() -> None:
    vendor = Vendor(answer(200, {"invoice": {}}, chargebee_idempotency_replayed="true"))
    request = Request("POST", "/customers/a%2Fb%20%C3%A9?x=%5B1%5D", "a=%20+é", "text/x-test")
    got = vendor.transport().send(request, repeatable=True, headers={"chargebee-idempotency-key": "k1"})
    sent = vendor.received[0]
    assert sent.url.raw_path == b"/api/v2/customers/a%2Fb%20%C3%A9?x=%5B1%5D"
    assert sent.content == "a=%20+é".encode()
    assert sent.headers["content-type"] == "text/x-test"
    assert sent.headers["chargebee-idempotency-key"] == "k1"
    assert (got.status, got.replayed, got.json()) == (200, True, {"invoice": {}})


def test_a_replay_header_that_says_false_means_false() -> None:
    vendor = Vendor(answer(200, {}, chargebee_idempotency_replayed="false"))
    assert not vendor.transport().send(WRITE, repeatable=True).replayed


def test_the_date_header_gives_the_vendors_clock() -> None:
    vendor = Vendor(answer(200, {}, date="Thu, 01 Jan 2026 00:01:30 GMT"))
    transport = vendor.transport()
    assert transport.server_offset() is None
    got = transport.send(READ, repeatable=True)
    assert got.date is not None
    assert got.date.isoformat() == "2026-01-01T00:01:30+00:00"
    assert transport.server_offset() == 90.0


# --- lost answers -----------------------------------------------------------------

LOST = [
    pytest.param(httpx.ReadTimeout, id="read-timeout"),
    pytest.param(httpx.ReadError, id="reset"),
    pytest.param(httpx.RemoteProtocolError, id="closed-without-an-answer"),
    pytest.param(httpx.WriteError, id="broke-while-sending"),
    pytest.param(answer(500, {"message": "x", "api_error_code": "internal_error"}), id="500"),
    pytest.param(answer(502, "<html>Bad gateway</html>"), id="502-html"),
    pytest.param(answer(503, "<html>Service unavailable</html>"), id="503-html"),
    pytest.param(answer(503, {"message": "Service Unavailable"}), id="503-without-a-code"),
    pytest.param(answer(504, "timeout"), id="504"),
    pytest.param(answer(200, "<html>Welcome to the hotel</html>"), id="200-html"),
    pytest.param(answer(200, '{"invoice": {"id": "d1", '), id="200-cut-off"),
    pytest.param(answer(202, ""), id="202-empty"),
]


@pytest.mark.parametrize("step", LOST)
def test_lost_response_to_an_unkeyed_write_is_not_repeated(step: Step) -> None:
    vendor = Vendor(step)
    with pytest.raises(OutcomeUnknown) as caught:
        vendor.transport().send(WRITE, repeatable=False)
    assert caught.value.code == "MB-OUTCOME-UNKNOWN"
    assert len(vendor.received) == 1
    assert vendor.slept == []


@pytest.mark.parametrize("step", LOST)
def test_lost_response_to_a_keyed_write_is_repeated_unchanged(step: Step) -> None:
    vendor = Vendor(step, answer(200, {"invoice": {}}))
    vendor.transport().send(WRITE, repeatable=True, headers={"chargebee-idempotency-key": "k1"})
    first, second = vendor.received
    assert (first.url, first.content, first.headers["chargebee-idempotency-key"]) == (
        second.url,
        second.content,
        second.headers["chargebee-idempotency-key"],
    )


def test_a_keyed_write_that_stays_lost_is_unknown_not_retriable() -> None:
    vendor = Vendor(*[httpx.ReadTimeout] * 3)
    with pytest.raises(OutcomeUnknown):
        vendor.transport().send(WRITE, repeatable=True)
    assert len(vendor.received) == 3


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(httpx.ConnectError, id="then-unreachable"),
        pytest.param(answer(429, {"message": "x"}), id="then-throttled"),
        pytest.param(refusal(409, "invalid_state_for_request"), id="then-refused"),
        pytest.param(refusal(401, "api_authentication_failed"), id="then-locked-out"),
    ],
)
def test_a_write_once_lost_stays_unknown_whatever_comes_later(last: Step) -> None:
    vendor = Vendor(httpx.ReadTimeout, last)
    with pytest.raises(OutcomeUnknown):
        vendor.transport(RetryPolicy(attempts=2)).send(WRITE, repeatable=True)
    assert len(vendor.received) == 2


def test_a_replayed_refusal_settles_a_lost_write() -> None:
    vendor = Vendor(httpx.ReadTimeout, refusal(400, "param_wrong_value", chargebee_idempotency_replayed="true"))
    with pytest.raises(RecordRefused) as caught:
        vendor.transport().send(WRITE, repeatable=True)
    assert caught.value.replayed


# A page cut off inside is found by whoever parses it.
@pytest.mark.parametrize("step", [case for case in LOST if case.id != "200-cut-off"])
def test_a_lost_read_is_read_again(step: Step) -> None:
    vendor = Vendor(step, answer(200, {"invoice": {"id": "d1"}}))
    assert vendor.transport().send(READ, repeatable=True).json() == {"invoice": {"id": "d1"}}


@pytest.mark.parametrize(
    ("step", "code"),
    [(httpx.ReadTimeout, "MB-UNAVAILABLE"), (answer(200, "<html>"), "MB-ANSWER")],
    ids=["silent", "not-json"],
)
def test_a_read_that_stays_lost_is_retriable(step: Step, code: str) -> None:
    vendor = Vendor(step, step, step)
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(READ, repeatable=True)
    assert caught.value.code == code


@pytest.mark.parametrize("step", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_what_never_left_us_is_retried_and_then_retriable_even_for_an_unkeyed_write(step: Step) -> None:
    vendor = Vendor(step, step, step)
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(WRITE, repeatable=False)
    assert caught.value.code == "MB-UNAVAILABLE"
    assert len(vendor.received) == 3


# --- throttling -------------------------------------------------------------------


def test_retry_after_is_obeyed_and_moves_everyone() -> None:
    vendor = Vendor(refusal(429, "api_request_limit_exceeded", Retry_After="7"), answer(200, {}))
    transport = vendor.transport()
    transport.send(WRITE, repeatable=False)
    assert vendor.slept == [8.0]
    assert vendor.holds == [7.0]
    assert (transport.traffic.requests, transport.traffic.throttled, transport.traffic.waited_seconds) == (2, 1, 8.0)


def test_retry_after_as_a_date_counts_from_the_vendors_own_clock() -> None:
    dates = {"Retry_After": "Thu, 01 Jan 2099 00:00:20 GMT", "Date": "Thu, 01 Jan 2099 00:00:10 GMT"}
    vendor = Vendor(answer(503, {"message": "x", "api_error_code": "site_not_ready"}, **dates), answer(200, {}))
    vendor.transport().send(WRITE, repeatable=False)
    assert vendor.slept == [11.0]
    assert vendor.holds == [10.0]


def test_a_longer_retry_after_than_we_wait_for_ends_the_tries_and_is_passed_on() -> None:
    vendor = Vendor(answer(429, {"message": "x"}, Retry_After="3600"))
    with pytest.raises(Throttled) as caught:
        vendor.transport().send(WRITE, repeatable=False)
    assert (caught.value.code, caught.value.retry_after) == ("MB-THROTTLED", 3600.0)
    assert vendor.slept == []
    assert vendor.holds == [60.0]


def test_a_lock_on_one_record_slows_nobody_else() -> None:
    vendor = Vendor(refusal(429, "lock_timeout"), answer(200, {}))
    vendor.transport().send(WRITE, repeatable=False)
    assert vendor.holds == []
    assert vendor.slept == [1.0]


@pytest.mark.parametrize("status", [429, 503])
def test_not_executed_writes_are_repeated_and_then_retriable(status: int) -> None:
    steps = [refusal(status, "internal_temporary_error") for _ in range(3)]
    vendor = Vendor(*steps)
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(WRITE, repeatable=False)
    assert len(vendor.received) == 3
    assert caught.value.code == ("MB-THROTTLED" if status == 429 else "MB-UNAVAILABLE")


# --- resend_until -----------------------------------------------------------------


def test_no_try_starts_after_resend_until_back_off_included() -> None:
    vendor = Vendor(httpx.ReadTimeout, answer(200, {}))
    with pytest.raises(OutcomeUnknown):
        vendor.transport().send(WRITE, repeatable=True, resend_until=1001.0)
    assert len(vendor.received) == 1
    assert vendor.slept == []


def test_a_try_before_resend_until_still_goes() -> None:
    vendor = Vendor(httpx.ReadTimeout, answer(200, {}))
    vendor.transport().send(WRITE, repeatable=True, resend_until=1001.1)
    assert len(vendor.received) == 2


def test_waiting_for_a_slot_counts_against_resend_until() -> None:
    vendor = Vendor(answer(200, {}))
    vendor.seconds_per_wait = 5.0
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(WRITE, repeatable=True, resend_until=1004.0)
    assert vendor.received == []
    assert "chargebee POST /invoices/d1/add_charge: the time to send it had run out" in caught.value.message


# --- refusals ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 405, 409, 413, 422])
def test_a_refusal_is_final_and_carries_the_vendors_words(status: int) -> None:
    vendor = Vendor(refusal(status, "invalid_state_for_request", "Invoice is closed"))
    with pytest.raises(RecordRefused) as caught:
        vendor.transport().send(WRITE, repeatable=True)
    refused = caught.value
    assert (refused.code, refused.status, refused.vendor_code, refused.replayed) == (
        "MB-REFUSED",
        status,
        "invalid_state_for_request",
        False,
    )
    assert refused.message == (
        f"chargebee POST /invoices/d1/add_charge: {status} invalid_state_for_request: Invoice is closed (param amount)"
    )
    assert len(vendor.received) == 1


@pytest.mark.parametrize(
    "step",
    [
        refusal(401, "api_authentication_failed", f"Sorry, {KEY} of ada@acme.example is wrong"),
        refusal(403, "api_authorization_failed", f"key {KEY}"),
        refusal(404, "site_not_found"),
        answer(403, "<html>blocked</html>"),
    ],
    ids=["401", "403", "no-such-site", "proxy"],
)
def test_wrong_credentials_stop_at_once_and_show_no_secret(
    step: httpx.Response, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="connectors")
    vendor = Vendor(step)
    with pytest.raises(SetupError) as caught:
        vendor.transport().send(WRITE, repeatable=True)
    assert caught.value.code == "MB-CREDENTIALS"
    assert len(vendor.received) == 1
    shown = str(caught.value) + repr(caught.value) + caplog.text
    assert KEY not in shown
    assert "acme.example" not in shown


def test_a_secret_of_any_form_that_the_vendor_echoes_is_not_shown() -> None:
    vendor = Vendor(refusal(400, "x", "you said pass-word-42 and cGFzcy13b3JkLTQyOg=="))
    transport = Transport(
        "chargebee",
        "https://site.example",
        httpx.BasicAuth("pass-word-42", ""),
        vendor,
        client_transport=httpx.MockTransport(vendor),
    )
    with pytest.raises(RecordRefused, match=r"you said \[secret\] and \[secret\]"):
        transport.send(WRITE, repeatable=True)


def test_a_firewalls_403_refuses_the_record_where_the_vendor_has_one() -> None:
    vendor = Vendor(answer(403, "<html>blocked</html>"), answer(403, "<html>blocked</html>"))
    with pytest.raises(RecordRefused):
        vendor.transport(firewall=True).send(WRITE, repeatable=False)
    with pytest.raises(SetupError):
        vendor.transport(firewall=True).send(READ, repeatable=False)


def test_a_redirect_is_a_wrong_base_url() -> None:
    vendor = Vendor(answer(301, "", Location="https://elsewhere.example/?token=1"))
    with pytest.raises(SetupError) as caught:
        vendor.transport().send(WRITE, repeatable=True)
    assert caught.value.code == "MB-SETTING"
    assert "elsewhere" not in caught.value.message


@pytest.mark.parametrize("url", ["site.example/api", "ftp://site", "https://", "https://key:@site/api", "https://[::"])
def test_a_base_url_that_is_none_is_a_setting_to_correct(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        Transport("chargebee", url, httpx.BasicAuth("k", ""), Unlimited())
    assert caught.value.code == "MB-SETTING"


def test_no_error_or_log_shows_a_query_a_body_or_what_httpx_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="connectors")
    vendor = Vendor(httpx.ReadTimeout, httpx.ReadTimeout, httpx.ReadTimeout)
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(Request("GET", "/customers?email[is]=ada%40acme.example"), repeatable=True)
    records = " ".join(str(record.__dict__) for record in caplog.records)
    assert "acme" not in caught.value.message + records
    assert "secret-host" not in caught.value.message + records
    assert [record.__dict__["attempt"] for record in caplog.records] == [1, 2]


# --- real sockets -----------------------------------------------------------------


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """Accept connections one by one, read a request, then do as told."""
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    received.append(connection.recv(65536))
                    talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def cut_off(connection: socket.socket) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"invoice":')


@pytest.mark.parametrize("talk", [reset, cut_off, lambda connection: None], ids=["reset", "cut-off", "closed"])
def test_a_real_connection_lost_after_sending_leaves_one_request_and_an_unknown(
    talk: Callable[[socket.socket], None],
) -> None:
    with raw_server(talk) as (url, received):
        transport = Transport("m3ter", url, httpx.BasicAuth("k", ""), Unlimited(), sleep=lambda seconds: None)
        with transport, pytest.raises(OutcomeUnknown):
            transport.send(WRITE, repeatable=False)
    assert len(received) == 1


def test_a_port_where_nobody_listens_means_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    transport = Transport("m3ter", url, httpx.BasicAuth("k", ""), Unlimited(), sleep=lambda seconds: None)
    with transport, pytest.raises(RetriableError) as caught:
        transport.send(WRITE, repeatable=False)
    assert caught.value.code == "MB-UNAVAILABLE"
    assert transport.traffic.requests == 5


class PerSecondLimit(BaseHTTPRequestHandler):
    """A vendor that allows ``limit`` requests in any second."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    limit = 50
    arrivals: list[float]
    lock = threading.Lock()

    def do_GET(self) -> None:
        with self.lock:
            now = time.monotonic()
            recent = sum(1 for at in self.arrivals if now - at < 1.0)
            self.arrivals.append(now)
        status = 200 if recent < self.limit else 429
        body = json.dumps({"recent": recent}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Nothing on the terminal."""


def test_thirty_threads_on_one_pacer_keep_the_rate_and_meet_no_429() -> None:
    PerSecondLimit.arrivals = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), PerSecondLimit)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    failures: list[MeterbridgeError] = []
    with Transport("m3ter", url, httpx.BasicAuth("k", ""), SlotPacer(50.0), max_connections=30) as transport:

        def work() -> None:
            try:
                for _ in range(4):
                    transport.send(READ, repeatable=True)
            except MeterbridgeError as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(30)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
    server.shutdown()
    server.server_close()
    assert failures == []
    assert (transport.traffic.requests, transport.traffic.throttled) == (120, 0)
    # 119 intervals of 1/49.5 s are 2.40 s; a loaded machine may take longer, never shorter.
    assert 2.39 < took < 6.0
