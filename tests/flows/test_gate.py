"""The gate, end to end: what is proposed, what an approval sends, and what it never sends."""

import json

import pytest
from typer.testing import CliRunner

from flows.approve_bills import approve_bills
from flows.reconcile import reconcile
from meterbridge.cli.main import app
from meterbridge.errors import SetupError
from meterbridge.ledger import approvals, bills
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import load_settings
from tasks.services import open_ledger
from tests.flows.billed_month import BilledMonth, asides

REQUIRED = {"METERBRIDGE_BILLS_APPROVAL": "required"}


def approve(change_set, by="ann", **how):
    return approve_bills.fn(change_set, by, **how)


def hashes(report):
    return sorted({row["change_set"] for row in report.awaiting_approval})


def asked(report):
    return [(row["currency"], row["amount"], sorted(row["why"])) for row in report.awaiting_approval]


def portions():
    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        found = [(one.state, one.wanted) for one in bills.portions(rx)]
    ledger.close()
    return found


def test_with_approval_required_a_run_proposes_ends_well_and_writes_nothing(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    month.world.log.clear()
    report = month.charge()
    assert (month.writes(), month.mapped("Bill"), report.applied, report.exit_code) == ([], [], {}, 0)
    assert asked(report) == [("EUR", month.total(), ["approval"])]
    assert report.awaiting_approval[0]["count"] == 2
    assert portions() == [("proposed", month.total())]
    again = month.charge()
    assert (again.writes, hashes(again)) == (0, hashes(report))
    compared = reconcile.fn()
    assert (compared.differences, [row["why"] for row in compared.explained]) == (0, ["awaiting approval"])
    assert compared.explained[0]["message"].endswith("; and 1 more")


def test_an_approved_change_set_is_sent_once_and_two_runs_afterwards_write_nothing(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    [change_set] = hashes(month.charge())
    report = approve(change_set, note="looks right")
    assert (report.approved, report.applied["charge.create"], report.exit_code) == (2, 2, 0)
    assert report.approved_money == [{"currency": "EUR", "count": 2, "amount": month.total(), "bills": 1}]
    assert sum(month.ours()) == month.total()
    assert len(month.mapped("BillLineItem")) == 2
    assert portions() == [("sent", month.total())]
    month.world.log.clear()
    for _ in range(2):
        after = month.charge()
        assert (after.writes, after.awaiting_approval) == (0, [])
    assert month.writes() == []
    assert reconcile.fn().differences == 0
    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        kept = approvals.get(rx, change_set)
    ledger.close()
    assert (kept.approved_by, kept.note) == ("ann", "looks right")


def test_a_hash_that_nobody_proposed_and_a_nameless_approval_are_refused(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    [change_set] = hashes(month.charge())
    with pytest.raises(SetupError, match="no run has proposed") as refusal:
        approve("0123456789abcdef")
    assert refusal.value.code == "MB-APPROVAL"
    with pytest.raises(SetupError, match="needs the name"):
        approve(change_set, by="  ")
    assert month.ours() == []


def test_approving_twice_sends_nothing_twice_and_names_the_first(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    [change_set] = hashes(month.charge())
    approve(change_set)
    month.world.log.clear()
    again = approve(change_set, by="bob")
    assert (again.approved, again.approved_by, again.writes, again.exit_code) == (0, "ann", 0, 0)
    assert again.notes == ["was approved by ann before; nothing is approved anew"]
    assert month.writes() == []


def test_a_bill_that_changed_since_is_not_sent_but_proposed_again(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    [first] = hashes(month.charge())
    month.recalculate("50", "7")
    report = approve(first)  # no run has seen the change: it is found right before the first write
    assert (report.writes, report.changed_since, month.ours()) == (0, 2, [])
    proposed = month.charge()
    assert asked(proposed) == [("EUR", 5700, ["approval"])]
    assert hashes(proposed) != [first]
    approve(*hashes(proposed))
    assert month.ours() == [700, 5000]


def test_a_change_set_that_a_later_run_replaced_is_refused(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    [first] = hashes(month.charge())
    month.recalculate("50", "7")
    month.charge()
    with pytest.raises(SetupError, match="is as it was proposed any more"):
        approve(first)
    assert month.ours() == []


def test_the_same_amounts_of_another_version_of_the_bill_are_another_thing_to_approve(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    month.recalculate("50", "7")
    [first] = hashes(month.charge())
    month.recalculate("50", "7", keep_ids=True)
    [second] = hashes(month.charge())
    assert first != second


def test_an_invoice_that_closed_since_takes_nothing_and_the_next_one_is_proposed(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    [first] = hashes(month.charge())
    month.close()
    report = approve(first)
    assert (report.writes, report.exit_code) == (0, 3)
    use_and_bill(month.world)
    proposed = month.charge()
    assert asked(proposed) == [("EUR", sum(map(month.total, month.bills)), ["approval"])]
    approve(*hashes(proposed))
    assert sum(month.ours()) == sum(map(month.total, month.bills))
    assert month.charge().quarantined == []


def test_what_is_not_in_the_approved_set_stays_proposed(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    [april] = hashes(month.charge())
    use_and_bill(month.world)
    both = month.charge()
    assert hashes(both) != [april]
    approve(april)
    assert sum(month.ours()) == month.total(month.bills[0])
    rest = month.charge()
    assert asked(rest) == [("EUR", month.total(month.bills[1]), ["approval"])]
    approve(*hashes(both))  # of both only May is left
    assert sum(month.ours()) == sum(map(month.total, month.bills))


def test_a_dry_run_shows_what_would_be_proposed_and_under_which_hash(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    dry = month.charge(dry_run=True)
    with pytest.raises(SetupError, match="no run has proposed"):
        approve(*hashes(dry))
    assert dry.awaiting_approval == month.charge().awaiting_approval


def test_the_gate_lifted_sends_what_was_proposed(open_sandbox, monkeypatch):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    month.charge()
    monkeypatch.setenv("METERBRIDGE_BILLS_APPROVAL", "off")
    assert month.charge().applied["charge.create"] == 2
    assert month.charge().writes == 0


def test_a_lost_ledger_takes_over_what_stands_and_only_proposes_what_seems_to_be_missing(open_sandbox, monkeypatch):
    month = BilledMonth(open_sandbox)
    gone = month.stop_before_a_line()
    monkeypatch.setenv("METERBRIDGE_BILLS_APPROVAL", "required")
    month.world.log.clear()
    report = month.charge()
    assert (month.writes(), report.intended["charge.adopt"]) == ([], 1)
    assert asked(report) == [("EUR", gone["amount"], ["approval"])]
    approve(*hashes(report))
    assert sum(month.ours()) == month.total()


def test_a_recalculated_bill_is_replaced_only_with_approval(open_sandbox, monkeypatch):
    month = BilledMonth(open_sandbox)
    before = month.ours()
    month.recalculate("50", "7")
    monkeypatch.setenv("METERBRIDGE_BILLS_APPROVAL", "required")
    report = month.charge()
    assert month.ours() == before
    assert asked(report) == [("EUR", 5700 - sum(before), ["approval"])]
    compared = reconcile.fn()
    assert (compared.differences, {row["why"] for row in compared.explained}) == (0, {"awaiting approval"})
    approve(*hashes(report))
    assert month.ours() == [700, 5000]
    assert (month.charge().writes, month.charge().awaiting_approval) == (0, [])


# --- caps, canary, older bills


def test_only_the_bill_above_the_cap_waits(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_MAX_PER_BILL="EUR=60")
    month.recalculate("50", "10.01")
    use_and_bill(month.world)
    month.recalculate("59", "1", bill=month.bills[1])
    report = month.charge()
    assert asked(report) == [("EUR", 6001, ["max_per_bill"])]
    assert list(report.awaiting_approval[0]["why"].values()) == ["60.01 EUR is above max_per_bill 60 EUR"]
    assert (month.ours(), report.exit_code) == ([100, 5900], 0)
    approve(*hashes(report))
    assert sum(month.ours()) == 12001


def test_a_run_above_its_cap_is_proposed_whole(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_MAX_TOTAL_PER_RUN="EUR=120")
    month.recalculate("50", "10.01")
    use_and_bill(month.world)
    month.recalculate("59", "1", bill=month.bills[1])
    report = month.charge()
    assert asked(report) == [("EUR", 12001, ["max_total_per_run"])]
    assert month.ours() == []
    approve(*hashes(report))
    assert sum(month.ours()) == 12001
    assert month.charge().writes == 0


def test_an_earlier_first_date_only_proposes_the_older_bills(open_sandbox, monkeypatch):
    month = BilledMonth(open_sandbox, METERBRIDGE_BILLS_SINCE="2026-04-02")
    april = month.bill
    assert month.ours() == []
    use_and_bill(month.world)
    month.charge()
    may = month.total(month.bills[1])
    assert sum(month.ours()) == may
    monkeypatch.setenv("METERBRIDGE_BILLS_SINCE", "2026-01-01")
    report = month.charge()
    assert asked(report) == [("EUR", month.total(april), ["older"])]
    assert sum(month.ours()) == may
    monkeypatch.setenv("METERBRIDGE_BILLS_SINCE", "2026-04-02")
    assert month.charge().awaiting_approval == []
    with pytest.raises(SetupError, match="is as it was proposed any more"):
        approve(*hashes(report))
    monkeypatch.setenv("METERBRIDGE_BILLS_SINCE", "2026-01-01")
    report = month.charge()
    approve(*hashes(report))
    assert sum(month.ours()) == may + month.total(april)
    monkeypatch.delenv("METERBRIDGE_BILLS_SINCE")
    assert month.charge().writes == 0
    month.recalculate("50", "7", bill=april)  # it is charged, so it is followed; and it stays an older one
    report = month.charge()
    assert asked(report) == [("EUR", 5700 - month.total(april), ["older"])]
    approve(*hashes(report))
    assert sum(month.ours()) == may + 5700


# --- the canary, on the many bills of the demo


def canary(open_sandbox, **more):
    return BilledMonth(open_sandbox, "demo", charge=False, METERBRIDGE_CANARY="3", **more)


def charged_bills(month):
    return len(month.mapped("Bill"))


def waiting_bills(report):
    return sum(row["bills"] for row in report.awaiting_approval)


def test_a_canary_goes_ahead_and_the_next_run_sends_the_rest(open_sandbox):
    month = canary(open_sandbox)
    first = month.charge()
    assert {why for row in first.awaiting_approval for why in row["why"]} == {"canary"}
    assert charged_bills(month) == 3
    second = month.charge()
    assert second.awaiting_approval == []
    assert charged_bills(month) > 3
    month.world.log.clear()
    assert (month.charge().writes, month.writes()) == (0, [])


def test_a_canary_that_was_set_aside_lets_only_the_next_ones_ahead(open_sandbox):
    month = canary(open_sandbox)
    month.world.switches.price_override = False
    first = month.charge()
    assert "MB-CHARGE-WRONG" in {code for code, _ in asides(first)}
    month.world.switches.price_override = True
    second = month.charge()
    assert waiting_bills(first) - waiting_bills(second) == 3
    assert {why for row in second.awaiting_approval for why in row["why"]} == {"canary"}
    before = charged_bills(month)
    assert month.charge().awaiting_approval == []
    assert charged_bills(month) > before


def test_what_waits_for_a_canary_can_be_approved(open_sandbox):
    month = canary(open_sandbox)
    [change_set] = hashes(month.charge())
    approve(change_set)
    assert charged_bills(month) > 3
    assert (month.charge().writes, month.charge().awaiting_approval) == (0, [])


# --- what people are shown


def run_command(*words):
    result = CliRunner().invoke(app, [*words, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_status_trace_and_quarantine_tell_what_awaits_approval(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, **REQUIRED)
    [change_set] = hashes(month.charge())
    code, status = run_command("status")
    [row] = status["awaiting_approval"]
    assert (code, row["change_set"], row["count"], row["amount"]) == (0, change_set, 2, month.total())
    assert row["why"] == {"approval": "bills_approval is required"}
    [listed] = run_command("quarantine", "list")[1]["awaiting_approval"]
    assert listed | {"age_seconds": 0} == row | {"age_seconds": 0}
    _, traced = run_command("trace", month.bill["id"])
    assert sum(one["amount"] for one in traced["awaiting_approval"]) == month.total()
    assert {one["change_set"] for one in traced["awaiting_approval"]} == {change_set}
    assert [one["state"] for one in traced["portions"]] == ["proposed"]
    for words in (["status"], ["trace", month.bill["id"]], ["quarantine", "list"]):
        assert change_set in CliRunner().invoke(app, words).stdout
    approve(change_set, note="as agreed")
    _, traced = run_command("trace", month.bill["id"])
    assert {(one["approved"]["by"], one["approved"]["note"]) for one in traced["charges"]} == {("ann", "as agreed")}
    assert run_command("status")[1]["awaiting_approval"] == []


# --- accounts_only and accounts_except


@pytest.mark.parametrize(
    "scope",
    [{"METERBRIDGE_ACCOUNTS_ONLY": "somebody-else"}, {"METERBRIDGE_ACCOUNTS_EXCEPT": "cust-single"}],
    ids=["not-among-only", "among-except"],
)
def test_a_customer_left_out_is_not_charged_and_is_once_it_is_let_in(open_sandbox, monkeypatch, scope):
    month = BilledMonth(open_sandbox, charge=False)
    for name, value in scope.items():
        monkeypatch.setenv(name, value)
    for how in ({}, {"ids": [month.bill["id"]]}, {"full": True}):
        report = month.charge(**how)
        assert (report.writes, month.ours()) == (0, [])
    assert reconcile.fn().differences == 0
    for name in scope:
        monkeypatch.delenv(name)
    assert month.charge().applied["charge.create"] == 2
    for name, value in scope.items():  # what stands is left alone, whatever becomes of the bill
        monkeypatch.setenv(name, value)
    before = month.ours()
    month.recalculate("50", "7")
    assert (month.charge().writes, month.ours(), reconcile.fn().differences) == (0, before, 0)
