"""A process takes of a vendor's budget what it is likely to use."""

import logging
import time

import pytest

from meterbridge.ledger import allowances
from meterbridge.ledger.ledger import Ledger, moment
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


@pytest.mark.parametrize("jump", [600.0, 3_600.0, 86_400.0 * 365])
def test_a_clock_that_was_set_back_keeps_nobody_waiting(ledger: Ledger, jump: float) -> None:
    with ledger.write() as tx:  # what a process reserved while the clock showed so much more
        allowances.hold(tx, "chargebee", moment(tx) + jump)
        tx.commit()
    began = time.monotonic()

    AllowancePacer(ledger, "chargebee", RATE, window=60).wait()

    assert time.monotonic() - began < 5
    assert slots_ahead(ledger) < 5


def test_a_hold_of_the_vendor_is_kept_to_the_longest_there_is(ledger: Ledger) -> None:
    AllowancePacer(ledger, "chargebee", RATE, window=60).hold(120)
    assert 119 < slots_ahead(ledger) <= 121


def test_a_long_wait_is_logged_with_its_reason(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with ledger.write() as tx:
        allowances.hold(tx, "chargebee", moment(tx) + 40)
        tx.commit()
    with caplog.at_level(logging.INFO, logger="tasks.services"):
        AllowancePacer(ledger, "chargebee", RATE, window=60).wait()

    assert slept[0] == pytest.approx(40, abs=2)
    (told,) = [one for one in caplog.records if "budget" in one.message]
    assert vars(told)["reason"] == "other processes use the budget, or hold it"
    assert vars(told)["seconds"] == pytest.approx(40, abs=2)
