"""A run tells its money: applied, proposed, waiting and set aside, each once and to the minor unit."""

import json
from pathlib import Path

import pytest

from flows.approve_bills import approve_bills
from flows.undo_run import undo_run
from meterbridge.cli.show_report import report_table
from meterbridge.rules.money import major
from meterbridge.settings import load_settings
from meterbridge.staging.database import opened
from tasks.review import change_set_page, moves_of
from tests.flows.billed_month import BilledMonth

NOTHING = {"applied": {}, "proposed": {}, "waiting": {}, "set_aside": {}}


def eur(minor):
    return {"EUR": major(minor, "EUR")}


def test_a_dry_run_proposes_what_the_run_applies_and_a_second_run_nothing(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    total = eur(month.total())
    assert month.charge(dry_run=True).money == NOTHING | {"proposed": total}
    assert month.charge().money == NOTHING | {"applied": total}
    again = month.charge()
    assert (again.money, again.outcome.sentence) == (NOTHING, "Completed: nothing to do")


def test_a_line_that_is_replaced_counts_with_its_difference(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    month.recalculate("50", "7")
    month.charge()
    month.recalculate("50", "9.25", keep_ids=True)
    assert month.charge().money == NOTHING | {"applied": {"EUR": "2.25"}}
    assert sum(month.ours()) == 5925


def test_what_is_taken_over_is_no_money_of_the_run(open_sandbox):
    month = BilledMonth(open_sandbox)
    gone = month.stop_before_a_line()
    report = month.charge()
    assert (report.intended["charge.adopt"], report.applied["charge.create"]) == (1, 1)
    assert report.money["applied"] == eur(gone["amount"])


def test_what_awaits_approval_is_proposed_and_applied_by_the_approval_alone(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_BILLS_APPROVAL="required")
    total = eur(month.total())
    asked = month.charge()
    assert (asked.money, asked.outcome.name) == (NOTHING | {"proposed": total}, "Awaiting approval")
    approved = approve_bills.fn(asked.awaiting_approval[0]["change_set"], "ann")
    assert (approved.money, approved.outcome.name) == (NOTHING | {"applied": total}, "Completed")


def test_an_undo_takes_the_money_off_again(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    undone = undo_run.fn(month.charge().flow_run_id, "ann")
    assert undone.money["applied"] == eur(-month.total())
    assert undone.outcome.message.startswith(f"2 lines taken off, {major(-month.total(), 'EUR')} EUR")


def test_money_set_aside_is_not_applied(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    with month.world.lock:
        month.world.m3ter.save(month.world.m3ter.bills, month.bill | {"billTotal": 1}, month.bill)
    report = month.charge()
    assert (report.money["applied"], report.money["set_aside"]) == ({}, eur(month.total()))
    assert (report.outcome.name, report.exit_code) == ("Set aside", 3)


@pytest.mark.parametrize("full", [False, True])
def test_the_change_set_names_customer_product_amount_and_invoice_the_largest_first(open_sandbox, full):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_AUTO_CLOSE_DAYS="30")
    report = month.charge(dry_run=not full)
    customer = month.draft["customer_id"]
    with opened(Path(report.staging)) as file:
        moves = sorted(moves_of(file), key=lambda move: -move.amount)
        page = change_set_page(file, report, load_settings().chargebee_site)
    assert sum(move.amount for move in moves) == month.total()
    assert {(move.customer_id, move.invoice_id) for move in moves} == {(customer, month.draft["id"])}
    assert all(move.closes_at for move in moves)
    rows = [line for line in page.splitlines() if "<br>" in line]
    assert [major(move.amount, "EUR") in row for move, row in zip(moves, rows, strict=True)] == [True, True]
    assert f"/admin-console/customers/{customer})" in rows[0]
    assert "And m3ter's notes of what stands where:" in page
    assert "external_mapping" not in page


def test_the_terminal_answers_before_it_counts(open_sandbox, capsys):
    month = BilledMonth(open_sandbox, charge=False)
    with month.world.lock:
        month.world.m3ter.save(month.world.m3ter.bills, month.bill | {"billTotal": 1}, month.bill)
    report = month.charge()
    assert json.loads(report.model_dump_json())["money"] == NOTHING | {"set_aside": eur(month.total())}
    report_table(report)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == report.outcome.sentence
    assert lines[1:4] == ["Money", f"{'':9}  {'EUR':>5}", f"set aside  {major(month.total(), 'EUR')}"]
    assert lines[4] == "What to do"
    assert lines[6] == "  → Recalculate the bill in m3ter, then retry."
    assert month.bill["id"] in lines[7]
    assert lines.index("sync_bills") > 7


def test_a_dry_run_lists_its_writes_and_their_sum(open_sandbox, capsys):
    month = BilledMonth(open_sandbox, charge=False)
    report_table(month.charge(dry_run=True))
    shown = capsys.readouterr().out
    assert shown.count(month.draft["id"]) == 2
    assert f"In all: 2 charges, {report_mappings(month)}{major(month.total(), 'EUR')} EUR" in shown


def report_mappings(month):
    """The mappings of one bill and its two lines, as the sums name them."""
    return f"{1 + len(month.bill['lineItems'])} mappings created, "
