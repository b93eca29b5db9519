"""A ledger restored from a backup, beside the note of what was written since: told, and rebuilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.approve_bills import approve_bills
from flows.drain_inbox import drain_inbox
from flows.rebuild_ledger import rebuild_ledger
from flows.reconcile import reconcile
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from flows.undo_run import undo_run
from meterbridge.errors import SetupError
from meterbridge.ledger import doubts, inbox
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import load_settings
from tasks.services import open_ledger
from tests.flows.conftest import OpenSandbox
from tests.flows.restored import RestoredMonth


def lines_of(world):
    return sum(len(invoice.get("line_items", [])) for invoice in world.chargebee.invoices.rows())


def test_a_backup_that_remembers_a_waiting_bill_adopts_what_was_charged_since(
    open_sandbox: OpenSandbox, tmp_path: Path
) -> None:
    month = RestoredMonth(open_sandbox, tmp_path, METERBRIDGE_BILL_SETTLE_HOURS="600")
    month.on("one")
    assert [row["key"][1] for row in month.charge().waiting] == ["sub-single"]
    month.back_up()
    month.setting("METERBRIDGE_BILL_SETTLE_HOURS", "24")
    assert month.charge().applied["charge.create"] == 2
    month.restore()
    lines = lines_of(month.world)
    month.world.log.clear()
    for command in (
        sync_bills.fn,
        lambda: sync_bills.fn(dry_run=True),
        lambda: approve_bills.fn("0" * 16, "ann"),
        lambda: undo_run.fn("some-run"),
    ):
        with pytest.raises(SetupError, match="MB-LEDGER-BEHIND"):
            command()
    assert month.writes() == []
    assert sync_subscriptions.fn().exit_code == 0
    rebuilt = rebuild_ledger.fn()
    assert (rebuilt.taken_over["charge"], len(rebuilt.missing_runs), rebuilt.in_doubt) == (2, 1, [])
    again = sync_bills.fn()
    assert "charge.create" not in again.applied
    assert (lines_of(month.world), month.standing()) == (lines, month.wanted())
    assert (sync_bills.fn().intended, month.writes()) == ({}, [])
    assert reconcile.fn().differences == 0


def test_a_drain_charges_nothing_by_an_older_ledger(open_sandbox, tmp_path):
    month = RestoredMonth(open_sandbox, tmp_path).on("one")
    month.back_up()
    month.charge()
    month.restore()
    ledger = open_ledger(load_settings())
    event = inbox.Event("m3ter", "e1", "bill.approved", "bill", month.bill["id"], None, None)
    with ledger.write() as tx:
        inbox.put_all(tx, [event])
        tx.commit()
    ledger.close()
    before = month.standing()
    with pytest.raises(SetupError, match="MB-LEDGER-BEHIND"):
        drain_inbox.fn("m3ter")
    assert month.standing() == before


@pytest.mark.parametrize("copy", ["older", "lost", "emptied"])
def test_a_rebuilt_ledger_knows_every_charge_and_correction_and_account_plan(open_sandbox, tmp_path, copy):
    month = RestoredMonth(open_sandbox, tmp_path, two=True).on("one")
    month.back_up("first")
    month.charge()
    for row in [row for row in month.invoices if row["status"] == "pending"]:
        month.close(row)
    month.pass_days(25)
    month.charge()
    lines = month.bill["lineItems"]
    month.recalculate(*(str(line["convertedSubtotal"] + 1) for line in lines))
    month.charge()
    wanted = month.wanted()
    assert month.standing() == wanted
    known = month.charges()
    match copy:
        case "older":
            month.restore("first")
        case "lost":
            month.lose()
        case "emptied":
            month.lose()
            (tmp_path / "shared.sqlite3").touch()
    month.world.log.clear()
    dry = rebuild_ledger.fn(dry_run=True)
    report = rebuild_ledger.fn()
    assert [dry.missing_runs, len(dry.charges)] == [report.missing_runs, len(report.charges)]
    assert [e for e in month.world.log if e.method in ("POST", "PUT", "DELETE") and "oauth" not in e.path] == []
    assert report.quarantined == []
    assert month.charges() == known
    again = month.charge()
    assert ("charge.create" in again.applied, again.quarantined, month.standing()) == (False, [], wanted)
    assert month.writes() == []
    sync_subscriptions.fn()
    assert month.charge().intended == {}
    assert reconcile.fn().differences == 0


def test_what_is_wanted_beyond_what_stands_is_proposed_until_a_person_answers(open_sandbox, tmp_path):
    month = RestoredMonth(open_sandbox, tmp_path).on("one")
    month.recalculate("50", "7")
    month.back_up()
    month.charge()
    month.restore()
    month.recalculate("60", "7")
    report = rebuild_ledger.fn()
    assert [(row["bill_id"], row["amount"]) for row in report.in_doubt] or report.quarantined
    proposed = month.charge()
    [asked] = proposed.awaiting_approval
    assert ("rebuilt" in asked["why"], month.standing()) == (True, 5700)
    assert month.charge().writes == 0
    assert approve_bills.fn(asked["change_set"], "ann").exit_code == 0
    assert month.standing() == 6700
    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        assert doubts.all(rx) == []
    ledger.close()
    use_and_bill(month.world)
    assert month.charge().awaiting_approval == []


def test_undone_after_the_backup_is_not_charged_again_by_itself(open_sandbox, tmp_path):
    month = RestoredMonth(open_sandbox, tmp_path).on("one")
    month.back_up()
    charged = month.charge()
    undo_run.fn(charged.flow_run_id, "ann")
    month.restore()
    rebuild_ledger.fn()
    for _ in range(2):
        assert (month.charge().applied.get("charge.create"), month.standing()) == (None, 0)


def test_a_rebuild_keeps_what_people_decided_before_the_backup(open_sandbox, tmp_path):
    month = RestoredMonth(open_sandbox, tmp_path).on("one")
    undo_run.fn(month.charge().flow_run_id, "ann")
    month.back_up()
    use_and_bill(month.world)
    month.charge()
    month.restore()
    report = rebuild_ledger.fn()
    assert report.kept == {"undone": 1}
    month.charge()
    assert month.standing() == month.total(month.bills[1])
