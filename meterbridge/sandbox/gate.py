"""Between the socket and the vendors: the log, harm on purpose, latency, overlapping writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from meterbridge.sandbox import control, exact_json
from meterbridge.sandbox.chargebee import entry as chargebee
from meterbridge.sandbox.chargebee.call import refusal
from meterbridge.sandbox.chargebee.state import StoredAnswer
from meterbridge.sandbox.faults import Fault, without
from meterbridge.sandbox.m3ter import entry as m3ter
from meterbridge.sandbox.m3ter import uploads
from meterbridge.sandbox.protocol import Connection
from meterbridge.sandbox.wire import HttpReply, HttpRequest, Refusal
from meterbridge.sandbox.world import LoggedRequest, World

_LOG = logging.getLogger(__name__)
_HTML = b"<html><head><title>503 Service Temporarily Unavailable</title></head></html>"
_GLANCE = 0.05  # seconds between two looks whether a held call may go on
_UNEXECUTED = frozenset({"drop_before", "status_400", "status_429", "status_500", "status_503"})


@dataclass(slots=True)
class _Turn:
    """One request on its way."""

    request: HttpRequest
    vendor: str
    logged: LoggedRequest
    fault: Fault | None
    connection: Connection

    @property
    def harm(self) -> str:
        return self.fault.harm if self.fault else ""


class Gate:
    """Serves every request of a world; runs in one event loop, holds the world's lock while it works."""

    def __init__(self, world: World, *, latency_ms: int = 0) -> None:
        self._world = world
        self._latency = latency_ms / 1000
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def serve(self, request: HttpRequest, connection: Connection) -> None:
        with self._world.lock:
            self._world.settle()
            if request.path.startswith(control.PREFIX):
                connection.reply(control.answer(self._world, request))
                return
            vendor = "chargebee" if request.path.startswith(chargebee.PREFIX) else "m3ter"
            key = chargebee.idempotency_key(request)
            logged = self._world.record(vendor, request.method, request.path, key)
            fault = self._world.faults.strike(logged.n, vendor, request.method, request.path)
            logged.harm = fault.harm if fault else None
            self._begin(_Turn(request, vendor, logged, fault, connection))

    def _begin(self, turn: _Turn) -> None:
        if turn.harm in _UNEXECUTED or (turn.harm == "html_503" and turn.fault and not turn.fault.committed):
            self._send(turn, _instead(turn))
            return
        try:
            _admit(self._world, turn)
        except Refusal as refused:
            self._send(turn, HttpReply(refused.status, exact_json.dumps(refused.body), extra=refused.extra))
            return
        wait = self._latency + (turn.fault.seconds if turn.fault and _is_held_back(turn) else 0)
        if wait:
            self._hold(turn)
            if turn.harm == "held":
                turn.connection.drop()
            self._wait(wait, turn)
        else:
            self._execute(turn, held=False)

    def _wait(self, seconds: float, turn: _Turn) -> None:
        """Execute after so many seconds; a call that is held, as soon as its harm is no longer in force."""
        held = turn.harm == "held"
        if seconds <= 0 or (held and not any(one is turn.fault for one in self._world.faults.active)):
            self._execute(turn, held=True)
            return
        pause = min(seconds, _GLANCE) if held else seconds
        self._later(pause, lambda: self._wait(seconds - pause, turn))

    def _execute(self, turn: _Turn, *, held: bool) -> None:
        with self._world.lock:
            if held:
                self._world.settle()
                self._release(turn)
            try:
                with self._lagging(turn):
                    reply = _answer(self._world, turn)
            except Exception:  # noqa: BLE001 - a fault of the sandbox must be seen, not hang the client
                _LOG.exception("the sandbox failed on a request", extra={"request": turn.logged.n})
                reply = HttpReply(500, exact_json.dumps({"message": "the sandbox itself failed; see its log"}))
        if turn.fault and turn.harm == "lose_field":
            body = without(exact_json.loads(reply.body), turn.fault.field, turn.fault.record)
            reply = replace(reply, body=exact_json.dumps(body))
        if turn.fault and turn.harm == "slow_after_commit":
            self._later(turn.fault.seconds, lambda: self._send(turn, reply))
        elif turn.harm in ("commit_then_drop", "held", "error_after_commit", "html_503"):
            self._send(turn, _instead(turn))
        else:
            self._send(turn, reply)

    def _send(self, turn: _Turn, reply: HttpReply | None) -> None:
        if reply is None:
            turn.connection.drop()
            return
        cut = turn.harm == "truncate"
        turn.logged.status = reply.status
        turn.connection.reply(reply, cut=cut)

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        assert self._loop is not None
        self._loop.call_later(seconds, work)

    def _hold(self, turn: _Turn) -> None:
        """While a write waits, a second one on its resource or with its key is refused."""
        if turn.vendor != "chargebee":
            return
        lock, key = chargebee.lock_name(turn.request), chargebee.idempotency_key(turn.request)
        if lock is not None:
            self._world.chargebee.locked.add(lock)
        if key is not None:
            self._world.chargebee.answers.setdefault(key, StoredAnswer("", 0))

    def _release(self, turn: _Turn) -> None:
        lock = chargebee.lock_name(turn.request)
        if turn.vendor == "chargebee" and lock is not None:
            self._world.chargebee.locked.discard(lock)

    @contextmanager
    def _lagging(self, turn: _Turn) -> Iterator[None]:
        switches = self._world.switches
        before = switches.list_lag_seconds
        if turn.fault and turn.harm == "stale_list":
            switches.list_lag_seconds = round(turn.fault.seconds)
        try:
            yield
        finally:
            switches.list_lag_seconds = before


