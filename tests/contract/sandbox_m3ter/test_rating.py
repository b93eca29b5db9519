"""How the imitated m3ter prices units, and which periods it bills."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from meterbridge.sandbox.m3ter.periods import period_until
from meterbridge.sandbox.rating import price
from tests.contract.sandbox_m3ter.conftest import BANDS


@pytest.mark.parametrize(
    ("units", "cumulative", "amount"),
    [
        pytest.param("100", True, "10", id="first-band-full"),
        pytest.param("120", True, "16", id="tiered-10-plus-5-plus-1"),
        pytest.param("120", False, "11", id="volume-120-at-second-rate-plus-fixed"),
        pytest.param("0", True, "0", id="nothing"),
    ],
)
def test_bands(units: str, cumulative: bool, amount: str) -> None:
    assert price(Decimal(units), BANDS, cumulative=cumulative)[0] == Decimal(amount)


@pytest.mark.parametrize(
    ("last", "frequency", "every", "epoch", "start", "end"),
    [
        pytest.param("2026-03-31", "MONTHLY", 1, "2022-01-01", "2026-03-01", "2026-04-01", id="calendar-month"),
        pytest.param("2026-04-08", "MONTHLY", 1, "2025-11-10", "2026-02-10", "2026-03-10", id="anniversary-not-yet"),
        pytest.param("2026-04-09", "MONTHLY", 1, "2025-11-10", "2026-03-10", "2026-04-10", id="anniversary-complete"),
        pytest.param("2026-02-27", "MONTHLY", 1, "2025-12-31", "2026-01-31", "2026-02-28", id="short-month"),
        pytest.param("2026-03-31", "MONTHLY", 3, "2022-01-01", "2026-01-01", "2026-04-01", id="quarter"),
        pytest.param("2026-01-12", "WEEKLY", 1, "2022-01-04", "2026-01-06", "2026-01-13", id="week"),
    ],
)
def test_cycle(last: str, frequency: str, every: int, epoch: str, start: str, end: str) -> None:
    found = period_until(date.fromisoformat(last), frequency, every, date.fromisoformat(epoch))
    assert [day.isoformat() for day in found[:2]] == [start, end]
