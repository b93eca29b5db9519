"""Prefect's overhead is bounded: what grows with the site is the size of a batch, not the number of task runs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios import build
from meterbridge.settings import use_environment
from tasks import engine
from tasks.deliver import MOST_BATCHES, SUBSCRIPTION_WAVES
from tests.flows.conftest import environment

SITE = 600


def calls_of_tasks(flow: Callable[[], object]) -> Counter[str]:
    """How often each task is called in a flow; under Prefect each call is a task run."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == "call" and code.co_filename == engine.__file__:
            calls[frame.f_locals["function"].__name__] += 1

    sys.setprofile(count)
    try:
        flow()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.slow
def test_a_site_of_600_subscriptions_takes_a_bounded_number_of_task_runs_more_than_one_of_1(
    open_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    open_sandbox()
    one = calls_of_tasks(sync_subscriptions.fn)
    assert one.total() > 10
    with Sandbox(build("large", subscriptions=SITE)) as sandbox:
        use_environment(environment(sandbox, tmp_path / "large"))
        many = calls_of_tasks(sync_subscriptions.fn)
    grown = {name: many[name] - one[name] for name in many if many[name] != one[name]}
    assert set(grown) == {"deliver_batch"}
    # 600 accounts, 1,000 account plans and 1,600 mappings in batches of 500: 2 + 2 + 4, one each before.
    assert grown["deliver_batch"] == 8 - 3
    assert grown["deliver_batch"] <= MOST_BATCHES * len(SUBSCRIPTION_WAVES)
