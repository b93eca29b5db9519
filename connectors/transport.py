"""The conversation with one vendor: pooled connections, authentication, pacing, bounded retries.

One Transport serves all threads of a run. What an answer means is judged in
:mod:`connectors.verdicts`, whether to try again in :mod:`connectors.retry`; here the
two are carried out against real time.
"""

from __future__ import annotations

import functools
import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypedDict
from urllib.parse import urlsplit

import httpx

from connectors.retry import Fate, RetryPolicy
from connectors.verdicts import Verdict, failure, http_date, judge_login, judge_response, judge_silence, redact
from connectors.wire import Answer, Pacer, Request, Traffic, path, unreadable
from meterbridge.errors import BrokenInvariant, MeterbridgeError, SetupError

__all__ = [
    "Answer",
    "Pacer",
    "Request",
    "RetryPolicy",
    "Traffic",
    "Transport",
    "TransportOptions",
    "http_date",
    "path",
    "redact",
    "unreadable",
]

log = logging.getLogger(__name__)

# Reading waits longest: a vendor may work on a write for over a minute, and giving up means probing.
TIMEOUT = httpx.Timeout(connect=10.0, read=80.0, write=30.0, pool=120.0)
# Shorter than gateways' own idle limit (60 s at AWS): a connection that they close
# while we write to it would cost an unkeyed write its answer.
KEEPALIVE_SECONDS = 20.0


class TransportOptions(TypedDict, total=False):
    """What a vendor's client passes on to its :class:`Transport`."""

    policy: RetryPolicy
    timeout: httpx.Timeout
    sleep: Callable[[float], None]
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    jitter: Callable[[], float]
    client_transport: httpx.BaseTransport
    max_connections: int


