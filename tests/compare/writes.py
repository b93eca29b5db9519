"""What the bridge writes to the vendors, request by request, as it arrives there; and harm to what the dice choose."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

import httpx

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.gate import _UNEXECUTED as UNEXECUTED
from meterbridge.sandbox.protocol import Connection
from meterbridge.sandbox.wire import HttpRequest
from meterbridge.sandbox.world import LoggedRequest

READS = ("GET", "HEAD")
TOKEN = "/oauth/token"
KEY = "chargebee-idempotency-key"
REFERENCE = re.compile(r"\bmb:[0-9a-z][0-9a-z.:~-]*")
"""A charge is found again by it: ours to choose, like a key; how it is made may change between versions."""
OF_TODAY = re.compile(r'"customFields": \{"chargebee_site": "[^"]*"\}, ')
"""Today's code writes it, 0.1.0 did not, and it changes nothing else: the dice must not see it."""
KEPT_HEADERS = ("content-type", KEY)


@dataclass(frozen=True, slots=True)
class Write:
    """One request; ``body`` is JSON text, equal for equal bodies whatever the order of their parts."""

    method: str
    path: str
    body: str
    key: str | None

    @property
    def text(self) -> str:
        """All but the key."""
        return f"{self.method} {self.path} {self.body}"

    @property
    def subject(self) -> str:
        """Return what the dice go by: equal for both versions where they mean the same write."""
        return OF_TODAY.sub("", REFERENCE.sub("mb:…", self.text))

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Write | None:
        """None for a request that changes nothing; header names are in lower case."""
        if method in READS or target.startswith(TOKEN):
            return None
        key = headers.get(KEY)
        return cls(method, target, canonical(headers.get("content-type", ""), body), key)


def canonical(content_type: str, body: bytes) -> str:
    """A form or JSON as JSON text with sorted names; anything else as its hash."""
    if content_type.startswith("application/x-www-form-urlencoded"):
        value: Any = dict(sorted(parse_qsl(body.decode(), keep_blank_values=True)))
    else:
        try:
            value = json.loads(body or b"null", parse_float=str)
        except ValueError:
            value = hashlib.sha256(body).hexdigest()
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


class Chance:
    """Chooses writes by what they say, not by their turn: a request more or less changes nothing for the others.

    ``lasting``: a write that is chosen is so each time, or the other way round each time.
    """

    def __init__(self, dice: str, share: float, *, lasting: bool = False) -> None:
        self._dice, self._share, self._lasting = dice, share, lasting
        self._seen: Counter[str] = Counter()
        self._lock = Lock()

    def __call__(self, write: Write) -> bool:
        with self._lock:
            self._seen[write.subject] += 1
            nth = 0 if self._lasting else self._seen[write.subject]
        return random.Random(f"{self._dice} {nth} {write.subject}").random() < self._share


Chooses = Callable[[Write], bool]


@dataclass(frozen=True, slots=True)
class Harm:
    """A fault of the sandbox for the writes that are chosen, and faults in force from the first of them on."""

    fault: Mapping[str, Any]
    chooses: Chooses
    afterwards: Sequence[dict[str, Any]] = ()


class Tap:
    """Stands before a sandbox's gate: ``writes`` are what the bridge sent while it ran, in their order.

    ``earlier_keys`` are those of the writes that were forgotten.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.writes: list[Write] = []
        self.earlier_keys: set[str] = set()
        self._requests: list[tuple[HttpRequest, LoggedRequest]] = []
        self._world, self._gate = sandbox.world, sandbox._gate
        self._pass_on = self._gate.serve
        self._gate.serve = self._serve  # type: ignore[method-assign]
        self._running = False
        self._harm: Harm | None = None

    @contextmanager
    def running(self, harm: Harm | None) -> Iterator[None]:
        """Inside the block what comes is the bridge's; the writes that are chosen suffer the harm, if any."""
        self._running, self._harm = True, harm
        try:
            yield
        finally:
            self._running, self._harm = False, None
            self._world.faults.clear()

    def forget(self) -> None:
        """The writes so far have been seen; their keys are remembered."""
        self.earlier_keys.update(write.key for write in self.writes if write.key)
        self.writes = []

    def taken(self) -> list[dict[str, Any]]:
        """JSON: the writes since the last call that were executed, as they came but for what let them in."""
        taken, self._requests = self._requests, []
        return [
            {
                "method": one.method,
                "target": f"{one.path}?{one.query}" if one.query else one.path,
                "headers": {name: one.headers[name] for name in KEPT_HEADERS if name in one.headers},
                "body": one.body.decode(),
            }
            for one, logged in taken
            if logged.harm not in UNEXECUTED
        ]

    def _serve(self, request: HttpRequest, connection: Connection) -> None:
        target = f"{request.path}?{request.query}" if request.query else request.path
        write = Write.of(request.method, target, request.headers, request.body) if self._running else None
        if write is not None:
            self.writes.append(write)
            if self._harm is not None and self._harm.chooses(write):
                struck = {**self._harm.fault, "match": {"request": len(self._world.log) + 1}}
                self._world.faults.add([struck, *self._harm.afterwards])
        self._pass_on(request, connection)
        if write is not None:
            self._requests.append((request, self._world.log[-1]))


class Killed(BaseException):
    """What a kill looks like from inside: nothing of ours catches it."""


@contextmanager
def dying(chooses: Chooses, *, after: bool) -> Iterator[None]:
    """Inside the block the first write that is chosen raises, and all requests that follow: the process is gone."""
    original = httpx.HTTPTransport.handle_request
    gone = False

    def send(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal gone
        write = Write.of(request.method, request.url.raw_path.decode(), request.headers, request.read())
        if gone or (write is not None and chooses(write)):
            if after and not gone:
                original(self, request).read()
            gone = True
            raise Killed
        return original(self, request)

    httpx.HTTPTransport.handle_request = send  # type: ignore[method-assign]
    try:
        yield
    finally:
        httpx.HTTPTransport.handle_request = original  # type: ignore[method-assign]
