"""The transport against scripted answers: throttling, back-off, and when no further try may start."""

import httpx
import pytest

from meterbridge.errors import (
    OutcomeUnknown,
    RetriableError,
    Throttled,
)
from tests.contract.transport.conftest import WRITE, Vendor, answer, refusal


def test_retry_after_is_obeyed_and_moves_everyone() -> None:
    vendor = Vendor(refusal(429, "api_request_limit_exceeded", Retry_After="7"), answer(200, {}))
    transport = vendor.transport()
    transport.send(WRITE, repeatable=False)
    assert vendor.slept == [8.0]
    assert vendor.holds == [7.0]
    assert (transport.traffic.requests, transport.traffic.throttled, transport.traffic.waited_seconds) == (2, 1, 8.0)


def test_retry_after_as_a_date_counts_from_the_vendors_own_clock() -> None:
    dates = {"Retry_After": "Thu, 01 Jan 2099 00:00:20 GMT", "Date": "Thu, 01 Jan 2099 00:00:10 GMT"}
    vendor = Vendor(answer(503, {"message": "x", "api_error_code": "site_not_ready"}, **dates), answer(200, {}))
    vendor.transport().send(WRITE, repeatable=False)
    assert vendor.slept == [11.0]
    assert vendor.holds == [10.0]


def test_a_longer_retry_after_than_we_wait_for_ends_the_tries_and_is_passed_on() -> None:
    vendor = Vendor(answer(429, {"message": "x"}, Retry_After="3600"))
    with pytest.raises(Throttled) as caught:
        vendor.transport().send(WRITE, repeatable=False)
    assert (caught.value.code, caught.value.retry_after) == ("MB-THROTTLED", 3600.0)
    assert vendor.slept == []
    assert vendor.holds == [60.0]


def test_a_lock_on_one_record_slows_nobody_else() -> None:
    vendor = Vendor(refusal(429, "lock_timeout"), answer(200, {}))
    vendor.transport().send(WRITE, repeatable=False)
    assert vendor.holds == []
    assert vendor.slept == [1.0]


@pytest.mark.parametrize("status", [429, 503])
def test_not_executed_writes_are_repeated_and_then_retriable(status: int) -> None:
    steps = [refusal(status, "internal_temporary_error") for _ in range(3)]
    vendor = Vendor(*steps)
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(WRITE, repeatable=False)
    assert len(vendor.received) == 3
    assert caught.value.code == ("MB-THROTTLED" if status == 429 else "MB-UNAVAILABLE")


def test_no_try_starts_after_resend_until_back_off_included() -> None:
    vendor = Vendor(httpx.ReadTimeout, answer(200, {}))
    with pytest.raises(OutcomeUnknown):
        vendor.transport().send(WRITE, repeatable=True, resend_until=1001.0)
    assert len(vendor.received) == 1
    assert vendor.slept == []


def test_a_try_before_resend_until_still_goes() -> None:
    vendor = Vendor(httpx.ReadTimeout, answer(200, {}))
    vendor.transport().send(WRITE, repeatable=True, resend_until=1001.1)
    assert len(vendor.received) == 2


def test_waiting_for_a_slot_counts_against_resend_until() -> None:
    vendor = Vendor(answer(200, {}))
    vendor.seconds_per_wait = 5.0
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(WRITE, repeatable=True, resend_until=1004.0)
    assert vendor.received == []
    assert "chargebee POST /invoices/d1/add_charge: the time to send it had run out" in caught.value.message
