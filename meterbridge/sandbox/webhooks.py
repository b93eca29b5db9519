"""Events leave the sandbox: both vendors' webhooks, at least once and in no order, or lost, as the switches say.

An answer other than 2xx brings the event again after 2 min, 6 min, 30 min, 1 h, 5 h, 1 day and 2 days of the
sandbox's clock (Chargebee's steps; m3ter's are not published, so it gets the same). Requests leave from threads of
their own, for the sandbox itself must go on answering meanwhile; they go to this machine only.
"""

from __future__ import annotations

import queue
import random
import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from meterbridge.sandbox import exact_json
from meterbridge.sandbox.m3ter.notifications import recipients
from meterbridge.sandbox.table import Row

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

RETRY_SECONDS = (120, 360, 1_800, 3_600, 18_000, 86_400, 172_800)
THREADS = 4
_TIMEOUT = httpx.Timeout(20, connect=10)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request to one endpoint; `tries` have failed so far."""

    url: str
    body: bytes
    auth: tuple[str, str] | None
    headers: tuple[tuple[str, str], ...] = ()
    tries: int = 0


class Webhooks:
    """Listens to both vendors' events and sends them; `counts` tells what became of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._under_way = 0
        self._threads: list[threading.Thread] = []
        self.counts: Counter[str] = Counter()
        world.chargebee.listeners.append(self._chargebee_event)
        world.m3ter.listeners.append(self._m3ter_event)

    def _chargebee_event(self, event: Row) -> None:
        for endpoint in self._world.chargebee.webhook_endpoints.rows():
            wanted = endpoint.get("enabled_events")
            if endpoint["disabled"] or (wanted is not None and event["event_type"] not in wanted):
                continue
            user = endpoint.get("basic_auth_username")
            auth = None if user is None else (user, endpoint.get("basic_auth_password", ""))
            self._dispatch(event, Delivery(endpoint["url"], exact_json.dumps(event), auth))

    def _m3ter_event(self, event: Row) -> None:
        for webhook in recipients(self._world.m3ter, event):
            headers = (("x-api-key", webhook["credentials"]["apiKey"]), ("content-type", "application/json"))
            self._dispatch(event, Delivery(webhook["url"], exact_json.dumps(event), None, headers))

    def _dispatch(self, event: Row, delivery: Delivery) -> None:
        switches, chance = self._world.switches, random.Random(f"{self._world.seed} {event['id']}")  # noqa: S311
        if chance.random() * 100 < switches.webhook_loss_percent:
            self.counts["lost"] += 1
            return
        copies = 2 if chance.random() * 100 < switches.webhook_duplicate_percent else 1
        self.counts["duplicated"] += copies - 1
        for _ in range(copies):
            delay = chance.randint(0, switches.webhook_jitter_seconds)
            if delay:
                self._world.schedule(self._world.clock.now() + delay, lambda: self._begin(delivery))
            else:
                self._begin(delivery)

    def _begin(self, delivery: Delivery) -> None:
        with self._changed:
            self._under_way += 1
            if len(self._threads) < THREADS:
                self._threads.append(threading.Thread(target=self._send, name="webhooks", daemon=True))
                self._threads[-1].start()
        self._queue.put(delivery)

    def _send(self) -> None:
        with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
            while True:
                delivery = self._queue.get()
                status = _post(client, delivery)
                with self._world.lock:
                    self._conclude(delivery, status)
                with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()

    def _conclude(self, delivery: Delivery, status: int) -> None:
        if 200 <= status < 300:
            self.counts["delivered"] += 1
        elif delivery.tries < len(RETRY_SECONDS):
            self.counts["tried again"] += 1
            again = replace(delivery, tries=delivery.tries + 1)
            self._world.schedule(self._world.clock.now() + RETRY_SECONDS[delivery.tries], lambda: self._begin(again))
        else:
            self.counts["failed"] += 1

    def wait(self, seconds: float) -> bool:
        """True if everything that was due has been sent, within so many real seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._under_way == 0, seconds)

    def as_json(self) -> dict[str, Any]:
        return {"under_way": self._under_way, **self.counts}


def _post(client: httpx.Client, delivery: Delivery) -> int:
    """The answer's status, 0 without an answer or for a URL that is not on this machine."""
    if urlsplit(delivery.url).hostname not in _LOOPBACK:
        return 0
    try:
        headers = {"content-type": "application/json", **dict(delivery.headers)}
        return client.post(
            delivery.url, content=delivery.body, auth=delivery.auth or httpx.USE_CLIENT_DEFAULT, headers=headers
        ).status_code
    except httpx.HTTPError:
        return 0