class Transport:
    """Sends requests to one vendor and turns everything that can go wrong into our errors.

    Thread-safe. Times are seconds; ``sleep``, ``monotonic`` and ``wall`` are arguments so that tests own the time.

    Args:
        name: The vendor's, as people should read it in messages.
        base_url: Without a slash at its end; paths are appended as they are.
        auth: Puts credentials on each request.
        pacer: Asked before each try.
        policy: When to try again.
        timeout: Per phase of one try.
        firewall: Whether the vendor's firewall answers 403 without JSON to texts it dislikes:
            such a write is refused, and the run goes on.
        client_transport: Replaces the network, in tests.
        max_connections: Requests under way at once; further threads queue.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        auth: httpx.Auth,
        pacer: Pacer,
        *,
        policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        timeout: httpx.Timeout = TIMEOUT,
        firewall: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        client_transport: httpx.BaseTransport | None = None,
        max_connections: int = 16,
    ) -> None:
        self.name = name
        self.traffic = Traffic()
        self._base_url = _checked(name, base_url)
        self._pacer = pacer
        self._policy = policy
        self._firewall = firewall
        self._sleep = sleep
        self._monotonic = monotonic
        self._wall = wall
        self._jitter = jitter
        self._server_offset: float | None = None
        self._client = httpx.Client(
            auth=auth,
            timeout=timeout,
            transport=client_transport,
            limits=_limits(max_connections),
            headers={"User-Agent": "meterbridge", "Accept": "application/json"},
            verify=_trust(),
            # A proxy from the environment serves the way out, never the machine itself.
            trust_env=urlsplit(base_url).hostname not in ("127.0.0.1", "localhost", "::1"),
        )

    def send(
        self,
        request: Request,
        *,
        repeatable: bool,
        headers: Mapping[str, str] | None = None,
        resend_until: float | None = None,
        in_doubt: bool = False,
    ) -> Answer:
        """Send, and try again where that is safe.

        Args:
            repeatable: Whether executing it twice does no harm: a write under a live vendor key.
                Any other is not repeated after a lost answer; reads always are.
            resend_until: On the ``monotonic`` clock; no try starts after it, back-off and pacing included.
            in_doubt: Another try of this write may have landed or be at work, under the same key.

        Raises:
            RecordRefused: MB-REFUSED, the vendor refuses this request.
            SetupError: MB-CREDENTIALS or MB-SETTING, credentials, rights or address.
            RetriableError: MB-THROTTLED, MB-UNAVAILABLE, MB-ANSWER; nothing was written.
            OutcomeUnknown: MB-OUTCOME-UNKNOWN, a write may have landed.
        """
        repeatable = repeatable or request.is_read
        verdict = Verdict(Fate.NOT_SENT, "the time to send it had run out")
        lost = False
        attempt = 0
        while self._may_start(resend_until):
            attempt += 1
            verdict = self._try(request, headers)
            if verdict.answer is not None:
                return verdict.answer
            if headers and (lost or in_doubt):
                verdict = verdict.in_doubt()
            lost = lost or (verdict.fate is Fate.LOST and not request.is_read)
            pause = self._pause(verdict, attempt, repeatable)
            if pause is None or (resend_until is not None and self._monotonic() + pause >= resend_until):
                break
            self._back_off(pause, attempt, request, verdict)
        error = failure(verdict, self.name, request, lost=lost)
        raise error from (None if error is verdict.cause else verdict.cause)

    def server_offset(self) -> float | None:
        """The vendor's clock minus ours in seconds (its resolution is one second), last seen."""
        return self._server_offset

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _may_start(self, resend_until: float | None) -> bool:
        began = self._monotonic()
        if resend_until is not None and began >= resend_until:
            return False
        self._pacer.wait()
        now = self._monotonic()
        self.traffic.add(waited_seconds=now - began)
        return resend_until is None or now < resend_until

    def _try(self, request: Request, headers: Mapping[str, str] | None) -> Verdict:
        built = self._build(request, headers)
        self.traffic.add(requests=1, sent_bytes=len(built.content))
        try:
            response = self._client.send(built)
        except httpx.HTTPError as error:
            return judge_silence(error, ours=_request_of(error) in (built, None))
        except MeterbridgeError as error:
            return judge_login(error)
        date = http_date(response.headers.get("date"))
        if date is not None:
            self._server_offset = date.timestamp() - self._wall()
        now = datetime.fromtimestamp(self._wall(), UTC)
        verdict = judge_response(response, request, vendor=self.name, firewall=self._firewall, now=now)
        if verdict.status == 429:
            self.traffic.add(throttled=1)
        return verdict

    def _build(self, request: Request, headers: Mapping[str, str] | None) -> httpx.Request:
        if not request.path.startswith("/"):
            raise BrokenInvariant("MB-INVARIANT", f"a request's path must start with a slash: {request.path!r}")
        sent = dict(headers or {})
        if request.content_type is not None:
            sent["Content-Type"] = request.content_type
        content = None if request.body is None else request.body.encode()
        return self._client.build_request(request.method, self._base_url + request.path, content=content, headers=sent)

    def _pause(self, verdict: Verdict, attempt: int, repeatable: bool) -> float | None:
        asked = verdict.retry_after
        pause = self._policy.pause(
            verdict.fate, attempt=attempt, repeatable=repeatable, jitter=self._jitter(), retry_after=asked
        )
        if verdict.slows_everyone:
            self._pacer.hold(min(asked, self._policy.retry_after_cap) if asked is not None else pause or 0.0)
        return pause

    def _back_off(self, pause: float, attempt: int, request: Request, verdict: Verdict) -> None:
        log.warning(
            "a request is sent again",
            extra={
                "vendor": self.name,
                "method": request.method,
                "status": verdict.status,
                "vendor_code": verdict.vendor_code,
                "attempt": attempt,
                "seconds": round(pause, 3),
            },
        )
        self._sleep(pause)
        self.traffic.add(waited_seconds=pause, backed_off_seconds=pause)


@functools.cache
def _trust() -> ssl.SSLContext:
    """Whom to trust, read once: the bundle of authorities takes a tenth of a second, and drains connect every time."""
    return httpx.create_ssl_context()


def _limits(connections: int) -> httpx.Limits:
    return httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEPALIVE_SECONDS
    )


def _checked(name: str, base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        sound = sound and parts.username is None
    except ValueError:
        sound = False
    if not sound:
        raise SetupError("MB-SETTING", f"the base URL of {name} must look like https://host/path, without credentials")
    return base_url.rstrip("/")


def _request_of(error: httpx.HTTPError) -> httpx.Request | None:
    try:
        return error.request
    except RuntimeError:
        return None
