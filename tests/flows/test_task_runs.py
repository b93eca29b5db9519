"""Prefect's overhead is bounded: what grows with the site is the size of a batch, not the number of task runs."""

from __future__ import annotations

import cProfile
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios import build
from meterbridge.settings import use_environment
from tasks.deliver import MOST_BATCHES, SUBSCRIPTION_WAVES
from tests.flows.conftest import environment


def tasks() -> dict[CodeType, str]:
    """What :func:`tasks.engine.task` wrapped, by its code."""
    wrapped = (
        getattr(each, "__wrapped__", None)
        for name, module in list(sys.modules.items())
        if name.startswith("tasks.")
        for each in vars(module).values()
    )
    return {function.__code__: function.__name__ for function in wrapped if hasattr(function, "__code__")}


def calls_of_tasks(flow: Callable[[], object]) -> Counter[str]:
    """How often each task is called in a flow; under Prefect each call is a task run."""
    profile = cProfile.Profile()
    profile.runcall(flow)
    names = tasks()
    return Counter({names[entry.code]: entry.callcount for entry in profile.getstats() if entry.code in names})


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("site", "batches"),
    [
        # 600 accounts, 1,000 account plans and 1,600 mappings in batches of 500.
        pytest.param(600, 2 + 2 + 4, id="600"),
        # 5,000, 8,334 and 13,334: a sixteenth of a kind each where that is more than 500.
        pytest.param(5_000, 10 + 16 + 16, id="5,000", marks=pytest.mark.drill),
    ],
)
def test_a_large_site_takes_a_bounded_number_of_task_runs_more_than_one_subscription(
    open_sandbox: Callable[..., Sandbox], tmp_path: Path, site: int, batches: int
) -> None:
    open_sandbox()
    one = calls_of_tasks(sync_subscriptions.fn)
    assert one.total() > 10
    with Sandbox(build("large", subscriptions=site)) as sandbox:
        use_environment(environment(sandbox, tmp_path / "large"))
        many = calls_of_tasks(sync_subscriptions.fn)
    grown = {name: many[name] - one[name] for name in many if many[name] != one[name]}
    assert set(grown) == {"deliver_batch"}
    more = batches - len(SUBSCRIPTION_WAVES)
    assert grown["deliver_batch"] in (more, more + 1)  # a batch holds whole accounts, so the last may be one more
    assert batches <= MOST_BATCHES * len(SUBSCRIPTION_WAVES)
