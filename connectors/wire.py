"""What travels: a request that can be stored and sent exactly again, its answer, the counters."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn, Protocol
from urllib.parse import quote

from meterbridge.errors import BrokenInvariant, RetriableError

READS = frozenset({"GET", "HEAD"})


class Pacer(Protocol):
    """Decides when a request may leave; shared by all threads that talk to one vendor."""

    def wait(self) -> None:
        """Block until one request may leave."""

    def hold(self, seconds: float) -> None:
        """Let nobody leave for so many seconds: the vendor asked for it."""


def path(*segments: str) -> str:
    """Join path segments, each percent-encoded whole: ids hold spaces, slashes and any letter.

    >>> path("customers", "Ölmühle Süd/2+")
    '/customers/%C3%96lm%C3%BChle%20S%C3%BCd%2F2%2B'
    """
    for segment in segments:
        # An empty id would turn one record's address into its whole list; dots would climb.
        if segment in ("", ".", ".."):
            raise BrokenInvariant("MB-INVARIANT", f"no address can be made of the id {segment!r} in {segments}")
    return "".join("/" + quote(segment, safe="") for segment in segments)


@dataclass(frozen=True, slots=True)
class Request:
    """Everything needed to send, and to send exactly again; never holds credentials.

    ``path`` is relative to the vendor's base URL, starts with ``/``, is percent-encoded
    and includes the query string, if there is one.
    """

    method: str
    path: str
    body: str | None = None
    content_type: str | None = None

    @property
    def is_read(self) -> bool:
        """True if the vendor changes nothing on it."""
        return self.method in READS

    def label(self, vendor: str) -> str:
        """How messages name it; without the query, for filters can hold e-mail addresses."""
        return f"{vendor} {self.method} {self.path.partition('?')[0]}"

    def to_json(self) -> str:
        """The stored form: equal requests give equal text."""
        parts = {"method": self.method, "path": self.path, "body": self.body, "content_type": self.content_type}
        return json.dumps(parts, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Answer:
    """A vendor's success.

    ``replayed``: served from the vendor's idempotency store. ``date``: the vendor's
    ``Date`` header, aware UTC, whole seconds. ``source``: what was asked of whom, for messages.
    """

    status: int
    body: bytes
    replayed: bool = False
    date: datetime | None = None
    source: str = ""

    def json(self) -> Any:
        """The body, decimals as float. Raises RetriableError MB-ANSWER when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise self._unreadable() from None

    def json_exact(self) -> Any:
        """The body with every decimal as the vendor's own text, integers as int; for money.

        Raises RetriableError MB-ANSWER when it is not JSON, or holds NaN or Infinity.
        """
        try:
            return json.loads(self.body, parse_float=str, parse_constant=_no_number)
        except ValueError:
            raise self._unreadable() from None

    def _unreadable(self) -> RetriableError:
        # Without the parser's own error as cause: that keeps the whole body.
        return unreadable(f"{self.source or 'a vendor'}: the answer is not JSON")


def unreadable(what: str) -> RetriableError:
    """The error for an answer that cannot be read."""
    return RetriableError("MB-ANSWER", what)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


@dataclass(slots=True)
class Traffic:
    """What a transport did so far; may be read while threads are counting.

    ``requests`` counts tries, not tokens fetched; ``throttled`` answers of 429;
    ``waited_seconds`` back-off and pacing, summed over threads, and ``backed_off_seconds``
    the first of the two alone; ``sent_bytes`` bodies.
    """

    requests: int = 0
    throttled: int = 0
    waited_seconds: float = 0.0
    backed_off_seconds: float = 0.0
    sent_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(
        self,
        *,
        requests: int = 0,
        throttled: int = 0,
        waited_seconds: float = 0.0,
        backed_off_seconds: float = 0.0,
        sent_bytes: int = 0,
    ) -> None:
        """Count, from any thread."""
        with self._lock:
            self.requests += requests
            self.throttled += throttled
            self.waited_seconds += waited_seconds
            self.backed_off_seconds += backed_off_seconds
            self.sent_bytes += sent_bytes
