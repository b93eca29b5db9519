"""The watch over the law of money tells what breaks it, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from meterbridge.ledger.ledger import Ledger
from meterbridge.rules import bills
from meterbridge.settings import load_settings
from tasks.services import open_ledger
from tests.flows.test_law_of_money import overdrawn, owned
from tests.money_law import Watch, watching


@contextmanager
def present_ledger() -> Iterator[Ledger]:
    """The ledger that the environment names now."""
    ledger = open_ledger(load_settings())
    try:
        yield ledger
    finally:
        ledger.close()


def without_the_law(monkeypatch):
    """Take the gate and the cancelling within the bill out: each portion is sent for itself."""
    monkeypatch.setattr(bills, "keep", lambda _, decisions: list(decisions))
    monkeypatch.setattr(bills, "offsets", lambda *_: [])


def test_a_charge_beyond_the_bill_s_total_is_told(open_sandbox, monkeypatch):
    month = overdrawn(open_sandbox)
    without_the_law(monkeypatch)
    with watching(Watch(month.world, present_ledger)) as watch:
        month.charge()
    assert sum(owned(month).values()) == month.total() + 100
    [told] = watch.broken
    assert f"bill {month.bill['id']} (APPROVED) wants {month.total()}" in told
    assert "/add_charge" in told
    assert "100 too much" in told


@pytest.mark.parametrize("settings", [{}, {"METERBRIDGE_NEGATIVE": "promotional_credit"}], ids=["set-aside", "credit"])
def test_with_the_law_nothing_is_told(open_sandbox, settings):
    month = overdrawn(open_sandbox, **settings)
    with watching(Watch(month.world, present_ledger)) as watch:
        month.charge()
        amounts = [line["convertedSubtotal"] for line in month.bill["lineItems"]]
        month.recalculate(amounts[0] + Decimal(5), *amounts[1:])
        month.charge()
    assert (watch.broken, watch.booked > 1) == ([], True)


def test_what_a_bill_has_too_much_since_it_went_down_is_no_write_of_ours(open_sandbox):
    month = overdrawn(open_sandbox, METERBRIDGE_NEGATIVE="promotional_credit")
    with watching(Watch(month.world, present_ledger)) as watch:
        month.charge()
        month.world.switches.update({"draft_line_ids_on_close": "renew"})
        month.close()
        month.recalculate(*("0.01" for _ in month.bill["lineItems"]))
        month.charge()
    assert watch.broken == []
