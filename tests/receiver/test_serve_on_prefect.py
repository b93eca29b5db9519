"""``meterbridge serve`` beside a Prefect server: a micro-batch is one flow run, schedules are served if asked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios import build
from meterbridge.settings import stripped_environment
from tests.flows.conftest import environment
from tests.receiver.conftest import AUTH, serving, told

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(420)]
EVENTS = 20


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    env = {**stripped_environment(os.environ), **own}
    with (home / "server.log").open("wb") as log:
        child = subprocess.Popen(command, env=env, cwd=home, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}/api"
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()


def until(what: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := what():
                return found
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"nothing came within {seconds} s")


def rows(api: str, of: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.post(f"{api}/{of}/filter", json={}, timeout=30).raise_for_status().json()
    return found


def test_a_batch_is_one_run_and_schedules_stay_on_when_it_stops(tmp_path: Path) -> None:
    with Sandbox(build("large", subscriptions=EVENTS)) as sandbox, prefect_server(tmp_path) as api:
        until(lambda: httpx.get(f"{api}/health", timeout=5).is_success)
        more = {**environment(sandbox, tmp_path), "PREFECT_API_URL": api}
        child, url = serving(tmp_path, "--schedules", **more)
        try:
            with httpx.Client(base_url=url, auth=AUTH, timeout=30) as http:
                for number in range(EVENTS):
                    event = told(number, f"sub-{number:06d}")
                    assert http.post("/webhooks/chargebee", json=event).status_code == 200
                until(lambda: http.get("/health").json()["waiting"] == 0)
            assert len(sandbox.world.m3ter.accounts) == EVENTS
            drains = until(
                lambda: [
                    run
                    for run in rows(api, "flow_runs")
                    if run["name"] == "drain_inbox of chargebee" and run["state_type"] == "COMPLETED"
                ]
            )
            assert 1 <= len(drains) < EVENTS / 2
            assert {tag for run in drains for tag in run["tags"]} == {"meterbridge", "webhook"}
            served = until(lambda: [row for row in rows(api, "deployments") if row["name"] == "served"])
            until(lambda: len([row for row in rows(api, "deployments") if row["name"] == "served"]) == 3)
            assert {row["entrypoint"].rpartition(".")[0].partition(".")[0] for row in served} == {"flows"}
        finally:
            child.send_signal(signal.SIGTERM)
            code = child.wait(120)
            child.communicate()
        assert code == 0
        assert not [row["name"] for row in rows(api, "deployments") if row["paused"]]
