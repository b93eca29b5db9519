"""The oldest Prefect of the declared range: a sync runs on its server, in an environment made from a lock of its own.

Everything else runs the newest, which is in the other locks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from meterbridge.settings import stripped_environment
from tests.flows.test_prefect_server import ROOT, background, free_port, run, until
from tests.flows.test_prefect_server import world as world  # the fixture

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.timeout(900)]

LOCK = "requirements-prefect-3.8.lock"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The programs of an environment that holds what the lock names."""
    venv = tmp_path / "venv"
    command = [str(ROOT / ".ci" / "environment"), LOCK, str(venv)]
    env = stripped_environment(os.environ) | {"PYTHON": sys.executable}
    made = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stderr[-3000:]
    return venv / "bin"


def test_a_sync_runs_on_a_server_of_the_oldest_prefect(programs: Path, world: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    server = [str(programs / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with background(server, tmp_path / "server.log", world, tmp_path):
        until(f"{api}/health", 120)
        assert httpx.get(f"{api}/admin/version").json() == "3.8.8"
        sync = [str(programs / "meterbridge"), "sync", "subscriptions", "--json"]
        # The demonstration's world holds what must be set aside.
        report = json.loads(run(sync, world | {"PREFECT_API_URL": api}, tmp_path, codes=(3,)))
        assert report["applied"]["account_plan.create"] == 39
        (flow_run,) = httpx.post(f"{api}/flow_runs/filter", json={}).raise_for_status().json()
        assert (flow_run["name"], flow_run["state"]["type"]) == ("sync_subscriptions", "COMPLETED")
