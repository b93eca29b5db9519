"""The transport against scripted answers: what is sent, and what is done when no answer comes."""

import httpx
import pytest

from connectors.transport import Request, RetryPolicy
from meterbridge.errors import (
    OutcomeUnknown,
    RecordRefused,
    RetriableError,
)
from tests.contract.transport.conftest import LOST, READ, WRITE, Step, Vendor, answer, refusal


def test_a_request_goes_out_as_it_was_stored() -> None:
    vendor = Vendor(answer(200, {"invoice": {}}, chargebee_idempotency_replayed="true"))
    request = Request("POST", "/customers/a%2Fb%20%C3%A9?x=%5B1%5D", "a=%20+é", "text/x-test")
    got = vendor.transport().send(request, repeatable=True, headers={"chargebee-idempotency-key": "k1"})
    sent = vendor.received[0]
    assert sent.url.raw_path == b"/api/v2/customers/a%2Fb%20%C3%A9?x=%5B1%5D"
    assert sent.content == "a=%20+é".encode()
    assert sent.headers["content-type"] == "text/x-test"
    assert sent.headers["chargebee-idempotency-key"] == "k1"
    assert (got.status, got.replayed, got.json()) == (200, True, {"invoice": {}})


def test_a_replay_header_that_says_false_means_false() -> None:
    vendor = Vendor(answer(200, {}, chargebee_idempotency_replayed="false"))
    assert not vendor.transport().send(WRITE, repeatable=True).replayed


def test_the_date_header_gives_the_vendors_clock() -> None:
    vendor = Vendor(answer(200, {}, date="Thu, 01 Jan 2026 00:01:30 GMT"))
    transport = vendor.transport()
    assert transport.server_offset() is None
    got = transport.send(READ, repeatable=True)
    assert got.date is not None
    assert got.date.isoformat() == "2026-01-01T00:01:30+00:00"
    assert transport.server_offset() == 90.0


@pytest.mark.parametrize("step", LOST)
def test_lost_response_to_an_unkeyed_write_is_not_repeated(step: Step) -> None:
    vendor = Vendor(step)
    with pytest.raises(OutcomeUnknown) as caught:
        vendor.transport().send(WRITE, repeatable=False)
    assert caught.value.code == "MB-OUTCOME-UNKNOWN"
    assert len(vendor.received) == 1
    assert vendor.slept == []


@pytest.mark.parametrize("step", LOST)
def test_lost_response_to_a_keyed_write_is_repeated_unchanged(step: Step) -> None:
    vendor = Vendor(step, answer(200, {"invoice": {}}))
    vendor.transport().send(WRITE, repeatable=True, headers={"chargebee-idempotency-key": "k1"})
    first, second = vendor.received
    assert (first.url, first.content, first.headers["chargebee-idempotency-key"]) == (
        second.url,
        second.content,
        second.headers["chargebee-idempotency-key"],
    )


def test_a_keyed_write_that_stays_lost_is_unknown_not_retriable() -> None:
    vendor = Vendor(*[httpx.ReadTimeout] * 3)
    with pytest.raises(OutcomeUnknown):
        vendor.transport().send(WRITE, repeatable=True)
    assert len(vendor.received) == 3


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(httpx.ConnectError, id="then-unreachable"),
        pytest.param(answer(429, {"message": "x"}), id="then-throttled"),
        pytest.param(refusal(409, "invalid_state_for_request"), id="then-refused"),
        pytest.param(refusal(401, "api_authentication_failed"), id="then-locked-out"),
    ],
)
def test_a_write_once_lost_stays_unknown_whatever_comes_later(last: Step) -> None:
    vendor = Vendor(httpx.ReadTimeout, last)
    with pytest.raises(OutcomeUnknown):
        vendor.transport(RetryPolicy(attempts=2)).send(WRITE, repeatable=True)
    assert len(vendor.received) == 2


def test_a_replayed_refusal_settles_a_lost_write() -> None:
    vendor = Vendor(httpx.ReadTimeout, refusal(400, "param_wrong_value", chargebee_idempotency_replayed="true"))
    with pytest.raises(RecordRefused) as caught:
        vendor.transport().send(WRITE, repeatable=True)
    assert caught.value.replayed


# A page cut off inside is found by whoever parses it.
@pytest.mark.parametrize("step", [case for case in LOST if case.id != "200-cut-off"])
def test_a_lost_read_is_read_again(step: Step) -> None:
    vendor = Vendor(step, answer(200, {"invoice": {"id": "d1"}}))
    assert vendor.transport().send(READ, repeatable=True).json() == {"invoice": {"id": "d1"}}


@pytest.mark.parametrize(
    ("step", "code"),
    [(httpx.ReadTimeout, "MB-UNAVAILABLE"), (answer(200, "<html>"), "MB-ANSWER")],
    ids=["silent", "not-json"],
)
def test_a_read_that_stays_lost_is_retriable(step: Step, code: str) -> None:
    vendor = Vendor(step, step, step)
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(READ, repeatable=True)
    assert caught.value.code == code


@pytest.mark.parametrize("step", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_what_never_left_us_is_retried_and_then_retriable_even_for_an_unkeyed_write(step: Step) -> None:
    vendor = Vendor(step, step, step)
    with pytest.raises(RetriableError) as caught:
        vendor.transport().send(WRITE, repeatable=False)
    assert caught.value.code == "MB-UNAVAILABLE"
    assert len(vendor.received) == 3
