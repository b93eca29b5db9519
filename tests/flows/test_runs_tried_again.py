"""Prefect's Retry, runs that fail while opening, runs whose process is gone: what ledger and `status` say of them."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from flows.approve_bills import approve_bills
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from flows.undo_run import undo_run
from meterbridge.cli.main import app
from meterbridge.errors import MeterbridgeError
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import load_settings
from tasks.services import open_ledger

FLOW_RUN = "PREFECT__RUNTIME__FLOW_RUN__ID"
"""The variable in which Prefect's runtime takes a flow run's id where no engine runs."""


def told_runs() -> list[dict[str, Any]]:
    shown = CliRunner().invoke(app, ["status", "--json"])
    return list(json.loads(shown.stdout)["runs"])


def charge_intents() -> list[tuple[str, int, str]]:
    """(natural key, generation, state) of all charges ever intended."""
    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        query = text("select natural_key, generation, state from intents where kind = 'charge' order by id")
        found = [(row[0], row[1], row[2]) for row in rx.execute(query)]  # type: ignore[call-overload]
    ledger.close()
    return found


def lines(sandbox: Sandbox) -> list[str]:
    """The ids of all lines on all invoices."""
    return sorted(line["id"] for row in sandbox.world.chargebee.invoices.rows() for line in row["line_items"])


@pytest.fixture
def month(open_sandbox: Any) -> Sandbox:
    """The demonstration's month, to be charged."""
    sandbox: Sandbox = open_sandbox("demo")
    sync_subscriptions.fn()
    use_and_bill(sandbox.world)
    return sandbox


@pytest.fixture
def flow_run(month: Sandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id under which Prefect runs, and runs again, the flow."""
    del month
    run_id = str(uuid.uuid4())
    monkeypatch.setenv(FLOW_RUN, run_id)
    return run_id


def test_a_failed_run_is_tried_again_under_its_id_and_an_open_write_keeps_its_key(month, flow_run):
    there = len(lines(month))
    lost = {"match": {"method": "POST", "path": "/invoices/.+/add_charge", "nth": 3}, "harm": "commit_then_drop"}
    away = {"match": {"method": "GET", "path": "/invoices/", "nth": 3}, "harm": "status_500", "times": -1}
    month.world.faults.add([lost, away])
    with pytest.raises(MeterbridgeError):
        sync_bills.fn()
    month.world.faults.clear()
    open_before = [row for row in charge_intents() if row[2] in ("sending", "unknown", "ready")]
    assert open_before

    report = sync_bills.fn()

    second, first = told_runs()[:2]
    assert (first["run_id"], first["attempt"], first["state"]) == (flow_run, 1, "failed")
    assert (second["run_id"], second["attempt"], second["state"]) == (flow_run, 2, "done")
    assert (report.flow_run_id, report.staging) == (flow_run, second["staging"])
    assert first["staging"] != second["staging"]
    assert all(Path(one["staging"]).is_file() for one in (first, second))
    assert {generation for _, generation, _ in charge_intents()} == {1}
    assert {state for _, _, state in charge_intents()} == {"applied"}
    assert len(lines(month)) - there == len(charge_intents())


def test_a_completed_run_that_is_tried_again_decides_anew_and_writes_nothing(month, flow_run):
    assert sync_bills.fn().writes > 0
    before = lines(month)

    again = sync_bills.fn()

    assert again.writes == 0
    assert lines(month) == before
    assert [(one["attempt"], one["state"]) for one in told_runs()[:2]] == [(2, "done"), (1, "done")]
    assert {one["run_id"] for one in told_runs()[:2]} == {flow_run}


def test_undo_of_a_flow_run_takes_the_lines_of_all_its_attempts_off(month, flow_run, monkeypatch):
    sent = sync_bills.fn().applied["charge.create"]
    sync_bills.fn()
    monkeypatch.delenv(FLOW_RUN)

    report = undo_run.fn(flow_run, by="Ann")

    assert len(report.undone) == sent


def test_a_run_that_fails_while_opening_is_told(open_sandbox):
    sandbox = open_sandbox("single")
    sandbox.world.faults.add([{"match": {"path": "/configurations"}, "harm": "status_500", "times": -1}])
    with pytest.raises(MeterbridgeError):
        sync_subscriptions.fn()

    (one,) = told_runs()
    assert (one["flow"], one["state"]) == ("sync_subscriptions", "failed")
    assert one["message"].startswith("MB-UNAVAILABLE: chargebee")


KILLED = """
import os, signal
from flows.sync_subscriptions import sync_subscriptions
from tasks.runs import Request, running
with running("sync_subscriptions", Request()) as run:
    print(run.run_id, flush=True)
    {end}
"""


def another_process(end: str) -> subprocess.Popen[str]:
    code = KILLED.replace("{end}", end)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def test_a_run_whose_process_was_killed_is_lost(open_sandbox):
    open_sandbox("single")
    dead = another_process("os.kill(os.getpid(), signal.SIGKILL)")
    run_id = dead.communicate()[0].strip()

    (one,) = told_runs()
    assert (one["run_id"], one["state"]) == (run_id, "lost")
    assert "the next run" in one["message"]


def test_a_run_at_work_in_another_process_is_running_until_it_is_silent_for_too_long(open_sandbox):
    open_sandbox("single")
    living = another_process("input()")
    assert living.stdout is not None
    living.stdout.readline()

    assert told_runs()[0]["state"] == "running"

    ledger = open_ledger(load_settings())
    with ledger.write() as tx:  # as another machine sees it, whose processes cannot be looked for
        tx.execute(text("update runs set runner = 'elsewhere 7 9', seen_at = seen_at - 200"))
        tx.commit()
    assert told_runs()[0]["state"] == "running"
    with ledger.write() as tx:
        tx.execute(text("update runs set seen_at = seen_at - 200"))
        tx.commit()
    ledger.close()
    assert told_runs()[0]["state"] == "lost"
    living.communicate("\n", timeout=60)
    assert told_runs()[0]["state"] in ("running", "failed", "lost")


def test_trace_shows_the_evidence_of_a_charge_that_a_person_approved(open_sandbox):
    sandbox = open_sandbox("demo", METERBRIDGE_BILLS_APPROVAL="required")
    sync_subscriptions.fn()
    use_and_bill(sandbox.world)
    asked = sync_bills.fn()
    sent = approve_bills.fn(asked.awaiting_approval[0]["change_set"], by="Ann")

    found = json.loads(CliRunner().invoke(app, ["trace", "cust-fractions-sub", "--json"]).stdout)

    (charge, *_) = found["charges"]
    assert charge["bill_lines"]
    assert charge["exact_amount"] is not None
    assert charge["missing"] is None
    assert charge["decided_by"]["run_id"] == asked.flow_run_id
    assert charge["run"]["run_id"] == sent.flow_run_id
