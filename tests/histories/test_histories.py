"""A handful of histories in each test run; ``make histories SEEDS=1-500`` plays as many as one has time for.

One again, for a closer look: ``METERBRIDGE_TEST_SEED=17 pytest -q -s tests/histories``, or
``python -m tests.histories --seed 17 -v``, and with ``--only cust-3`` a single customer's life.
"""

from __future__ import annotations

import os

import pytest

from tests.histories.drawn import SETTINGS, SWITCHES, draw
from tests.histories.history import History
from tests.histories.quick import quick

COVERED = {
    4: {"METERBRIDGE_NO_PENDING_INVOICE=unbilled", "sweep", "undo_run", "retry_aside", "mark_bill", "pause", "resume"},
    13: {"METERBRIDGE_BILLS_APPROVAL=required", "METERBRIDGE_CANARY=1", "approve_set", "undo_run", "try_out", "pause"},
}
"""What each seed is there for, by settings drawn and by moves and acts that happen in it."""
ASKED = [int(seed) for seed in os.environ.get("METERBRIDGE_TEST_SEED", "").split()]
# One in each pipeline run, the other before a release: each takes a minute.
SEEDS = ASKED or [4, pytest.param(13, marks=pytest.mark.drill)]


APART = ("restore", "move_away", "credit_note")
"""Played by ``make histories``: with them these seeds take another course than the one that they are there for."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_ends_with_both_books_in_order(seed: int) -> None:
    with quick():
        history = History(seed, without=APART)
        wrong = history.play()
    again = f"again: .venv/bin/python -m tests.histories --seed {seed} -v"
    assert not wrong, "\n".join([*history.story[-60:], *wrong, again])
    assert COVERED.get(seed, set()) <= {*history.drawn.told(), *history.happened}


def test_every_value_of_every_setting_and_switch_is_drawn_by_some_of_a_hundred_seeds() -> None:
    drawn = {told for seed in range(1, 101) for told in draw(seed, {}).told()}
    possible = {f"{name}={value}" for name, values in {**SETTINGS, **SWITCHES}.items() for value in values}
    assert possible - drawn == set()
