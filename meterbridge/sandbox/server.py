"""The sandbox as a server: in a thread of this process, or alone until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any

from meterbridge.sandbox import credentials, scenarios
from meterbridge.sandbox.gate import Gate
from meterbridge.sandbox.protocol import Connection
from meterbridge.sandbox.world import World

_HOST = "127.0.0.1"


class Sandbox:
    """Both vendors on one loopback port; as a context manager it runs inside the block."""

    def __init__(self, world: World, port: int = 0, *, lenient: bool = False, latency_ms: int = 0) -> None:
        if lenient:
            world.switches.lenient = True
        self.world = world
        self.port = port
        self._gate = Gate(world, latency_ms=latency_ms)
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.port}"

    @property
    def chargebee_url(self) -> str:
        return f"{self.url}/api/v2"

    @property
    def m3ter_url(self) -> str:
        return self.url

    def start(self) -> None:
        """Returns when the port answers.

        Raises:
            OSError: The port is taken.
        """
        self._ready.clear()
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop = self._thread = None

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        clock = self.world.clock
        try:
            self._gate.attach(loop)
            server = loop.run_until_complete(
                loop.create_server(lambda: Connection(self._gate.serve, clock.http_date), _HOST, self.port, backlog=512)
            )
        except OSError as failure:
            self._failure = failure
            self._ready.set()
            loop.close()
            return
        self.port = server.sockets[0].getsockname()[1]
        self.world.facts["url"] = self.url
        self._loop = loop
        self._ready.set()
        try:
            loop.run_forever()
        finally:
            server.close()
            loop.close()

    def description(self) -> dict[str, str]:
        """URLs and credentials, by the names of the settings that take them."""
        return {
            "CHARGEBEE_SITE": credentials.CHARGEBEE_SITE,
            "CHARGEBEE_API_KEY": credentials.CHARGEBEE_API_KEY,
            "CHARGEBEE_BASE_URL": self.chargebee_url,
            "M3TER_ORG_ID": credentials.M3TER_ORGANIZATION_ID,
            "M3TER_API_KEY": credentials.M3TER_API_KEY,
            "M3TER_API_SECRET": credentials.M3TER_API_SECRET,
            "M3TER_BASE_URL": self.m3ter_url,
            "M3TER_INGEST_URL": self.m3ter_url,
            "METERBRIDGE_CATALOG": str(scenarios.catalog_path()),
        }


def run(
    *,
    port: int = 0,
    scenario: str = "demo",
    seed: int = 7,
    subscriptions: int | None = None,
    lenient: bool = False,
    latency_ms: int = 0,
    chargebee_per_minute: int = 0,
    switches: Mapping[str, Any] = MappingProxyType({}),
    faults: Sequence[dict[str, Any]] = (),
) -> None:
    """Serve until SIGTERM or SIGINT; one line of JSON on stdout says when and where.

    Raises:
        ValueError: A switch or fault is none.
    """
    world = scenarios.build(scenario, seed=seed, subscriptions=subscriptions)
    world.switches.chargebee_per_minute = chargebee_per_minute
    world.switches.update(dict(switches))
    world.faults.add(list(faults))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    with Sandbox(world, port, lenient=lenient, latency_ms=latency_ms) as sandbox:
        sys.stdout.write(json.dumps({"url": sandbox.url} | sandbox.description()) + "\n")
        sys.stdout.flush()
        stopped.wait()
