"""Bills of nothing are seen in pages: they cost no request each, and are charged once they are something."""

from decimal import Decimal

import pytest

from flows.reconcile import reconcile
from tests.flows.billed_month import BilledMonth, asides, read_one_by_one

MANY = 30


@pytest.fixture
def month(open_sandbox):
    return BilledMonth(open_sandbox, charge=False)


def save(month, name, *amounts, **more):
    """A bill like the month's, under another id and with these amounts."""
    state = month.world.m3ter
    lines = [
        line | {"id": state.ids.uuid("line", name, line["id"]), "convertedSubtotal": Decimal(a), "subtotal": Decimal(a)}
        for line, a in zip(month.bill["lineItems"], amounts, strict=False)
    ]
    total = sum((line["convertedSubtotal"] for line in lines), Decimal(0))
    bill = month.bill | {"id": state.ids.uuid("Bill", name), "lineItems": lines, "billTotal": total, **more}
    with month.world.lock:
        return state.save(state.bills, bill, state.bills.get(bill["id"]))


def read_ids(month):
    return {path.rsplit("/", 1)[-1] for path in read_one_by_one(month)}


def test_many_of_them_cost_a_page_and_what_may_charge_is_read_by_its_id(month):
    whole = month.total()
    for number in range(MANY):
        save(month, f"zero-{number}", "0", "0.000")
    cancelling = save(month, "cancelling", "5", "-5")
    month.world.log.clear()
    report = month.charge()
    assert read_ids(month) == {month.bill["id"], cancelling["id"]}
    assert report.extracted["bills"] == MANY + 2
    assert (sum(month.ours()), asides(report)) == (whole, [])
    month.world.log.clear()
    assert (month.charge().writes, read_ids(month)) == (0, set())
    zero = save(month, "zero-7", "3", "0", lastCalculatedDate="2026-04-13T00:00:00.000Z", version=9)
    month.world.log.clear()
    month.charge()
    assert (read_ids(month), sum(month.ours())) == ({zero["id"]}, whole + 300)
    assert reconcile.fn().differences == 0


def test_few_of_them_are_read_by_their_ids(month):
    ids = {save(month, f"zero-{number}", "0")["id"] for number in range(3)}
    month.world.log.clear()
    month.charge()
    assert read_ids(month) == ids | {month.bill["id"]}
