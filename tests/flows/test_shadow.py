"""``sync bills --shadow``: compare beside m3ter's own integration, and leave no trace at either vendor."""

import os

from flows.shadow_bills import shadow_bills
from meterbridge.cli.show_shadow import shadow_table
from meterbridge.ledger import bills, intents, mappings, quarantine
from meterbridge.sandbox.chargebee.invoice_rows import with_totals
from meterbridge.settings import load_settings
from tasks.report_shadow import summary
from tasks.services import open_ledger
from tests.flows.billed_month import BilledMonth
from tests.flows.test_native_integration import switch_on


def ledger_rows():
    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        found = (
            bills.all(rx),
            bills.portions(rx),
            intents.open_rows(rx),
            quarantine.list(rx),
            list(mappings.all(rx, "charge")),
        )
    ledger.close()
    return found


def by_their_own_hand(month):
    """What another sender put on the draft: one line per bill line, other texts, dates to the next period's start."""
    draft = month.draft
    added = []
    for number, line in enumerate(month.bill["lineItems"]):
        cents = int((line["convertedSubtotal"] * 100).to_integral_value("ROUND_HALF_UP"))
        added.append(
            draft["line_items"][0]
            | {
                "id": f"li_native_{number}",
                "entity_type": "adhoc",
                "entity_id": None,
                "description": f"{line['description']}",
                "date_from": 1_772_323_200,
                "date_to": 1_775_001_600,
                "unit_amount": cents,
                "quantity": 1,
                "amount": cents,
            }
        )
    return month.save_invoice(draft | {"line_items": [*draft["line_items"], *added]})


def test_lines_of_another_sender_are_equal_and_nothing_is_written(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    switch_on(month.sandbox)
    by_their_own_hand(month)
    before = ledger_rows()
    month.world.log.clear()
    report = shadow_bills.fn()
    assert month.writes() == []
    assert [e for e in month.world.log if e.vendor == "m3ter" and e.method != "GET" and "token" not in e.path] == []
    assert ledger_rows() == before
    assert (report.exit_code, report.differences, report.native) == (0, 0, ["their own"])
    [bill] = report.bills
    assert bill["counts"] == {"equal": 2, "different": 0, "missing": 0, "extra": 0}
    assert report.totals == {"EUR": {"bills": 1, "wanted": month.total(), "found": month.total(), "difference": 0}}
    assert "1 of 1 bills are equal line by line" in summary(report)


def test_another_amount_a_missing_line_and_one_too_many_are_told_apart_on_a_closed_invoice(open_sandbox, capsys):
    month = BilledMonth(open_sandbox, charge=False)
    month.recalculate("10", "5")
    by_their_own_hand(month)
    draft = month.draft
    lines = [line for line in draft["line_items"] if line["id"] != "li_native_1"]
    changed = [
        line | ({"amount": 1_001, "unit_amount": 1_001} if line["id"] == "li_native_0" else {}) for line in lines
    ]
    twin = next(line for line in changed if line["id"] == "li_native_0") | {"id": "li_extra", "amount": 42}
    other = twin | {"id": "li_other", "amount": 7, "date_from": 1_772_400_000, "date_to": 1_772_500_000}
    month.save_invoice(with_totals(draft | {"line_items": [*changed, twin, other]}))
    final = month.close()
    report = shadow_bills.fn()
    [bill] = report.bills
    assert (bill["wanted"], bill["found"], report.exit_code) == (1_500, 1_001 + 42 + 7, 3)
    assert bill["counts"] == {"equal": 0, "different": 2, "missing": 0, "extra": 1}
    assert {line["invoice_id"] for line in bill["lines"]} == {final["id"]}
    assert "## Lines that differ" in summary(report)
    shadow_table(report)
    printed = capsys.readouterr().out
    assert "DIFFERS" in printed
    assert "10.01 EUR" in printed


def test_our_own_charges_are_equal_too_and_a_bill_without_lines_there_is_missing(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    report = shadow_bills.fn()
    assert (report.bills[0]["counts"]["missing"], report.exit_code) == (2, 3)
    month.charge()
    report = shadow_bills.fn()
    assert (report.bills[0]["counts"]["equal"], report.exit_code) == (2, 0)
    assert {line["evidence"] for line in report.bills[0]["lines"]} == {"m3ter's mapping"}


def test_without_a_first_bill_date_the_windows_bills_are_compared(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    del os.environ["METERBRIDGE_BILLS_SINCE"]
    assert len(shadow_bills.fn().bills) == 1
    assert shadow_bills.fn(since=month.world.clock.now() + 86_400.0).bills == []
