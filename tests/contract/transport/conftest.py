"""A vendor that answers as scripted, and what the transport is asked to send to it."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

from connectors.transport import Request, RetryPolicy, Transport

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


class PerSecondLimit(BaseHTTPRequestHandler):
    """A vendor that allows ``limit`` requests in any second.

    That is ten more than the pacer sends: on a busy machine requests wait together between its word and the socket.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    limit = 60
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
