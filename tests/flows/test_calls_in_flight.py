"""A call that is still at work when its duplicate comes: 409 or 429 under the same key means wait, never "closed"."""

import time

import pytest

from meterbridge.clock import Clock
from meterbridge.errors import RetriableError
from meterbridge.ledger import mappings
from meterbridge.settings import load_settings
from tasks import writes
from tasks.services import open_ledger
from tests.flows.billed_month import BilledMonth
from tests.flows.crash_worlds import no_draft_comes

PLACES = {
    "charge": ({}, "/add_charge"),
    "own invoice": ({"METERBRIDGE_NO_PENDING_INVOICE": "create"}, "/create_for_charge_items_and_charges$"),
    "unbilled": ({"METERBRIDGE_NO_PENDING_INVOICE": "unbilled"}, "/unbilled_charges$"),
    "credit": ({"METERBRIDGE_NEGATIVE": "promotional_credit"}, "/promotional_credits/add$"),
    "removal": ({}, "/delete_line_items$"),
}


def prepared(open_sandbox, kind):
    settings, path = PLACES[kind]
    month = BilledMonth(open_sandbox, charge=kind == "removal", **settings)
    if kind in ("own invoice", "unbilled"):
        no_draft_comes(month.world)
    if kind == "credit":
        month.recalculate("1", "-2.5")
    if kind == "removal":
        month.recalculate("50", "7")
    return month, {"path": path, "method": "POST"}


def stands(month, kind):
    if kind == "credit":
        return [row["amount"] for row in month.world.chargebee.promotional_credits.rows()]
    if kind == "unbilled":
        return [sum(row["amount"] for row in month.world.chargebee.unbilled_charges.rows())]
    return [sum(month.ours())]


@pytest.mark.parametrize("status", [409, 429])
@pytest.mark.parametrize("kind", PLACES)
def test_a_run_waits_for_its_own_call_and_ends_well(open_sandbox, kind, status):
    month, match = prepared(open_sandbox, kind)
    month.world.switches.update({"in_flight_duplicate_status": status})
    month.world.faults.add([{"match": match, "harm": "held", "seconds": 0.8}])
    report = month.charge()
    assert (report.exit_code, report.quarantined, report.held) == (0, [], 0)
    assert stands(month, kind) == [150 if kind == "credit" else month.total()]
    assert month.charge().writes == 0


@pytest.mark.parametrize("ahead", [0, 30])  # a vendor's Date header resolves a second: two runs' clocks differ
@pytest.mark.parametrize("kind", ["charge", "own invoice"])
def test_another_run_asks_under_the_same_key_and_sets_nothing_aside(open_sandbox, kind, ahead, monkeypatch):
    month, match = prepared(open_sandbox, kind)
    month.world.faults.add([{"match": match, "harm": "held", "seconds": 120}])
    learn = Clock.learn
    with monkeypatch.context() as patched:
        patched.setattr(writes, "BUSY_SECONDS", 0)  # as if the first one had waited for long
        patched.setattr(Clock, "learn", lambda self, offset: learn(self, offset + ahead))
        with pytest.raises(RetriableError, match="in progress"):
            month.charge()
    pause = time.sleep

    def ended(seconds):
        month.world.faults.clear()
        pause(seconds)

    monkeypatch.setattr(time, "sleep", ended)  # the second run has met the call; only then it comes to its end
    report = month.charge()
    assert (report.exit_code, report.quarantined) == (0, [])
    assert stands(month, kind) == [month.total()]
    keys = [one.idempotency_key for one in month.writes() if match["path"].strip("$/") in one.path]
    assert len(set(keys)) < len(keys)


def test_a_draft_that_closes_while_the_call_is_at_work_is_seen_by_the_strong_read(open_sandbox, monkeypatch):
    month, match = prepared(open_sandbox, "charge")
    month.world.faults.add([{"match": match, "harm": "held", "seconds": 120}])
    with monkeypatch.context() as patched:
        patched.setattr(writes, "BUSY_SECONDS", 0)
        with pytest.raises(RetriableError):
            month.charge()
    final = month.close()  # the call that is at work finds no draft any more
    month.world.faults.clear()
    total = month.total()
    for _ in range(3):
        report = month.charge()
    assert report.quarantined == []
    assert month.ours(final) == []
    assert sum(row["amount"] for row in report.waiting) == total


def test_a_declined_card_leaves_the_invoice_unpaid_the_charge_stands_and_the_report_says_so(open_sandbox):
    month, _ = prepared(open_sandbox, "own invoice")
    month.world.switches.update({"card_declined": True})
    report = month.charge()
    [made] = [row for row in month.invoices if month.ours(row)]
    assert (made["status"], sum(month.ours())) == ("payment_due", month.total())
    assert (report.exit_code, report.quarantined, report.applied["charge_set.create"]) == (0, [], 1)
    [note] = report.notes
    assert made["id"] in note
    assert "payment_due" in note
    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        statuses = {one.state["invoice_status"] for one in mappings.all(rx, "charge", active_only=True)}
    ledger.close()
    assert statuses == {"payment_due"}
    again = month.charge()
    assert (again.writes, again.quarantined) == (0, [])
