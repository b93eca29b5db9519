"""A handful of histories in each test run; ``make histories SEEDS=1-500`` plays as many as one has time for.

One again, for a closer look: ``METERBRIDGE_TEST_SEED=17 pytest -q -s tests/histories``, or
``python -m tests.histories --seed 17 -v``, and with ``--only cust-3`` a single customer's life.
"""

from __future__ import annotations

import os

import pytest

from tests.histories.history import History
from tests.histories.quick import quick

SEEDS = tuple(map(int, os.environ.get("METERBRIDGE_TEST_SEED", "10 12").split()))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_ends_with_both_books_in_order(seed: int) -> None:
    with quick():
        history = History(seed)
        wrong = history.play()
    again = f"again: .venv/bin/python -m tests.histories --seed {seed} -v"
    assert not wrong, "\n".join([*history.story[-60:], *wrong, again])
