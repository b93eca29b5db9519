"""A run's staging file is held open between its tasks, let go with the run, and survives the run's death."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from meterbridge.staging.database import kept_open, opened

KILLED = """
import os, signal, sys
from pathlib import Path
from meterbridge.staging.database import kept_open, opened
with kept_open(Path(sys.argv[1])):
    with opened(Path(sys.argv[1])) as file:
        file.land_rows("run_facts", [{"name": "flow", "value": "sync_bills"}])
    os.kill(os.getpid(), signal.SIGKILL)
"""
LOOK = """
import duckdb, sys
print(duckdb.connect(sys.argv[1], read_only=True).execute("select value from run_facts").fetchall())
"""


def looked_at(path: Path) -> str:
    """What another process sees in the file."""
    done = subprocess.run([sys.executable, "-c", LOOK, str(path)], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def test_tasks_share_the_file_and_others_may_look_when_the_run_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    with kept_open(path):
        with opened(path) as first:
            first.land_rows("run_facts", [{"name": "flow", "value": "sync_bills"}])
        with opened(path) as second:
            assert second.count("run_facts") == 1
    assert looked_at(path) == "[('sync_bills',)]"


def fail_with(path: Path) -> None:
    with kept_open(path), opened(path) as file:
        file.land_rows("run_facts", [{"name": "flow", "value": "sync_bills"}])
        raise RuntimeError


def test_a_run_that_fails_lets_its_file_go(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail_with(tmp_path / "run.duckdb")
    assert looked_at(tmp_path / "run.duckdb") == "[('sync_bills',)]"


def test_the_file_of_a_run_that_was_killed_tells_what_it_saw(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with duckdb.connect(str(path), read_only=True) as file:
        assert file.execute("select value from run_facts").fetchall() == [("sync_bills",)]