def _is_held_back(turn: _Turn) -> bool:
    """True if it is executed later; m3ter, which knows no keys, and reads are at once."""
    keyed = (
        turn.vendor == "chargebee" and turn.request.method == "POST" and bool(chargebee.idempotency_key(turn.request))
    )
    return turn.harm == "slow" or (turn.harm == "held" and keyed)


def _is_signed(turn: _Turn) -> bool:
    """True if it goes to one of m3ter's signed URLs: no token, no limit."""
    return turn.request.path.startswith(uploads.PREFIX)


def _admit(world: World, turn: _Turn) -> None:
    if turn.vendor == "chargebee":
        chargebee.admit(world, turn.request)
    elif not _is_signed(turn):
        m3ter.admit(world, turn.request)


def _answer(world: World, turn: _Turn) -> HttpReply:
    if turn.vendor == "chargebee":
        return chargebee.answer(world, turn.request)
    return uploads.answer(world, turn.request) if _is_signed(turn) else m3ter.answer(world, turn.request)


def _instead(turn: _Turn) -> HttpReply | None:
    """What the client gets in place of the vendor's answer; None: the connection closes."""
    fault = turn.fault
    assert fault is not None
    match fault.harm:
        case "html_503":
            return HttpReply(503, _HTML, "text/html")
        case "status_400":
            return _refused(turn, 400, "operation_not_allowed")
        case "status_429":
            return _refused(turn, 429, "api_request_limit_exceeded", (("Retry-After", str(fault.retry_after)),))
        case "status_503":
            return _refused(turn, 503, "internal_temporary_error")
        case "status_500" | "error_after_commit":
            return _refused(turn, 500, "internal_error")
    return None


def _refused(turn: _Turn, status: int, code: str, extra: tuple[tuple[str, str], ...] = ()) -> HttpReply:
    words = {400: "Refused on purpose", 429: "Too many requests"}
    message = words.get(status, "Sorry, something went wrong")
    if turn.vendor == "m3ter":
        return HttpReply(status, exact_json.dumps({"message": message}), extra=extra)
    body = refusal(status, code, message, kind="operation_failed").body
    return HttpReply(status, exact_json.dumps(body), extra=extra)
