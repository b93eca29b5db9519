"""What makes a webhook's run quick: it copies what concerns its records, and uses the connections of the run before."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from flows.drain_inbox import drain_inbox
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox import Sandbox
from tasks.report import RunReport
from tasks.services import keeping_services
from tests.flows.conftest import OpenSandbox
from tests.flows.test_drain_inbox import cancel, event, tell


def subscriptions(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Ids of active subscriptions of one mapped item, with their customers, one a customer."""
    rows = sandbox.world.chargebee.subscriptions.rows()
    return [(row["id"], row["customer_id"]) for row in rows if row["id"] in ("cust-larkspur-sub", "cust-fractions-sub")]


def cancelled(sandbox: Sandbox, home: Path, number: int, name: str) -> RunReport:
    """The report of the run that an event of the subscription's cancellation makes."""
    cancel(sandbox, name)
    tell(home, event(number, "subscription", name))
    report = drain_inbox.fn()
    assert report is not None
    assert report.writes > 0
    return report


def test_a_drain_copies_its_customers_slice_of_the_ledger_alone(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("demo")
    full = sync_subscriptions.fn()
    ((name, customer), _) = subscriptions(sandbox)
    report = cancelled(sandbox, tmp_path, 1, name)
    with duckdb.connect(full.staging, read_only=True) as file, duckdb.connect(report.staging, read_only=True) as own:
        assert file.execute("select count(*) from ref_accounts").fetchone() == (0,)
        assert own.execute("select customer_id from ref_accounts").fetchall() == [(customer,)]
        assert own.execute("select distinct customer_id from ref_account_plans").fetchall() == [(customer,)]
        assert own.execute("select distinct customer_id from ref_external_mappings").fetchall() == [(customer,)]
    assert sync_subscriptions.fn(full=True).writes == 0


def test_drains_that_share_connections_count_their_own_requests(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("demo")
    sync_subscriptions.fn()
    (first, _), (second, _) = subscriptions(sandbox)
    with keeping_services():
        one, two = cancelled(sandbox, tmp_path, 1, first), cancelled(sandbox, tmp_path, 2, second)
    assert one.requests == two.requests
    assert one.requests["m3ter"] > 0
    assert sync_subscriptions.fn(full=True).writes == 0


def test_a_setting_that_changes_meanwhile_counts_from_the_next_run_on(
    open_sandbox: OpenSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = open_sandbox("demo")
    sync_subscriptions.fn()
    (first, _), (second, _) = subscriptions(sandbox)
    with keeping_services():
        cancelled(sandbox, tmp_path, 1, first)
        monkeypatch.setenv("METERBRIDGE_ACCOUNTS_EXCEPT", "cust-fractions")
        cancel(sandbox, second)
        tell(tmp_path, event(2, "subscription", second))
        report = drain_inbox.fn()
    assert report is not None
    assert report.writes == 0
