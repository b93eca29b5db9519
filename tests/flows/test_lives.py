"""Every life a subscription can lead, end to end on the sandbox: the account plans that m3ter holds in the end.

Each life is played with a sync after each day, and with one only after the last. Several
changes between two runs are rebuilt from events, so both must end alike; and so must the
lives that are only told of by webhooks, day by day or all at once and the newest first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.lives_rig import WAYS, Played, play
from tests.flows.lives_rows import WORLDS, lives
from tests.unit.test_account_plans import TABLE

LIVES = lives()
EACH_DAY = ("after each day", "at once", "told each day")
PLAYED = [
    pytest.param(world, way, marks=[] if world == "plain" or way == "only at the end" else [pytest.mark.variant])
    for world in WORLDS
    for way in WAYS
    if world == "plain" or way in ("after each day", "only at the end")
]


def as_written(plans: list[str], expected: tuple[str, ...]) -> list[str]:
    """The rows found, with ``now`` where the row says so: an instant that depends on when the sync ran."""
    if not any(" now" in row for row in expected):
        return sorted(plans)
    return sorted(re.sub(r"2026-[-T:.\d]+(\+00:00)?", "now", row) for row in plans)


@pytest.fixture
def own_environment() -> Iterator[None]:
    """Put back after the test what a play sets."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.each_case
@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize(("world", "way"), PLAYED)
def test_each_life_ends_in_the_account_plans_that_it_should(tmp_path: Path, world: str, way: str) -> None:
    """All lives of a world are played together: one test, so that no two processes play the same world."""
    rows = [life for life in LIVES if life.world == world]
    played = play(tmp_path / "home", world, rows, way)
    daily = way in EACH_DAY
    plans = {life.name: life.plans if daily else life.once for life in rows}
    aside = {life.name: life.set_aside if daily else life.set_aside_once for life in rows}
    assert {name: as_written(played.plans[name], plans[name]) for name in plans} == {
        name: sorted(expected) for name, expected in plans.items()
    }
    assert {name: sorted(set(played.set_aside[name])) for name in aside} == {
        name: sorted(expected) for name, expected in aside.items()
    }
    assert played.problems == [], "something is written twice, overlaps or ends otherwise than Chargebee says"
    assert played.syncs >= (6 if way == "after each day" else 4)
    if world == "plain":
        look_at_accounts(played)


def look_at_accounts(played: Played) -> None:
    """A new name reaches the account; an owner is the parent as long as it is named."""
    accounts = played.accounts
    assert accounts["renamed"]["name"] == "Another Name"
    assert accounts["owner-named"]["parentAccountId"] == accounts["owner-named.payer"]["id"]
    assert "parentAccountId" not in accounts["owner-named-and-taken-back"]


def test_each_row_of_the_rule_s_table_has_a_life() -> None:
    rows = {row.id for row in TABLE}
    covered = {name for life in LIVES for name in life.covers}
    assert rows - covered == set()
    assert covered - rows == set()
