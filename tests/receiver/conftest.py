"""A receiver on a free port: in a thread of this process, or as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from meterbridge.cli.slow_senders import TimedProtocol
from meterbridge.ledger.ledger import Ledger
from meterbridge.receiver import Receiver
from meterbridge.settings import Settings, load_settings, stripped_environment

ROOT = Path(__file__).parents[2]
AUTH = ("hook", "s3cret word")
SECRETS = {
    "webhook_user": AUTH[0],
    "webhook_password": AUTH[1],
    "webhook_m3ter_path": "hidden-path",
    "webhook_m3ter_key": "m3ter-key",
}


def settings(home: Path, **more: Any) -> Settings:
    return load_settings({"home": home, "root": home, **SECRETS, **more})


@contextmanager
def receiving(ledger: Ledger, chosen: Settings, arrived: Callable[[], None] = lambda: None) -> Iterator[httpx.Client]:
    """A client of a receiver that runs inside the block."""
    app = Receiver(chosen, ledger, arrived)
    config = uvicorn.Config(app, http=TimedProtocol, port=0, log_level="error", lifespan="on", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=AUTH, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A fresh ledger in the test's folder."""
    opened = Ledger.open(None, home=tmp_path, connection="default")
    yield opened
    opened.close()


@pytest.fixture
def http(ledger: Ledger, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a running receiver, with Chargebee's credentials."""
    with receiving(ledger, settings(tmp_path)) as client:
        yield client


def told(number: int, subscription: str = "sub-1", event_type: str = "subscription_changed") -> dict[str, Any]:
    """An event as Chargebee posts it."""
    content = {
        "subscription": {"id": subscription, "resource_version": number},
        "customer": {"email": "ann@acme.example"},
    }
    return {"id": f"ev_{number}", "occurred_at": 1_769_907_000, "event_type": event_type, "content": content}


def serving(home: Path, *options: str, **more: str) -> tuple[subprocess.Popen[str], str]:
    """``meterbridge serve`` as a process of its own, and its URL."""
    names = {f"METERBRIDGE_{name.upper()}": value for name, value in SECRETS.items()}
    environment = {**stripped_environment(os.environ), **names, "METERBRIDGE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", "from meterbridge.cli.main import main; main()", "serve", "--port", "0", *options],
        cwd=home,
        env={**environment, "METERBRIDGE_ROOT": str(home), "METERBRIDGE_LOG_LEVEL": "ERROR", **more},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("listening on "):
            return child, line.removeprefix("listening on ").strip()
    raise AssertionError(f"serve ended with {child.wait()}")


def body(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()
