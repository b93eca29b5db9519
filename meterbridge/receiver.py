"""The webhook endpoint, a bare ASGI callable: verify, store in the inbox, answer; nothing else.

    POST /webhooks/chargebee            Basic auth
    POST /webhooks/m3ter/<secret path>  key in a header
    GET  /health                        is the ledger there, how much waits

A 2xx means: the event is in the ledger, durably. Requests that come together share
one transaction, so a slow disk costs a commit per moment and not one per event.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from connectors import hints
from connectors.chargebee import webhooks as chargebee
from connectors.m3ter import webhooks as m3ter
from meterbridge.errors import Exhausted, MeterbridgeError, RecordRefused, RetriableError, SetupError
from meterbridge.ledger import inbox, malformed
from meterbridge.ledger.ledger import Ledger
from meterbridge.settings import Settings

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CHARGEBEE_PATH = "/webhooks/chargebee"
M3TER_PATH = "/webhooks/m3ter/"
EVENTS_PER_COMMIT = 1_000
BODY_SECONDS = 20.0
"""A body must have come by then, however slowly its sender sends."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer without a body worth reading; ``more`` headers beside the usual ones."""

    status: int
    body: dict[str, Any]
    more: tuple[tuple[bytes, bytes], ...] = ()


class Mailbox:
    """Puts events into the ledger, those that come together in one transaction."""

    def __init__(self, ledger: Ledger, arrived: Callable[[], None]) -> None:
        self._ledger = ledger
        self._arrived = arrived
        self._waiting: list[tuple[inbox.Event, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "mailbox")

    async def keep(self, event: inbox.Event) -> None:
        """Return when the event is durable.

        Raises:
            RetriableError: The ledger cannot be written now.
        """
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, kept))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await kept

    async def set_aside(self, body: malformed.Malformed) -> None:
        """Keep the outline of a body that is no event."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store_malformed, body)

    async def backlog(self) -> inbox.Backlog:
        """What waits; raises RetriableError when the ledger is away."""
        return await asyncio.get_running_loop().run_in_executor(None, self._read_backlog)

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:EVENTS_PER_COMMIT], self._waiting[EVENTS_PER_COMMIT:]
            outcomes = await loop.run_in_executor(self._thread, self._store_each, [event for event, _ in batch])
            for (_, kept), failure in zip(batch, outcomes, strict=True):
                if kept.done():
                    continue
                if failure is None:
                    kept.set_result(None)
                else:
                    kept.set_exception(failure)
            if None in outcomes:
                self._arrived()

    def _store_each(self, events: Sequence[inbox.Event]) -> list[Exception | None]:
        """What went wrong with each event, None where it is stored: one that cannot be stored keeps none from it."""
        try:
            self._store(events)
        except (RetriableError, Exhausted, SetupError) as failure:  # the ledger's trouble, the same for each
            return [failure] * len(events)
        except Exception as failure:  # noqa: BLE001 - each sender must get an answer, whatever went wrong
            if len(events) == 1:
                return [failure]
            return [outcome for event in events for outcome in self._store_each([event])]
        return [None] * len(events)

    def _store(self, events: Sequence[inbox.Event]) -> None:
        with self._ledger.write() as tx:
            inbox.put_all(tx, events)
            tx.commit()

    def _store_malformed(self, body: malformed.Malformed) -> None:
        with self._ledger.write() as tx:
            malformed.put(tx, body)
            tx.commit()

    def _read_backlog(self) -> inbox.Backlog:
        with self._ledger.read() as rx:
            return inbox.backlog(rx)


class Receiver:
    """The ASGI application.

    Args:
        settings: User, password, secret path and key; a vendor whose secret is not set gets 404.
        ledger: Where events go; stays open, the caller closes it.
        arrived: Called, in the event loop, after events were stored.
    """

    def __init__(self, settings: Settings, ledger: Ledger, arrived: Callable[[], None] = lambda: None) -> None:
        self._user = settings.webhook_user
        self._password = settings.webhook_password.get_secret_value()
        self._secret_path = settings.webhook_m3ter_path.get_secret_value()
        self._key = settings.webhook_m3ter_key.get_secret_value()
        self._mailbox = Mailbox(ledger, arrived)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's start and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await _send(send, await self._answer(scope, receive))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                self._mailbox.close()
                return

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive) -> Reply:
        path, method = str(scope["path"]), str(scope["method"])
        if path == "/health":
            return await self._health() if method == "GET" else _error(405, "GET only")
        source = self._source(path)
        if source is None:
            return _error(404, "there is nothing here")
        if method != "POST":
            return _error(405, "POST only")
        if not self._authorized(source, path, scope["headers"]):
            more = ((b"www-authenticate", b'Basic realm="meterbridge"'),) if source == "chargebee" else ()
            return Reply(401, {"message": "wrong credentials"}, more)
        try:
            body = await asyncio.wait_for(_read(scope["headers"], receive), BODY_SECONDS)
        except TimeoutError:
            return Reply(408, {"message": "the body did not come in time"}, ((b"connection", b"close"),))
        if body is None:
            return _error(413, f"a webhook has at most {hints.LARGEST_BODY} bytes")
        return await self._take(source, body)

    def _source(self, path: str) -> str | None:
        if path == CHARGEBEE_PATH and self._password:
            return "chargebee"
        return "m3ter" if path.startswith(M3TER_PATH) and self._secret_path else None

    def _authorized(self, source: str, path: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        if source == "chargebee":
            return chargebee.authorized(dict(headers).get(b"authorization"), self._user, self._password)
        return m3ter.authorized(path.removeprefix(M3TER_PATH), headers, self._secret_path, self._key)

    async def _take(self, source: str, body: bytes) -> Reply:
        try:
            hint = _parsed(source, body)
            await self._mailbox.keep(
                inbox.Event(
                    source,
                    hint.event_id,
                    hint.event_type,
                    hint.resource,
                    hint.resource_id,
                    hint.occurred_at,
                    hint.resource_version,
                )
            )
        except RecordRefused as refusal:
            await self._set_aside(source, body, refusal)
            return _error(400, refusal.message)
        except MeterbridgeError as failure:
            logger.error("an event could not be stored", extra={"source": source, "code": failure.code})
            return Reply(503, {"message": "the ledger cannot be written now"}, ((b"retry-after", b"30"),))
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is this event's, and the next must not meet it
            unfit = hints.unreadable(f"it cannot be kept ({type(failure).__name__})")
            await self._set_aside(source, body, unfit)
            return _error(400, unfit.message)
        logger.debug("event stored", extra={"source": source, "event_type": hint.event_type, "event": hint.event_id})
        return Reply(200, {"stored": hint.event_id})

    async def _set_aside(self, source: str, body: bytes, refusal: RecordRefused) -> None:
        kept = malformed.Malformed(source, hints.digest(body), refusal.message, hints.outline(body), len(body))
        logger.warning("a webhook's body is no event", extra={"source": source, "reason": refusal.message})
        try:
            await self._mailbox.set_aside(kept)
        except MeterbridgeError as failure:
            logger.error("a malformed body could not be kept", extra={"source": source, "code": failure.code})

    async def _health(self) -> Reply:
        try:
            found = await self._mailbox.backlog()
        except MeterbridgeError:
            return Reply(503, {"status": "the ledger cannot be read"})
        return Reply(200, {"status": "ok", "waiting": found.waiting, "oldest": found.oldest})


def _parsed(source: str, body: bytes) -> hints.Hint:
    return chargebee.parse(body) if source == "chargebee" else m3ter.parse(body)


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"message": message})


async def _read(headers: Sequence[tuple[bytes, bytes]], receive: Receive) -> bytes | None:
    """The body; None when it is longer than any event (the rest is not read), or its sender is gone."""
    announced = dict(headers).get(b"content-length", b"0")
    if not announced.isdigit() or int(announced) > hints.LARGEST_BODY:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > hints.LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _send(send: Send, reply: Reply) -> None:
    body = json.dumps(reply.body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *reply.more]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
