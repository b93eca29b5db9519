"""Several real processes on one ledger: nobody gets another's row, nothing is lost with a process that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from meterbridge.ledger import intents, watermarks
from meterbridge.ledger.ledger import Ledger
from tests.ledger.conftest import OpenLedger
from tests.ledger.desk import claim, latest, names, outcome, record, stale, states, wish

ROOT = Path(__file__).parents[2]


class Workers:
    """Child processes of one test."""

    def __init__(self, url: str, home: Path) -> None:
        self._fixed = [sys.executable, "-m", "tests.ledger.worker", url, str(home)]
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *task: str) -> subprocess.Popen[str]:
        """Start one; it says when it has the ledger open, and goes on at a line on its input."""
        child = subprocess.Popen(
            [*self._fixed, *task],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(child)
        return child

    def lines(self, *tasks: tuple[str, ...]) -> list[list[str]]:
        """Run all to their end, begun at once when every one has the ledger open; returns what each printed then."""
        children = [self.start(*task) for task in tasks]
        for child in children:
            _wait_for(child, "open")
        for child in children:
            _go(child)
        found = []
        for child in children:
            out, err = child.communicate(timeout=60)
            assert child.returncode == 0, err
            found.append(out.splitlines())
        return found

    def stop(self) -> None:
        """Kill what is still there."""
        for child in self._running:
            if child.poll() is None:
                child.kill()
            child.communicate()


@pytest.fixture
def workers(ledger_url: str, tmp_path: Path) -> Iterator[Workers]:
    """Starts children on the test's ledger; kills them at the end."""
    group = Workers(ledger_url, tmp_path)
    yield group
    group.stop()


def test_processes_that_start_at_once_migrate_once(workers: Workers, open_ledger: OpenLedger) -> None:
    assert workers.lines(*[("open_only",)] * 4) == [[]] * 4
    assert open_ledger().now() > 0


def test_processes_that_claim_at_once_never_get_the_same_row(ledger: Ledger, workers: Workers) -> None:
    record(ledger, [wish(f"c{number}") for number in range(1_500)])
    claimed = workers.lines(("claim_all", "one", "7"), ("claim_all", "two", "7"), ("claim_all", "three", "7"))
    every = [line for lines in claimed for line in lines]
    assert len(every) == 1_500
    assert len(set(every)) == 1_500
    assert sum(1 for lines in claimed if lines) >= 2


def test_one_write_per_scope_is_in_flight_over_all_processes(ledger: Ledger, workers: Workers) -> None:
    record(ledger, [wish(f"c{number}", scope=f"account:{number % 5}") for number in range(60)])
    written = workers.lines(("claim_and_apply", "one"), ("claim_and_apply", "two"))
    spans = sorted(
        (scope, float(begun), float(ended))
        for scope, begun, ended in (line.split() for lines in written for line in lines)
    )
    assert len(spans) == 60
    for (scope, _, ended), (next_scope, begun, _) in pairwise(spans):
        assert scope != next_scope or begun >= ended


def test_processes_share_one_clock_of_slots(ledger: Ledger, workers: Workers) -> None:
    printed = workers.lines(*[("lease_slots", "40")] * 3)
    starts = sorted(float(line) for lines in printed for line in lines)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    # Ten slots at 1,000 a second: blocks lie at least 10 ms apart, whoever leased them.
    assert len(starts) == 120
    assert min(gaps) > 0.0099
    del ledger


def test_a_process_killed_after_its_commit_leaves_the_row_in_sending_for_the_next(
    ledger: Ledger, workers: Workers
) -> None:
    record(ledger, [wish("acme"), wish("beta")])
    child = workers.start("send_and_hang", "doomed")
    _go(child)
    _wait_for(child, "sent")
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=10)

    row = latest(ledger, "acme")
    assert (row.state, row.request, row.baseline) == ("sending", "POST /accounts", {"line_ids": ["li-1"]})
    assert stale(ledger, "heir") == []
    assert names(claim(ledger, "heir")) == ["beta"]
    time.sleep(0.6)
    (taken,) = stale(ledger, "heir")
    assert (taken.key, taken.state, taken.attempts) == (("acme",), "unknown", 1)
    assert outcome(ledger, "applied", taken, "heir", {"remote_id": "a-1"}, mapping=None)


def test_a_process_killed_before_its_commit_leaves_nothing(ledger: Ledger, workers: Workers) -> None:
    record(ledger, [wish("acme")])
    child = workers.start("write_and_hang", "doomed")
    _go(child)
    _wait_for(child, "written")
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=10)
    assert states(ledger, "acme") == ["ready"]
    assert names(claim(ledger, "heir")) == ["acme"]


def test_threads_that_write_at_once_all_succeed(open_ledger: OpenLedger) -> None:
    """Four share a ledger, four have one each, as several processes would."""
    shared = open_ledger()
    ledgers = [shared] * 4 + [open_ledger() for _ in range(4)]
    record(shared, [wish(f"c{number}") for number in range(200)])
    failures: list[BaseException] = []

    def work(number: int, ledger: Ledger) -> None:
        try:
            for step in range(25):
                (row,) = claim(ledger, f"thread-{number}", limit=1)
                with ledger.write() as tx:
                    assert intents.mark_sending(tx, row.id, f"thread-{number}", "r")
                    tx.commit()
                with ledger.write() as tx:
                    assert intents.applied(tx, row.id, f"thread-{number}", {}, mapping=None)
                    watermarks.advance(tx, f"resource-{number}", float(step), "fp", "run-1")
                    tx.commit()
        except BaseException as failure:  # noqa: BLE001 -- shown by the assertion below
            failures.append(failure)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(ledgers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with shared.read() as rx:
        assert [row.state for row in intents.of_run(rx, "run-1")] == ["applied"] * 200


def _go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def _wait_for(child: subprocess.Popen[str], word: str) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == word:
            return
    raise AssertionError(child.stderr.read() if child.stderr else "no answer")
