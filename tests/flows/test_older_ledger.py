"""A ledger restored from a backup knows a bill, but not its charges: nothing may be charged twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.conftest import OpenSandbox


def test_a_backup_that_remembers_a_waiting_bill_adopts_what_was_charged_since(
    open_sandbox: OpenSandbox, tmp_path: Path
) -> None:
    sandbox = open_sandbox("single", METERBRIDGE_BILL_SETTLE_HOURS="600")
    sync_subscriptions.fn()
    use_and_bill(sandbox.world)
    waiting = sync_bills.fn()
    assert [row["key"][1] for row in waiting.waiting] == ["sub-single"]
    backup = tmp_path / "backup"
    backup.mkdir()
    for file in tmp_path.glob("ledger.sqlite3*"):
        shutil.copy(file, backup)
    os.environ["METERBRIDGE_BILL_SETTLE_HOURS"] = "24"
    assert sync_bills.fn().applied["charge.create"] == 2
    for file in tmp_path.glob("ledger.sqlite3*"):
        file.unlink()
    for file in backup.iterdir():
        shutil.copy(file, tmp_path)
    lines = sum(len(i.get("line_items", [])) for i in sandbox.world.chargebee.invoices.rows())
    again = sync_bills.fn()
    assert "charge.create" not in again.applied
    assert sum(len(i.get("line_items", [])) for i in sandbox.world.chargebee.invoices.rows()) == lines
    assert sync_bills.fn().intended == {}
