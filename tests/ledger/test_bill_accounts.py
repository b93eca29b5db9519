"""The ledger's sum for a bill, and the ceiling that no charge may lift it above; on both databases."""

from __future__ import annotations

import pytest

from meterbridge.ledger import bill_accounts, bills, mappings, releases
from meterbridge.ledger.ledger import Ledger

BILL, OTHER = 'b"-1', 'b"-10'


def charge(bill: str, name: str, amount: int, *, kind: str = "charge", active: bool = True, carried: int = 0):
    part = {"bill_id": "b-9", "subscription_id": "s", "amount": carried}
    state = {"bill_id": bill, "subscription_id": "s", "amount": amount, "carried": [part] if carried else []}
    return mappings.Mapping(kind, (bill, "s", name), f"li-{name}", "", "inv", state, active=active)


def test_what_is_noted_for_a_bill_and_for_no_other(ledger: Ledger) -> None:
    with ledger.write() as tx:
        mappings.put(
            tx,
            charge(BILL, "a", 500),
            charge(BILL, "lowered", 300, carried=200),
            charge(BILL, "gone", 900, active=False),
            charge(BILL, "credit", -100, kind="credit"),
            charge(OTHER, "a", 7_000),
            charge(BILL[:-1], "a", 7_000),
            charge(BILL.upper(), "a", 7_000),
        )
        bills.put_portion(tx, bills.Portion(BILL, "s2", "EUR", 40, "settled"))
        bills.put_portion(tx, bills.Portion(BILL, "s3", "EUR", 1_000, "waiting"))
        tx.commit()
    with ledger.read() as rx:
        assert bill_accounts.noted(rx, BILL) == 500 + 300 + 200 - 100 + 40


@pytest.mark.parametrize(("amount", "carried", "above"), [(500, 0, 0), (501, 0, 1), (400, 100, 0), (400, 101, 1)])
def test_a_charge_may_fill_the_ceiling_and_not_exceed_it(ledger: Ledger, amount: int, carried: int, above: int) -> None:
    payload = {"bill_id": BILL, "ceiling": 1_000}
    wanted = {"carried": [{"amount": carried}]}
    with ledger.write() as tx:
        mappings.put(tx, charge(BILL, "a", 500))
        assert bill_accounts.above(tx, 1, amount, payload, wanted) == above
        assert bill_accounts.above(tx, 1, 10_000, {"bill_id": BILL}, {}) == 0, "one of before there were ceilings"


def test_releases_add_up_and_stay(ledger: Ledger) -> None:
    with ledger.write() as tx:
        for amount, note in ((40, "agreed"), (60, "and more")):
            releases.add(tx, releases.Release(BILL, amount, "EUR", "Ann", note))
        releases.add(tx, releases.Release(OTHER, 5, "USD", "Ann", "another"))
        tx.commit()
    with ledger.read() as rx:
        assert [(one.amount, one.note) for one in releases.of(rx, BILL)] == [(40, "agreed"), (60, "and more")]
        assert sorted(releases.sums(rx)) == [(BILL, "EUR", 100), (OTHER, "USD", 5)]
