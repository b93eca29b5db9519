"""The watch over the law of money tells what breaks it, and nothing else."""

from decimal import Decimal

import pytest

from meterbridge.rules import bills
from meterbridge.sandbox.scenarios.chargebee_seed import put_customer
from tasks.services import ledger_in_use
from tests.flows.billed_month import BilledMonth
from tests.flows.test_law_of_money import overdrawn, owned
from tests.money_law import Watch, watching


def without_the_law(monkeypatch):
    """Take the gate and the cancelling within the bill out: each portion is sent for itself."""
    monkeypatch.setattr(bills, "keep", lambda _, decisions: list(decisions))
    monkeypatch.setattr(bills, "offsets", lambda *_: [])


def test_a_charge_beyond_the_bill_s_total_is_told(open_sandbox, monkeypatch):
    month = overdrawn(open_sandbox)
    without_the_law(monkeypatch)
    with watching(Watch(month.world, ledger_in_use)) as watch:
        month.charge()
    assert sum(owned(month).values()) == month.total() + 100
    [told] = watch.broken
    assert f"bill {month.bill['id']} (APPROVED) wants {month.total()}" in told
    assert "/add_charge" in told
    assert "100 too much" in told


@pytest.mark.parametrize("settings", [{}, {"METERBRIDGE_NEGATIVE": "promotional_credit"}], ids=["set-aside", "credit"])
def test_with_the_law_nothing_is_told(open_sandbox, settings):
    month = overdrawn(open_sandbox, **settings)
    with watching(Watch(month.world, ledger_in_use)) as watch:
        month.charge()
        amounts = [line["convertedSubtotal"] for line in month.bill["lineItems"]]
        month.recalculate(amounts[0] + Decimal(5), *amounts[1:])
        month.charge()
    assert (watch.broken, watch.booked > 1) == ([], True)


def goes_to_another_payer(month):
    """The charged bill's invoice is another customer's by now, the next draft is not; the bill goes up."""
    month.charge()
    month.close()
    month.charge()
    with month.world.lock:
        put_customer(month.world, "cust-other", "Other Ltd", "EUR")
        final = max((row for row in month.invoices if month.ours(row)), key=lambda row: row["date"])
    month.save_invoice(final, customer_id="cust-other")
    month.pass_days(25)
    lines = month.bill["lineItems"]
    month.recalculate(*(line["convertedSubtotal"] + Decimal(3) for line in lines))


@pytest.mark.parametrize("lawless", [False, True], ids=["with-the-law", "without"])
def test_a_charge_beside_money_of_another_payer_is_told(open_sandbox, monkeypatch, lawless):
    month = BilledMonth(open_sandbox, charge=False)
    with watching(Watch(month.world, ledger_in_use)) as watch:
        goes_to_another_payer(month)
        if lawless:
            without_the_law(monkeypatch)
        month.charge()
    assert [("cust-other" in told, "while" in told) for told in watch.broken] == ([(True, True)] if lawless else [])


def test_what_a_bill_has_too_much_since_it_went_down_is_no_write_of_ours(open_sandbox):
    month = overdrawn(open_sandbox, METERBRIDGE_NEGATIVE="promotional_credit")
    with watching(Watch(month.world, ledger_in_use)) as watch:
        month.charge()
        month.world.switches.update({"draft_line_ids_on_close": "renew"})
        month.close()
        month.recalculate(*("0.01" for _ in month.bill["lineItems"]))
        month.charge()
    assert watch.broken == []
