"""An account plan that another run ended at its present has ended, also where this run's clock is a moment behind."""

from datetime import timedelta

import pytest

from meterbridge.rules.histories import decide_through
from tests.unit.plan_world import ACCOUNTS, APR, FEB, NOW, PLANS, case, codes, item, known, sub, writes

JUST = timedelta(milliseconds=4)


@pytest.mark.parametrize("ahead", [-JUST, timedelta(0), JUST, timedelta(seconds=1.9)])
def test_an_end_of_a_moment_ago_is_not_moved_to_this_runs_clock(ahead):
    plans = [known("api.1", end=FEB), known("api.2", FEB, NOW + ahead)]
    decided = decide_through(case(sub("cancelled", cancelled_at=FEB), plans=plans), [], ACCOUNTS, PLANS)
    assert writes(decided) == []
    assert codes(decided) == [("MB-PLAN-BILLED", "s1.api.2")]


@pytest.mark.parametrize("ahead", [-JUST, timedelta(0), JUST, timedelta(seconds=1.9)])
def test_what_left_the_catalog_a_moment_ago_ends_once(ahead):
    gone = sub(items=(item("nowhere"),))
    decided = decide_through(case(gone, plans=[known("nowhere.1", end=NOW + ahead)]), [], ACCOUNTS, PLANS)
    assert writes(decided) == []


def test_an_end_to_come_is_moved_as_ever():
    decided = decide_through(case(sub("cancelled", cancelled_at=FEB), plans=[known(end=APR)]), [], ACCOUNTS, PLANS)
    assert [(action, end) for action, _, _, end in writes(decided)] == [("update", FEB)]
