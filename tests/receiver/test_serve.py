"""``meterbridge serve`` as real processes: killed at any moment it loses nothing that it answered with 2xx."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from meterbridge.ledger import inbox
from meterbridge.ledger.ledger import Ledger
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios import build
from tests.flows.conftest import environment
from tests.receiver.conftest import AUTH, serving, told

Started = list[subprocess.Popen[str]]


@pytest.fixture
def started() -> Iterator[Started]:
    """Processes to be killed at the end of the test."""
    children: Started = []
    yield children
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def kept(home: Path) -> set[str]:
    ledger = Ledger.open(None, home=home, connection="default")
    with ledger.read() as rx:
        found = {row.event.event_id for row in inbox.pending(rx, 1_000_000)}
    ledger.close()
    return found


def post_until_it_is_gone(url: str, first: int, answered: set[str]) -> None:
    with httpx.Client(base_url=url, auth=AUTH, timeout=10) as http:
        number = first
        while True:
            try:
                answer = http.post("/webhooks/chargebee", json=told(number))
            except httpx.TransportError:
                return
            if answer.is_success:
                answered.add(f"ev_{number}")
            number += 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_moment_it_has_every_event_it_answered(started: Started, tmp_path: Path, seed: int) -> None:
    child, url = serving(tmp_path, "--no-drain")
    started.append(child)
    answered: set[str] = set()
    threads = [
        threading.Thread(target=post_until_it_is_gone, args=(url, start * 1_000_000, answered)) for start in range(8)
    ]
    for thread in threads:
        thread.start()
    chance = random.Random(seed)
    enough, deadline = chance.randrange(20, 400), time.monotonic() + 120
    while len(answered) < enough and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.05))  # so that it dies anywhere between reading, committing and answering
    child.send_signal(signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert child.wait() == -signal.SIGKILL
    assert len(answered) >= enough
    assert answered - kept(tmp_path) == set()


@pytest.mark.slow
def test_events_are_synced_and_a_signal_ends_it_in_order(started: Started, tmp_path: Path) -> None:
    with Sandbox(build("single")) as sandbox:
        child, url = serving(tmp_path, **environment(sandbox, tmp_path))
        started.append(child)
        with httpx.Client(base_url=url, auth=AUTH) as http:
            assert http.post("/webhooks/chargebee", json=told(1, "sub-single")).status_code == 200
            deadline = time.monotonic() + 60
            while http.get("/health").json()["waiting"] and time.monotonic() < deadline:
                time.sleep(0.1)
        assert [row["code"] for row in sandbox.world.m3ter.accounts.rows()] == ["cust-single"]
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    assert kept(tmp_path) == set()


def test_serve_refuses_to_listen_when_nobody_could_send(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="serve ended with 2"):
        serving(tmp_path, "--no-drain", METERBRIDGE_WEBHOOK_PASSWORD="", METERBRIDGE_WEBHOOK_M3TER_PATH="")
