"""An approval in processes of its own: killed at a write and repeated, and two approvers at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.reconcile import reconcile
from tests.flows.billed_month import BilledMonth

ROOT = Path(__file__).parents[2]
SETTINGS = {"METERBRIDGE_BILLS_APPROVAL": "required", "METERBRIDGE_LEASE_SECONDS": "10"}

APPROVE = """
import os, signal, sys
import httpx
from flows.approve_bills import approve_bills

change_set, by, when, number = sys.argv[1:]
original, writes = httpx.HTTPTransport.handle_request, 0

def harmed(self, request):
    global writes
    is_write = request.method in ("POST", "PUT", "DELETE") and "oauth" not in str(request.url)
    writes += is_write
    hit = is_write and writes == int(number)
    if hit and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    response = original(self, request)
    if hit and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return response

httpx.HTTPTransport.handle_request = harmed
report = approve_bills.fn(change_set, by)
print(report.model_dump_json())
"""


def begin(change_set: str, by: str = "ann", when: str = "never", number: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPROVE, change_set, by, when, str(number)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, object] | int:
    """Its report, or the signal that ended it."""
    out, _ = process.communicate(timeout=120)
    return json.loads(out) if process.returncode == 0 else process.returncode


def stands_once(month: BilledMonth) -> None:
    assert sum(month.ours()) == month.total()
    assert (len(month.ours()), len(month.mapped("Bill")), len(month.mapped("BillLineItem"))) == (2, 1, 2)
    month.world.log.clear()
    after = month.charge()
    assert (after.writes, after.awaiting_approval, after.exit_code, month.writes()) == (0, [], 0, [])
    assert reconcile.fn().differences == 0


@pytest.mark.slow
@pytest.mark.parametrize("by_sync", [False, True], ids=["approved-again", "or-the-next-sync"])
@pytest.mark.parametrize(("when", "number"), [("before", 1), ("after", 1), ("after", 2), ("after", 3)])
def test_killed_at_a_write_an_approval_is_ended_by_whoever_comes_next(open_sandbox, when, number, by_sync):
    month = BilledMonth(open_sandbox, charge=False, **SETTINGS)
    [row] = month.charge().awaiting_approval
    assert ended(begin(row["change_set"], "ann", when, number)) == -9
    if by_sync:
        assert month.charge().exit_code == 0
    else:
        report = ended(begin(row["change_set"], "bob"))
        assert isinstance(report, dict)
        assert (report["approved"], report["approved_by"], report["held"]) == (0, "ann", 0)
    stands_once(month)


def test_two_approvers_at_once_send_everything_once(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **SETTINGS)
    [row] = month.charge().awaiting_approval
    both = [begin(row["change_set"], name) for name in ("ann", "bob")]
    reports = [ended(one) for one in both]
    assert sorted(one["approved"] for one in reports) == [0, 2]
    assert len({one["approved_by"] for one in reports}) == 1
    assert sum(one["applied"].get("charge.create", 0) for one in reports) == 2
    stands_once(month)


@pytest.mark.slow
def test_an_approval_beside_a_running_sync_sends_everything_once(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **SETTINGS)
    [row] = month.charge().awaiting_approval
    approving = begin(row["change_set"])
    while approving.poll() is None:
        assert month.charge().exit_code in (0, 3)
    assert isinstance(ended(approving), dict)
    stands_once(month)
