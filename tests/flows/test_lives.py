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
BY_NAME = {life.name: life for life in LIVES}
PLAYED = [
    (world, way) for world in WORLDS for way in WAYS if world == "plain" or way in ("after each day", "only at the end")
]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Played]]:
    """What was played so far, by world and way."""
    before = dict(os.environ)
    yield Worlds(tmp_path_factory.mktemp("lives"))
    os.environ.clear()
    os.environ.update(before)


class Worlds(dict[tuple[str, str], Played]):
    """Plays a world when it is asked for the first time."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home

    def __missing__(self, key: tuple[str, str]) -> Played:
        name, way = key
        rows = [life for life in LIVES if life.world == name]
        home = self._home / f"{name} {way}".replace(" ", "-")
        self[key] = play(home, name, rows, way)
        return self[key]


def as_written(plans: list[str], expected: tuple[str, ...]) -> list[str]:
    """The rows found, with ``now`` where the row says so: an instant that depends on when the sync ran."""
    if not any(" now" in row for row in expected):
        return plans
    return [re.sub(r"2026-[-T:.\d]+(\+00:00)?", "now", row) for row in plans]


@pytest.mark.parametrize(
    ("name", "way"), [(life.name, way) for life in LIVES for world, way in PLAYED if world == life.world]
)
def test_a_life_ends_in_the_account_plans_that_it_should(
    worlds: dict[tuple[str, str], Played], name: str, way: str
) -> None:
    life = BY_NAME[name]
    played = worlds[life.world, way]
    expected = life.plans if way in EACH_DAY else life.once
    assert sorted(as_written(played.plans[name], expected)) == sorted(expected)
    set_aside = life.set_aside if way in EACH_DAY else life.set_aside_once
    assert sorted(set(played.set_aside[name])) == sorted(set_aside)


@pytest.mark.parametrize(("world", "way"), PLAYED)
def test_nothing_is_written_twice_overlaps_or_ends_otherwise_than_chargebee_after_any_sync(
    worlds: dict[tuple[str, str], Played], world: str, way: str
) -> None:
    played = worlds[world, way]
    assert played.problems == []
    assert played.syncs >= (6 if way == "after each day" else 4)


def test_each_row_of_the_rule_s_table_has_a_life() -> None:
    rows = {row.id for row in TABLE}
    covered = {name for life in LIVES for name in life.covers}
    assert rows - covered == set()
    assert covered - rows == set()


def test_a_new_name_reaches_the_account(worlds: dict[tuple[str, str], Played]) -> None:
    for way in WAYS:
        assert worlds["plain", way].accounts["renamed"]["name"] == "Another Name"


def test_an_owner_is_the_parent_as_long_as_it_is_named(worlds: dict[tuple[str, str], Played]) -> None:
    for way in WAYS:
        accounts = worlds["plain", way].accounts
        assert accounts["owner-named"]["parentAccountId"] == accounts["owner-named.payer"]["id"]
        assert "parentAccountId" not in accounts["owner-named-and-taken-back"]
