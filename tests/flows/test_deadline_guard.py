"""Drafts that close by themselves: what is not on them is warned of in time, and sent in time."""

import json

import pytest
from typer.testing import CliRunner

from meterbridge.cli.main import app
from meterbridge.rules.money import major
from meterbridge.sandbox.clock import rfc3339
from tasks.report_page import summary
from tests.flows.billed_month import BilledMonth

DAY = 86_400


def closing_month(open_sandbox, days, **more):
    """The draft of the single subscription dates from the first of April; it is the twelfth."""
    return BilledMonth(open_sandbox, charge=False, METERBRIDGE_AUTO_CLOSE_DAYS=str(days), **more)


def set_aside(month):
    """A total that the lines do not add up to: nothing of the bill is sent."""
    with month.world.lock:
        month.world.m3ter.save(month.world.m3ter.bills, month.bill | {"billTotal": 1}, month.bill)


def override(month, **changes):
    state = month.world.chargebee
    with month.world.lock:
        for row in list(state.subscriptions.rows()):
            state.save(state.subscriptions, row | changes)


def status():
    answer = CliRunner().invoke(app, ["status", "--json"])
    return json.loads(answer.stdout)["closing_soon"]


def test_money_that_is_set_aside_while_its_draft_closes_is_warned_of(open_sandbox):
    month = closing_month(open_sandbox, 12)
    set_aside(month)
    report = month.charge()
    [row] = report.closing_soon
    assert (row["invoice_id"], row["code"], row["state"]) == (month.draft["id"], "MB-BILL-TOTAL", "quarantined")
    assert row["closes_at"].startswith(rfc3339((month.draft["date"] + 12 * DAY) * 1000)[:19])
    assert (row["amount"], row["currency"]) == (month.total(), "EUR")
    assert f"**{major(month.total(), 'EUR')} EUR missing on 1 draft closing soon**" in summary(report)


@pytest.mark.parametrize(("days", "subscriptions_own"), [(30, {}), (12, {"auto_close_invoices": False})])
def test_a_draft_that_closes_late_or_never_is_not_warned_of(open_sandbox, days, subscriptions_own):
    month = closing_month(open_sandbox, days)
    set_aside(month)
    override(month, **subscriptions_own)
    assert month.charge().closing_soon == []


def test_status_tells_it_from_the_ledger(open_sandbox):
    month = closing_month(open_sandbox, 12, METERBRIDGE_BILL_SETTLE_HOURS="400")
    with month.world.lock:
        month.world.m3ter.save(month.world.m3ter.bills, month.bill | {"locked": False}, month.bill)
    report = month.charge()
    assert [row["state"] for row in report.closing_soon] == ["waiting"]
    [row] = status()
    assert (row["amount"], row["state"], row["bill_id"]) == (month.total(), "waiting", month.bill["id"])
    month.pass_days(1)
    report = month.charge()
    assert (report.closing_soon, report.applied["charge.create"], status()) == ([], 2, [])
