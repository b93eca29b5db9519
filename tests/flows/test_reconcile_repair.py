"""``reconcile --repair``: what differs is decided anew by its id, and the comparison afterwards says what is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flows.reconcile import reconcile
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.cli.both_sides import repaired
from meterbridge.ledger import quarantine
from meterbridge.sandbox import Sandbox
from meterbridge.settings import load_settings
from tasks.report_differences import ReconcileReport
from tasks.services import open_ledger
from tests.flows.billed_month import BilledMonth

BY_HAND = "2026-05-01T00:00:00.000Z"
OpenSandbox = Callable[..., Sandbox]


def repair() -> ReconcileReport:
    return repaired(reconcile.fn(), sync_subscriptions.fn, sync_bills.fn, reconcile.fn)


def account_plan(month: BilledMonth) -> dict[str, Any]:
    (row,) = month.world.m3ter.account_plans.rows()
    return row


def end_by_hand(month: BilledMonth) -> None:
    m3ter, row = month.world.m3ter, account_plan(month)
    m3ter.save(m3ter.account_plans, row | {"endDate": BY_HAND}, row)


def test_where_both_sides_agree_nothing_is_run(open_sandbox: OpenSandbox) -> None:
    month = BilledMonth(open_sandbox)
    month.world.log.clear()
    report = repair()
    assert (report.differences, report.repaired, month.writes()) == (0, {}, [])


def test_a_bill_that_no_run_has_seen_is_charged(open_sandbox: OpenSandbox) -> None:
    month = BilledMonth(open_sandbox, charge=False)
    report = repair()
    assert report.repaired == {
        "subscriptions": [],
        "bills": [month.bill["id"]],
        "applied": {"charge.create": 2, "external_mapping.create": 3},
    }
    assert (sum(month.ours()), report.differences, report.exit_code) == (month.total(), 0, 0)
    assert repair().repaired == {}


def test_behind_the_gate_it_is_only_proposed(open_sandbox: OpenSandbox) -> None:
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_BILLS_APPROVAL="required")
    report = repair()
    assert (month.ours(), report.repaired["applied"], report.differences) == ([], {}, 0)
    assert [row["why"] for row in report.explained] == ["awaiting approval"]


@pytest.mark.parametrize("told", [False, True], ids=["unnoticed", "told-by-a-sync"])
def test_an_account_plan_changed_by_hand_is_brought_back(open_sandbox: OpenSandbox, told: bool) -> None:
    month = BilledMonth(open_sandbox)
    end_by_hand(month)
    if told:
        assert [row["code"] for row in sync_subscriptions.fn(full=True).quarantined] == ["MB-FOREIGN-EDIT"]
    report = repair()
    assert report.repaired["subscriptions"] == ["sub-single"]
    assert report.repaired["applied"] == {"account_plan.update": 1}
    assert (account_plan(month).get("endDate"), report.differences) == (None, 0)


def test_an_edit_that_a_person_accepted_stays(open_sandbox: OpenSandbox) -> None:
    month = BilledMonth(open_sandbox)
    end_by_hand(month)
    sync_subscriptions.fn(full=True)
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        [row] = quarantine.to_decide(tx)
        quarantine.dismiss(tx, row.kind, row.key, "ann", "agreed")
        tx.commit()
    ledger.close()
    assert repair().repaired == {}
    assert account_plan(month)["endDate"] == BY_HAND


def test_what_no_sync_can_end_is_left_as_drift(open_sandbox: OpenSandbox) -> None:
    month = BilledMonth(open_sandbox)
    m3ter, ours = month.world.m3ter, account_plan(month)
    other = next(row for row in m3ter.plans.rows() if row["code"] == "storage-eur")
    plan = {**ours, "id": "7d9f1a52-0c38-4b6e-8f27-a95e3c1d6b04", "code": "by-hand"}
    with month.world.lock:
        m3ter.save(m3ter.account_plans, plan | {"planId": other["id"], "productId": other["productId"]}, None)
    report = repair()
    assert (report.repaired, report.differences, report.exit_code) == ({}, 1, 3)


def test_a_line_taken_off_by_hand_is_told_and_not_charged_again(open_sandbox: OpenSandbox) -> None:
    month = BilledMonth(open_sandbox)
    state, invoice = month.world.chargebee, month.draft
    ours = [line for line in invoice["line_items"] if line["entity_type"] == "adhoc"]
    with month.world.lock:
        kept = [line for line in invoice["line_items"] if line not in ours]
        state.save(state.invoices, {**invoice, "line_items": kept})
    month.world.log.clear()
    report = repair()
    assert (report.repaired["bills"], report.repaired["applied"], month.writes()) == ([month.bill["id"]], {}, [])
    assert ([row["code"] for row in report.explained], report.exit_code) == (["MB-LINE-CHANGED"], 0)
