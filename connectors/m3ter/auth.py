"""m3ter's token: fetched once, kept until shortly before it expires, renewed once when refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator

import httpx

from connectors.transport import redact
from meterbridge.errors import RetriableError, SetupError, Throttled

# m3ter refuses an expired token with 403; answers and clocks may be late, so it is renewed well before.
RENEW_BEFORE_SECONDS = 300.0
_TOKEN_PATH = "/oauth/token"  # noqa: S105 - an address


class TokenAuth(httpx.Auth):
    """Client credentials for a bearer token, shared by all threads of a client.

    Threads that need a token at the same time wait for one fetch. A 401 or 403 renews the
    token once and repeats the request once: it was refused, so nothing was executed. What
    m3ter answers then stands.

    Args:
        base_url: Of the API; the token is fetched from ``{base_url}/oauth/token``.
        api_key: Access key id of a service user.
        api_secret: Its secret.
        monotonic: Clock in seconds that never goes back.

    Raises, out of the client's ``send``:
        SetupError: MB-CREDENTIALS, m3ter gives no token for these credentials.
        RetriableError: MB-UNAVAILABLE or MB-THROTTLED, no token for now; the request itself did not leave.
    """

    def __init__(
        self, base_url: str, api_key: str, api_secret: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = base_url.rstrip("/") + _TOKEN_PATH
        self._basic = httpx.BasicAuth(api_key, api_secret)
        self._secrets = (api_secret, api_key)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._token: str | None = None
        self._renew_at = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """httpx's protocol: yield requests, receive their responses."""
        token = yield from self._current(refused=None)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code not in (401, 403):
            return
        # Read first: that gives the connection back, which the token's own request may need.
        response.read()
        token = yield from self._current(refused=token)
        request.headers["Authorization"] = f"Bearer {token}"
        yield request

    def _current(self, *, refused: str | None) -> Generator[httpx.Request, httpx.Response, str]:
        """The token in force, fetched under the lock when there is none, it grows old, or it is the refused one."""
        with self._lock:
            if self._token is not None and self._token != refused and self._monotonic() < self._renew_at:
                return self._token
            asked_at = self._monotonic()
            response = yield self._token_request()
            response.read()
            token, lifetime = self._parse(response)
            self._token = token
            # A lifetime shorter than the margin must not mean a fetch per request.
            self._renew_at = asked_at + max(lifetime - RENEW_BEFORE_SECONDS, lifetime / 2)
            return token

    def _token_request(self) -> httpx.Request:
        request = httpx.Request(
            "POST",
            self._url,
            json={"grant_type": "client_credentials"},
            headers={"Accept": "application/json"},
        )
        return next(self._basic.auth_flow(request))

    def _parse(self, response: httpx.Response) -> tuple[str, float]:
        status = response.status_code
        if status == 429:
            raise Throttled("MB-THROTTLED", "m3ter POST /oauth/token: 429", retry_after=_seconds(response))
        if 400 <= status < 500:
            words = redact(_message(response), self._secrets)
            raise SetupError("MB-CREDENTIALS", f"m3ter POST /oauth/token: {status}: {words}")
        try:
            body = json.loads(response.content)
            token, lifetime = body["access_token"], float(body["expires_in"])
        except (ValueError, KeyError, TypeError):
            # No cause: its text could quote the token.
            raise RetriableError("MB-UNAVAILABLE", f"m3ter POST /oauth/token: {status} without a token") from None
        if not (response.is_success and isinstance(token, str) and token.isascii() and token.isprintable()):
            raise RetriableError("MB-UNAVAILABLE", f"m3ter POST /oauth/token: {status} without a token")
        return token, lifetime


def _message(response: httpx.Response) -> str:
    try:
        body = json.loads(response.content)
    except ValueError:
        return "no message"
    text = body.get("message") if isinstance(body, dict) else None
    return text if isinstance(text, str) else "no message"


def _seconds(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None
