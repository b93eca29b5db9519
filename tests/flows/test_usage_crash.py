"""Killed at any request of a usage run, the next run ends with exactly the input's sound rows, each once.

In one process the kill is an exception that nothing of ours catches, raised by the HTTP library's transport
before a request leaves or after the vendor has answered; with SIGKILL it is a real process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from meterbridge.sandbox import Sandbox
from tests.flows.usage_rig import Usage, open_usage, rows

ROWS = 4_500
SOUND = [n for n in range(ROWS) if n % 7]


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.fixture
def world(open_sandbox: Callable[..., Sandbox], tmp_path: Path) -> tuple[Usage, str]:
    """A sandbox and a file in which every seventh row has no number."""
    usage = open_usage(open_sandbox, tmp_path, METERBRIDGE_DELIVER_THREADS="2")
    return usage, usage.file([row | ({} if n % 7 else {"calls": "none"}) for n, row in enumerate(rows(ROWS))])


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int, when: str) -> None:
    """Raise at the ``number``-th request to the ingest API, and at all that follow: the process is gone."""
    send = httpx.HTTPTransport.handle_request
    seen = 0

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal seen
        if not request.url.path.endswith("/measurements"):
            return send(self, request)
        seen += 1
        if seen < number:
            return send(self, request)
        if seen == number and when == "after":
            send(self, request).read()
        raise Killed

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 4, 5))])
def test_killed_at_a_batch_the_next_run_completes_the_input(
    world: tuple[Usage, str], monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    usage, source = world
    with monkeypatch.context() as patch:
        kill_at(patch, number, when)
        with pytest.raises(Killed):
            usage.sync(source)
    report = usage.sync(source)
    assert usage.accepted() == SOUND
    assert [row["key"][2] for row in report.quarantined] == ["number_unreadable"]
    again = usage.sync(source)
    assert (again.applied, again.unchanged) == ({}, len(SOUND))


PROGRAM = """
import sys
from flows.sync_usage import sync_usage
sync_usage.fn(sys.argv[1], [sys.argv[2]], via=sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.parametrize("via", ["api", "file"])
@pytest.mark.parametrize("requests", range(1, 10, 2))
def test_a_process_killed_while_it_sends_is_completed_by_the_next(
    world: tuple[Usage, str], via: str, requests: int
) -> None:
    usage, source = world
    usage.sandbox.world.faults.add([{"harm": "slow", "seconds": 0.3, "times": -1, "match": {"path": "measurements"}}])
    command = [sys.executable, "-c", PROGRAM, str(usage.mapping), source, via]
    child = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < until and posted(usage.sandbox) < requests:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    usage.sandbox.world.faults.clear()
    usage.sync(source, via=via)
    assert usage.accepted() == SOUND


def posted(sandbox: Sandbox) -> int:
    with sandbox.world.lock:
        return sum("measurements" in each.path for each in sandbox.world.log)
