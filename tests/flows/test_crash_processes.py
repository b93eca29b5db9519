"""The command line as users run it, under Prefect, killed with SIGKILL while a vendor works on its k-th request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import stripped_environment
from tests.flows.conftest import environment, opening
from tests.flows.crash_ledgers import SqliteLedger
from tests.flows.crash_state import differences, final_state
from tests.flows.test_prefect_server import BIN, background, free_port, until

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 10
POINTS = 20
"""Requests of an unharmed run of sync_bills on one approved bill; the answer to each is withheld once."""

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.prefect, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prefect server for all runs of the module."""
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    base = {**stripped_environment(os.environ), "PREFECT_HOME": str(folder), "DO_NOT_TRACK": "1"}
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with background(command, folder / "server.log", base, folder):
        until(f"http://127.0.0.1:{port}/api/health", 120)
        yield f"http://127.0.0.1:{port}/api"


class Billed:
    """One approved bill in a sandbox, and the command that charges it."""

    def __init__(self, sandbox: Sandbox, home: Path, api: str) -> None:
        self.world, self.began = sandbox.world, sandbox.world.clock.now()
        self.home = home
        lease = {"METERBRIDGE_LEASE_SECONDS": str(LEASE_SECONDS)}
        self._environment = {
            **stripped_environment(os.environ),
            **environment(sandbox, home, PREFECT_API_URL=api, **lease),
        }

    def start(self) -> subprocess.Popen[bytes]:
        """``meterbridge sync bills --json`` in a session of its own."""
        start = "import sys; from meterbridge.cli.main import main; sys.argv[0] = 'meterbridge'; main()"
        return subprocess.Popen(
            [sys.executable, "-c", start, "sync", "bills", "--json"],
            cwd=ROOT,
            env={**self._environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def finish(self) -> dict[str, Any]:
        """Run the command to its end; returns its report."""
        process = self.start()
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, out.decode()[-3000:] + err.decode()[-3000:]
        report: dict[str, Any] = json.loads(out)
        return report

    def state(self) -> dict[str, Any]:
        """Both vendors and the ledger."""
        return final_state(self.world, SqliteLedger(self.home), self.began)


@contextmanager
def billed(home: Path, api: str) -> Iterator[Billed]:
    """A sandbox with one approved bill, its subscription synced."""
    with opening(home) as start:
        sandbox = start("single")
        sync_subscriptions.fn()
        use_and_bill(sandbox.world)
        sandbox.world.log.clear()
        yield Billed(sandbox, home, api)


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> dict[str, Any]:
    """What a run that nothing happens to leaves."""
    with billed(tmp_path_factory.mktemp("unharmed"), prefect_api) as month:
        month.finish()
        assert len(month.world.log) >= POINTS
        return month.state()


@pytest.mark.parametrize("number", range(1, POINTS + 1))
def test_killed_while_the_vendor_answers_a_rerun_ends_as_if_unharmed(
    number: int, unharmed: dict[str, Any], prefect_api: str, tmp_path: Path
) -> None:
    with billed(tmp_path, prefect_api) as month:
        month.world.faults.add([{"match": {"request": number}, "harm": "slow_after_commit", "seconds": 600}])
        process = month.start()
        deadline = time.monotonic() + 120
        while not any(one.harm for one in list(month.world.log)):
            assert process.poll() is None, process.communicate()[1].decode()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        month.world.faults.clear()
        month.finish()
        assert differences(unharmed, month.state()) == []
