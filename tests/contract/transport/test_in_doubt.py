"""A duplicate that comes while the first call with its key still runs: its refusal proves nothing about the write."""

import pytest

from connectors.retry import RetryPolicy
from meterbridge.errors import OutcomeUnknown, RecordRefused, Throttled
from tests.contract.transport.conftest import WRITE, Vendor, answer, refusal

KEY = {"chargebee-idempotency-key": "k1"}
IN_PROGRESS = (409, "invalid_state_for_request")
LOCKED = (429, "lock_timeout")


@pytest.mark.parametrize(("status", "code"), [IN_PROGRESS, LOCKED])
def test_after_a_lost_answer_it_is_asked_again_under_the_same_key(status: int, code: str) -> None:
    vendor = Vendor(answer(504, {}), refusal(status, code), refusal(status, code), answer(200, {"made": 1}))
    got = vendor.transport(RetryPolicy(attempts=5)).send(WRITE, repeatable=True, headers=KEY)
    assert got.json() == {"made": 1}
    assert len({str(one.headers) for one in vendor.received}) == 1


@pytest.mark.parametrize(("status", "code"), [IN_PROGRESS, LOCKED])
def test_a_write_in_doubt_is_unknown_when_that_does_not_end_and_says_what_was_answered(status: int, code: str) -> None:
    vendor = Vendor(*[refusal(status, code) for _ in range(3)])
    with pytest.raises(OutcomeUnknown) as caught:
        vendor.transport(RetryPolicy(attempts=3)).send(WRITE, repeatable=True, headers=KEY, in_doubt=True)
    assert (caught.value.status, len(vendor.received)) == (status, 3)


def test_a_first_try_that_is_refused_is_refused_at_once() -> None:
    vendor = Vendor(refusal(*IN_PROGRESS))
    with pytest.raises(RecordRefused) as caught:
        vendor.transport().send(WRITE, repeatable=True, headers=KEY)
    assert (caught.value.status, len(vendor.received)) == (409, 1)


def test_other_refusals_and_replayed_ones_settle_a_write_in_doubt() -> None:
    replayed = {"chargebee_idempotency_replayed": "true"}
    for step in (
        refusal(400, "param_wrong_value"),
        refusal(404, "resource_not_found"),
        refusal(*IN_PROGRESS, **replayed),
    ):
        with pytest.raises(RecordRefused):
            Vendor(step).transport().send(WRITE, repeatable=True, headers=KEY, in_doubt=True)


def test_a_rate_limit_is_no_sign_of_a_call_at_work() -> None:
    vendor = Vendor(*[refusal(429, "api_request_limit_exceeded") for _ in range(2)])
    with pytest.raises(Throttled):
        vendor.transport(RetryPolicy(attempts=2)).send(WRITE, repeatable=True, headers=KEY, in_doubt=True)
