"""What an answer, or its absence, means: vendors' statuses and bodies become our fates and errors.

Nothing here sends or waits. The words that reach an error are the vendor's own, with
credentials and e-mail addresses taken out.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from connectors.retry import Fate
from connectors.wire import Answer, Request
from meterbridge.errors import (
    MeterbridgeError,
    OutcomeUnknown,
    RecordRefused,
    RetriableError,
    SetupError,
    Throttled,
)
from meterbridge.redaction import without_secrets

# Chargebee's codes for "come back later, nothing was done". db_connection_failure is not among
# them: a connection can fail while a change is being committed.
NOT_EXECUTED_503 = frozenset({"internal_temporary_error", "site_not_ready", "site_read_only_mode"})
# 429s that concern one record or a third party; slowing every other request down would not help.
LOCAL_429 = frozenset({"lock_timeout", "third_party_api_request_limit_exceeded"})
IN_PROGRESS = 409
LOCKED = "lock_timeout"
# Raised by httpx before a byte of the request is on its way.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
UNKNOWN_HOST = (
    "Is CHARGEBEE_SITE right, or CHARGEBEE_BASE_URL, M3TER_BASE_URL, M3TER_INGEST_URL where it is set? "
    "If it is, run again when this machine can look names up."
)
_WORDS_LIMIT = 300
_EMAIL = re.compile(r"[^\s@<>\"'(),;:=]+@[^\s@<>\"'(),;:=]+\.[^\s@<>\"'(),;:=]+")
_TOKEN = re.compile(r"(?i)\b(?:bearer|basic)\s+\S+|\beyJ[\w-]+\.[\w.-]+|\b(?:live|test)_[A-Za-z0-9]{12,}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One try, judged. ``retry_after`` is in seconds; ``words`` are fit to be shown."""

    fate: Fate
    words: str
    status: int | None = None
    vendor_code: str | None = None
    replayed: bool = False
    garbled: bool = False
    retry_after: float | None = None
    answer: Answer | None = None
    cause: Exception | None = None
    remedy: str | None = None

    @property
    def slows_everyone(self) -> bool:
        """True if the vendor wants all our requests to wait, not this one alone."""
        return self.vendor_code not in LOCAL_429 and (self.status == 429 or self.retry_after is not None)

    def in_doubt(self) -> Verdict:
        """The same answer to a write whose first try, under the same key, may still be at work.

        A duplicate that comes meanwhile is answered by 409 or, as two writes to one resource are, by a lock's 429:
        that says nothing about the write. A replayed answer is the first try's own.
        """
        overlaps = self.fate is Fate.REFUSED and self.status == IN_PROGRESS
        locked = self.fate is Fate.NOT_EXECUTED and self.vendor_code == LOCKED
        return replace(self, fate=Fate.AT_WORK) if (overlaps or locked) and not self.replayed else self


def judge_response(
    response: httpx.Response, request: Request, *, vendor: str, firewall: bool, now: datetime
) -> Verdict:
    """Judge what came back.

    Args:
        response: Read to its end.
        request: What we sent.
        vendor: Its name, for people.
        firewall: Whether a 403 without JSON is the vendor's firewall disliking a text of ours.
        now: Aware; used for a ``Retry-After`` date when the answer has no date of its own.
    """
    date = http_date(response.headers.get("date"))
    replayed = response.headers.get("chargebee-idempotency-replayed", "").strip().lower() == "true"
    if response.is_success:
        answer = Answer(response.status_code, response.content, replayed, date, request.label(vendor))
        return _judge_success(answer, request)
    body = _object(response.content)
    code = body.get("api_error_code") if body else None
    vendor_code = code if isinstance(code, str) else None
    fate = _fate(response.status_code, vendor_code)
    if firewall and response.status_code == 403 and body is None and not request.is_read:
        fate = Fate.REFUSED
    return Verdict(
        fate,
        _words(response, body, vendor_code),
        status=response.status_code,
        vendor_code=vendor_code,
        replayed=replayed,
        retry_after=_retry_after(response.headers.get("retry-after"), date or now),
    )


def judge_silence(error: httpx.HTTPError, *, ours: bool) -> Verdict:
    """Judge a try that brought no answer.

    Args:
        error: What httpx raised.
        ours: False when it was the fetching of a token that failed: ours did not leave then.
    """
    kind = type(error).__name__
    host = _unknown_host(error)
    if host is not None:
        return Verdict(Fate.NOT_SENT, f"the host {host} is not known", cause=error, remedy=UNKNOWN_HOST)
    if not ours:
        return Verdict(Fate.NOT_SENT, f"no token could be fetched ({kind})", cause=error)
    if isinstance(error, _NOT_SENT):
        return Verdict(Fate.NOT_SENT, f"the vendor could not be reached ({kind}: {redact(str(error))})", cause=error)
    return Verdict(Fate.LOST, f"no answer came ({kind})", cause=error)


