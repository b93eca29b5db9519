"""A full read brings every row, whatever the lists do meanwhile; so do the incremental runs after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.reconcile import reconcile
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox import Sandbox, World
from meterbridge.sandbox.scenarios import build
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.sandbox.server import Sandbox as Server
from meterbridge.settings import use_environment
from meterbridge.staging.database import opened
from tasks import extract_whole
from tasks.report import RunReport
from tests.flows.conftest import environment

MANY = 600
HOUR = 3_600
API = "api-pro-EUR-Monthly"


@pytest.fixture
def large(open_sandbox: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """600 subscriptions, several a second; read over windows from the third page on."""
    monkeypatch.setattr(extract_whole, "PAGES_BEFORE_WINDOWS", 2)
    assert open_sandbox  # puts the environment back
    with Server(build("large", subscriptions=MANY)) as running:
        use_environment(environment(running, tmp_path))
        yield running


def staged(report: RunReport) -> set[str]:
    with opened(Path(report.staging), read_only=True) as file:
        return {row["id"] for row in file.rows("select id from stg_subscriptions")}


def listed(world: World) -> list[str]:
    """The requests for subscriptions that were no look-ups."""
    return [one.path for one in world.log if one.path.startswith("/api/v2/subscriptions?")]


def strip(world: World, resource: str, field: str, every: int) -> None:
    """Some rows have no such field, as old ones at the vendor."""
    table = getattr(world.chargebee, resource)
    for number, row in enumerate(list(table.rows())):
        if number % every == 0:
            table.put(row["id"], {k: v for k, v in row.items() if k != field}, world.clock.now_ms())


def ids(world: World) -> set[str]:
    return {row["id"] for row in world.chargebee.subscriptions.rows()}


@pytest.mark.parametrize("windows", ["1", "4", "16"])
def test_every_row_is_read_by_one_list_and_by_several(
    large: Sandbox, windows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERBRIDGE_LOAD_WINDOWS", windows)
    strip(large.world, "subscriptions", "updated_at", 7)
    report = sync_subscriptions.fn(dry_run=True)
    assert staged(report) == ids(large.world)
    assert report.missing == 0


def test_rows_of_one_second_rows_without_created_at_and_rows_that_move_are_all_read(large: Sandbox) -> None:
    world = large.world
    second = min(row["created_at"] for row in world.chargebee.subscriptions.rows()) + 100
    for row in list(world.chargebee.subscriptions.rows())[250:450]:
        world.chargebee.subscriptions.put(row["id"], row | {"created_at": second}, world.clock.now_ms())
    strip(world, "subscriptions", "created_at", 11)
    world.switches.update({"list_repeats": 3, "list_moves": 5})
    assert staged(sync_subscriptions.fn(dry_run=True)) == ids(world)


def test_a_row_that_its_window_hides_is_found_by_the_count(large: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    world = large.world
    hidden = [row["id"] for row in world.chargebee.subscriptions.rows()][300]
    # A window that is asked for too late: what is hidden by it is what a silent filter would hide.
    plain = extract_whole.between

    def later(low: int, high: int) -> str:
        return plain(at + 1, max(high, at + 2)) if low <= at else plain(low, high)

    at = int(world.chargebee.subscriptions.get(hidden)["created_at"])  # type: ignore[index]
    monkeypatch.setattr(extract_whole, "between", later)
    assert staged(sync_subscriptions.fn(dry_run=True)) == ids(world)


def test_rows_created_while_the_pages_are_read_come_with_this_run_or_the_next(large: Sandbox) -> None:
    world = large.world
    record, made = world.record, []

    def recording(vendor: str, method: str, path: str, key: str | None) -> Any:
        if path.startswith("/api/v2/subscriptions") and len(made) < 20:
            made.append(f"new-{len(made)}")
            put_customer(world, f"c-{made[-1]}", "New Ltd", "EUR")
            put_subscription(
                world, SubscriptionSeed(made[-1], f"c-{made[-1]}", (API,), world.facts["start"]), invoice=False
            )
        return record(vendor, method, path, key)

    world.record = recording  # type: ignore[method-assign]
    first = staged(sync_subscriptions.fn(dry_run=True))
    world.record = record  # type: ignore[method-assign]
    world.advance(HOUR)
    assert made
    assert first | staged(sync_subscriptions.fn(dry_run=True)) == ids(world)


# --- a chain of runs ------------------------------------------------------------------------


def told_of(world: World) -> set[str]:
    """Every subscription that an event tells of: counted beside the sync, from the events alone."""
    rows = (event["content"].get("subscription") for event in world.chargebee.events.rows())
    return {row["id"] for row in rows if row and row["subscription_items"][0]["item_price_id"] == API}


def with_account_plan(world: World) -> set[str]:
    found = {row["externalId"] for row in world.m3ter.mappings.rows() if row["m3terEntity"] == "AccountPlan"}
    return {external.removesuffix(f"-{API}") for external in found}


# Lists and events lag by less than hold-back and overlap together: ten minutes.
CHAINS: dict[str, dict[str, Any]] = {
    "still": {},
    "lists-lag": {"list_lag_seconds": 500},
    "rows-move": {"list_moves": 2},
    "rows-come-twice": {"list_repeats": 4},
    "all-of-it": {"list_lag_seconds": 500, "list_moves": 2, "list_repeats": 4},
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_runs_misses_nothing_that_events_tell_of(open_sandbox: Callable[..., Sandbox], name: str) -> None:
    world = open_sandbox("empty").world
    for batch in range(4):
        for number in range(30):
            who = f"{batch}-{number:02d}"
            put_customer(world, f"c-{who}", "Ltd", "EUR")
            put_subscription(
                world, SubscriptionSeed(f"s-{who}", f"c-{who}", (API,), world.facts["start"]), invoice=False
            )
        if batch == 0:
            strip(world, "subscriptions", "updated_at", 3)
            world.advance(2 * HOUR)
        world.switches.update(CHAINS[name])
        world.advance(900)
        report = sync_subscriptions.fn()
        assert report.missing == 0
    world.advance(2 * HOUR)
    assert sync_subscriptions.fn().missing == 0
    assert with_account_plan(world) == told_of(world)
    assert len(told_of(world)) == 120


def test_an_import_that_no_event_and_no_window_shows_is_found_at_night_and_synced_by_a_full_read(
    open_sandbox: Callable[..., Sandbox],
) -> None:
    world = open_sandbox().world
    sync_subscriptions.fn()
    world.advance(2 * HOUR)
    put_customer(world, "c-silent", "Silent Ltd", "EUR")
    with world.clock.held((world.facts["start"] - 86_400) * 1000):
        put_subscription(world, SubscriptionSeed("s-silent", "c-silent", (API,), world.facts["start"]), invoice=False)
    world.chargebee.events.remove(list(world.chargebee.events.rows())[-1]["id"], world.clock.now_ms())
    world.advance(HOUR)
    assert sync_subscriptions.fn().writes == 0

    night = reconcile.fn()

    assert [(row["disagreement"], row["key"]) for row in night.drift] == [("missing", ["s-silent", API])]
    assert night.exit_code == 3
    assert sync_subscriptions.fn(full=True).writes == 4
    assert reconcile.fn().drift == []
