"""What runs leave on the disk: nothing for strangers' eyes, little where nothing was found, and never too much."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.cli.main import app
from meterbridge.ledger import facts, runs, schema
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import load_settings
from tasks import leftovers
from tasks.services import open_ledger


@pytest.fixture
def open_umask() -> Any:
    """A process whose files anybody may read, as services often are."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_files_and_folders_are_their_owners_alone_whoever_made_the_home(open_sandbox, tmp_path, open_umask):
    home = tmp_path / "made-by-a-package"
    (home / "default" / "staging").mkdir(parents=True)
    for folder in (home, home / "default", home / "default" / "staging"):
        folder.chmod(0o755)
    sandbox = open_sandbox("single", METERBRIDGE_HOME=str(home))
    sync_subscriptions.fn()
    use_and_bill(sandbox.world)
    sync_bills.fn()

    made = [path for path in home.rglob("*") if "prefect" not in path.parts]
    assert any(path.suffix == ".duckdb" for path in made)
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in made if path.stat().st_mode & 0o077} == {}


def test_a_run_that_found_nothing_leaves_its_facts_alone(open_sandbox):
    open_sandbox("single")
    first = sync_subscriptions.fn()
    again = sync_subscriptions.fn()

    assert Path(first.staging).suffix == ".duckdb"
    left = Path(again.staging)
    assert left.suffix == ".json"
    assert json.loads(left.read_text())["flow"] == "sync_subscriptions"
    assert left.stat().st_size < 20_000
    assert sorted(path.name for path in left.parent.glob(f"{left.stem}*")) == [left.name]
    shown = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["runs"]
    assert shown[0]["staging"] == again.staging


def test_a_run_that_set_something_aside_keeps_its_tables_each_time(open_sandbox):
    open_sandbox("demo")
    for _ in range(2):
        report = sync_subscriptions.fn()
        assert report.quarantined
        assert Path(report.staging).suffix == ".duckdb"
        assert Path(report.staging).is_file()


def made(folder: Path, run_id: str, *, days: float, **counts: int) -> Path:
    """A run of so many days ago whose staging file takes a megabyte."""
    path = folder / "sync_subscriptions" / f"{run_id}.duckdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(1_000_000))
    at = time.time() - days * 86_400
    os.utime(path, (at, at))
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        runs.open_run(tx, runs.RunRow(run_id, "sync_subscriptions", at, {}, str(path)))
        if counts:
            runs.close_run(tx, run_id, "done", counts, None)
        tx.commit()
    ledger.close()
    return path


def pruned(folder: Path) -> None:
    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        leftovers.prune(load_settings(), rx, folder=folder)
    ledger.close()


def test_the_oldest_files_go_first_but_evidence_goes_by_age_alone(open_sandbox, tmp_path):
    open_sandbox("single", METERBRIDGE_KEEP_STAGING_MB="3", METERBRIDGE_KEEP_STAGING_DAYS="30")
    folder = tmp_path / "default" / "staging"
    gone = [made(folder, f"old-{n}", days=20 - n, applied=1) for n in range(3)]
    kept = [
        made(folder, "aside", days=29, set_aside=2),
        made(folder, "missed", days=28, missing=1),
        made(folder, "at-work", days=0.1),
        made(folder, "new", days=0.01, applied=1),
    ]
    too_old = made(folder, "too-old", days=31, set_aside=1)

    pruned(folder)

    assert [path.name for path in (*gone, too_old) if path.exists()] == []
    left = [path.name for path in kept if path.exists()]
    assert left == ["aside.duckdb", "missed.duckdb", "at-work.duckdb"]


def test_the_copy_of_an_input_goes_once_its_run_is_over_or_dead(open_sandbox, tmp_path):
    open_sandbox("single")
    folder = tmp_path / "default" / "staging"
    made(folder, "ended", days=0.001, applied=1)
    for name in ("at-work", "killed"):
        made(folder, name, days=0.1)
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        runs.give_sign(tx, "at-work")
        dead = update(schema.runs).where(schema.runs.c.run_id == "killed")
        tx.execute(dead.values(seen_at=time.time() - 2 * runs.LOST_SECONDS))
        tx.commit()
    ledger.close()
    ends = ("input-rows.csv", "input-places.csv", "input-broken.csv", "input-stdin")
    copies = [folder / "sync_usage" / f"{run}-{end}" for run in ("ended", "killed", "at-work") for end in ends]
    unknown = folder / "sync_usage" / "never-recorded-input-rows.csv"
    unknown.parent.mkdir(parents=True)
    for path in (*copies, unknown):
        path.touch()
    long_ago = time.time() - 2 * runs.LOST_SECONDS
    os.utime(unknown, (long_ago, long_ago))
    rejects = folder / "sync_usage" / "killed-rejects.csv"
    rejects.touch()

    pruned(folder)

    assert [path.name for path in copies if path.exists()] == [f"at-work-{end}" for end in ends]
    assert (unknown.exists(), rejects.exists()) == (False, True)


def test_seventeen_thousand_drains_do_not_each_look_at_all_files(tmp_path):
    folder = tmp_path / "staging"
    assert [leftovers.is_due(folder) for _ in range(3)] == [True, False, False]
    long_ago = time.time() - 700
    os.utime(folder / ".pruned", (long_ago, long_ago))
    assert leftovers.is_due(folder)
    ahead = time.time() + 86_400  # a clock that was set back since
    os.utime(folder / ".pruned", (ahead, ahead))
    assert leftovers.is_due(folder)


def test_a_fact_about_a_write_goes_when_the_write_is_closed(open_sandbox):
    open_sandbox("single")
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        facts.put(tx, "looked:7", "1.0")
        facts.put(tx, "bills_since", "2026-01-01")
        tx.commit()
    sync_subscriptions.fn()
    with ledger.read() as rx:
        assert (facts.get(rx, "looked:7"), facts.get(rx, "bills_since")) == (None, "2026-01-01")
    ledger.close()