def _unknown_host(error: httpx.HTTPError) -> str | None:
    """The host's name, if there is no such name; None for other trouble, also for name servers that do not answer."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, socket.gaierror):
        found = found.__cause__ or found.__context__
    if found is None or found.errno not in _NO_SUCH_NAME:
        return None
    try:
        return error.request.url.host
    except RuntimeError:
        return "of the vendor"


def judge_login(error: MeterbridgeError) -> Verdict:
    """Judge a try that ended while its credentials were prepared."""
    if isinstance(error, RetriableError):
        wait = error.retry_after if isinstance(error, Throttled) else None
        return Verdict(Fate.NOT_SENT, error.message, retry_after=wait, cause=error)
    return Verdict(Fate.STOPPED, error.message, cause=error)


def failure(verdict: Verdict, vendor: str, request: Request, *, lost: bool) -> MeterbridgeError:
    """The error that ends a send.

    Args:
        verdict: The last try.
        vendor: Its name, for people.
        request: What we wanted.
        lost: Whether any try of this write may have landed. Then even a refusal of a later try
            proves nothing (a stale version may be our own doing), unless the vendor says that
            it replays its first answer.
    """
    message = f"{request.label(vendor)}: {verdict.words}"
    if verdict.fate is Fate.AT_WORK or (lost and not (verdict.fate is Fate.REFUSED and verdict.replayed)):
        return OutcomeUnknown("MB-OUTCOME-UNKNOWN", message, status=verdict.status)
    if isinstance(verdict.cause, MeterbridgeError):
        return verdict.cause
    match verdict.fate:
        case Fate.REFUSED:
            return RecordRefused(
                "MB-REFUSED",
                message,
                status=verdict.status,
                vendor_code=verdict.vendor_code,
                replayed=verdict.replayed,
            )
        case Fate.STOPPED:
            redirected = verdict.status is not None and verdict.status < 400
            return SetupError("MB-SETTING" if redirected else "MB-CREDENTIALS", message)
        case _ if verdict.status == 429:
            return Throttled("MB-THROTTLED", message, retry_after=verdict.retry_after)
        case _:
            code = "MB-ANSWER" if verdict.garbled else "MB-UNAVAILABLE"
            return RetriableError(code, message, remedy=verdict.remedy)


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Take credentials and e-mail addresses out of a text, and shorten it to one line."""
    text = without_secrets(text, secrets)  # before it is shortened: half a secret is no longer known as one
    text = _EMAIL.sub("[e-mail]", _TOKEN.sub("[secret]", text))
    line = " ".join(text.split())
    return line if len(line) <= _WORDS_LIMIT else line[:_WORDS_LIMIT] + "…"


def http_date(text: str | None) -> datetime | None:
    """An HTTP date as aware UTC, or None when it is absent or no date."""
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _judge_success(answer: Answer, request: Request) -> Verdict:
    if answer.status == 204 or _is_json(answer.body, whole=not request.is_read):
        return Verdict(Fate.ANSWERED, "", status=answer.status, answer=answer)
    return Verdict(Fate.LOST, f"{answer.status} with a body that is not JSON", status=answer.status, garbled=True)


def _is_json(body: bytes, *, whole: bool) -> bool:
    """Pages are parsed by whoever reads them, and only looked at here; a write's answer is parsed now."""
    if not whole:
        text = body.strip(b" \t\r\n")
        return text[:1] + text[-1:] in (b"{}", b"[]")
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _fate(status: int, vendor_code: str | None) -> Fate:
    match status:
        case 429:
            return Fate.NOT_EXECUTED
        case 503 if vendor_code in NOT_EXECUTED_503:
            return Fate.NOT_EXECUTED
        case 408 | 500 | 502 | 503 | 504:
            return Fate.LOST
        case 401 | 403:
            return Fate.STOPPED
        case 404 if vendor_code == "site_not_found":
            return Fate.STOPPED
        case _ if status < 400:
            return Fate.STOPPED
        case _ if status < 500:
            return Fate.REFUSED
        case _:
            return Fate.LOST


def _words(response: httpx.Response, body: dict[str, Any] | None, vendor_code: str | None) -> str:
    status = response.status_code
    if status < 400:
        return f"{status}, a redirect: the base URL is not the vendor's"
    if body is None:
        return f"{status} without a JSON body (a firewall, proxy or gateway answered)"
    text = body.get("message") or body.get("error_msg") or "no message"
    param = body.get("param")
    named = f"{status} {vendor_code}" if vendor_code else str(status)
    where = f" (param {param})" if isinstance(param, str) else ""
    return redact(f"{named}: {text}{where}", _credentials_of(response))


def _credentials_of(response: httpx.Response) -> tuple[str, ...]:
    """What the request authenticated with, in every form in which a vendor could echo it."""
    try:
        sent = response.request.headers.get("authorization", "")
    except RuntimeError:
        return ()
    scheme, _, credentials = sent.partition(" ")
    found = [credentials]
    if scheme.lower() == "basic":
        try:
            found += base64.b64decode(credentials).decode().split(":", 1)
        except (binascii.Error, UnicodeDecodeError):
            return (credentials,)
    return tuple(text for text in found if len(text) >= 4)


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _retry_after(text: str | None, now: datetime) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        date = http_date(text)
        return None if date is None else max(0.0, (date - now).total_seconds())
    return max(0.0, seconds) if seconds < float("inf") else None
