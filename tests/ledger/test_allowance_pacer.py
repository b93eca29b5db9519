"""A process takes of a vendor's budget what it is likely to use."""

from meterbridge.ledger import allowances
from meterbridge.ledger.ledger import Ledger
from tasks.services import AllowancePacer

RATE = 160.0


def slots_ahead(ledger: Ledger) -> float:
    """How long the next process would wait for its first request, in seconds."""
    with ledger.write() as tx:
        first = allowances.lease(tx, "chargebee", 1, RATE)
        tx.commit()
    return first - ledger.now()


def test_a_run_of_few_requests_leaves_the_budget_to_the_next_one(ledger: Ledger) -> None:
    pacer = AllowancePacer(ledger, "chargebee", RATE)
    for _ in range(10):
        pacer.wait()
    assert slots_ahead(ledger) <= 10 / RATE


def test_a_long_run_leases_a_second_at_once(ledger: Ledger) -> None:
    pacer = AllowancePacer(ledger, "chargebee", RATE)
    for _ in range(10 + 20 + 40 + 80 + 1):
        pacer.wait()
    assert slots_ahead(ledger) > 1.5 / 16
