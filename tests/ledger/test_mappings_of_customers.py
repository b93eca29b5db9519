"""A run of named records asks for their customers' mappings alone."""

from __future__ import annotations

from meterbridge.ledger import mappings
from meterbridge.ledger.ledger import Ledger
from tests.ledger.conftest import OpenLedger


def plan(subscription: str, customer: str, *, active: bool = True) -> mappings.Mapping:
    state = {"subscription_id": subscription, "customer_id": customer}
    key = (subscription, "api-pro", "1")
    return mappings.Mapping("account_plan", key, f"ap-{subscription}", "fp", customer, state, active)


def put(ledger: Ledger, *rows: mappings.Mapping) -> None:
    with ledger.write() as tx:
        mappings.put(tx, *rows)
        tx.commit()


def found(ledger: Ledger, customers: set[str], subscriptions: set[str]) -> list[str]:
    with ledger.read() as rx:
        return [row.key[0] for row in mappings.of_customers(rx, "account_plan", customers, subscriptions)]


def test_account_plans_come_by_customer_and_by_subscription(ledger: Ledger) -> None:
    """A subscription that moved to another customer still has its account plan under the old one."""
    put(ledger, plan("sub-1", "acme"), plan("sub-2", "acmé / söhne"), plan("sub-moved", "old"), plan("sub-4", "old"))
    assert found(ledger, {"acme"}, set()) == ["sub-1"]
    assert found(ledger, {"acmé / söhne"}, {"sub-moved", "sub-unknown"}) == ["sub-2", "sub-moved"]
    assert found(ledger, set(), set()) == []


def test_history_and_other_kinds_and_connections_stay_out(open_ledger: OpenLedger) -> None:
    ledger, other = open_ledger(), open_ledger("other")
    put(ledger, plan("sub-1", "acme", active=False))
    put(ledger, mappings.Mapping("account", ("acme",), "a-1", "fp", "acme", {"currency": "EUR"}))
    put(other, plan("sub-2", "acme"))
    assert found(ledger, {"acme"}, {"sub-1", "sub-2"}) == []
