"""The decision to try again, as a table."""

import pytest

from connectors.retry import Fate, RetryPolicy

POLICY = RetryPolicy(attempts=5, first_delay=0.5, max_delay=3.0, retry_after_cap=60.0)


@pytest.mark.parametrize(
    ("fate", "repeatable", "again"),
    [
        pytest.param(Fate.NOT_SENT, False, True, id="what-never-left-may-leave-again"),
        pytest.param(Fate.NOT_EXECUTED, False, True, id="a-throttled-unkeyed-write-may-be-sent-again"),
        pytest.param(Fate.LOST, False, False, id="a-lost-unkeyed-write-is-not-repeated"),
        pytest.param(Fate.LOST, True, True, id="a-lost-keyed-write-is-repeated"),
        pytest.param(Fate.REFUSED, True, False, id="a-refusal-stands"),
        pytest.param(Fate.STOPPED, True, False, id="wrong-credentials-stay-wrong"),
        pytest.param(Fate.ANSWERED, True, False, id="an-answer-ends-it"),
    ],
)
def test_only_what_is_safe_is_tried_again(fate: Fate, repeatable: bool, again: bool) -> None:
    pause = POLICY.pause(fate, attempt=1, repeatable=repeatable, jitter=0.5)
    assert (pause is not None) is again


@pytest.mark.parametrize(
    ("attempt", "jitter", "pause"),
    [
        pytest.param(1, 0.0, 0.0, id="full-jitter-begins-at-zero"),
        pytest.param(1, 0.5, 0.25, id="half-of-the-first-delay"),
        pytest.param(2, 0.5, 0.5, id="doubled"),
        pytest.param(3, 0.5, 1.0, id="doubled-again"),
        pytest.param(4, 0.5, 1.5, id="never-above-half-of-the-maximum"),
        pytest.param(5, 0.5, None, id="the-fifth-try-is-the-last"),
    ],
)
def test_pauses_double_up_to_the_maximum_and_end(attempt: int, jitter: float, pause: float | None) -> None:
    assert POLICY.pause(Fate.NOT_EXECUTED, attempt=attempt, repeatable=False, jitter=jitter) == pause


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        pytest.param(7.0, 7.25, id="waits-as-long-as-asked-and-a-little-more"),
        pytest.param(60.0, 60.25, id="the-cap-itself-is-waited-for"),
        pytest.param(60.5, None, id="beyond-the-cap-nobody-comes-back-early"),
    ],
)
def test_retry_after_is_obeyed(retry_after: float, pause: float | None) -> None:
    got = POLICY.pause(Fate.NOT_EXECUTED, attempt=1, repeatable=False, jitter=0.5, retry_after=retry_after)
    assert got == pause


def test_one_attempt_means_no_second() -> None:
    assert RetryPolicy(attempts=1).pause(Fate.NOT_SENT, attempt=1, repeatable=True, jitter=0.5) is None
