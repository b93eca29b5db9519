"""A test site that travels with Time Machine: its dates count from there, forward and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.drain_inbox import drain_inbox
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.cli.main import app
from meterbridge.errors import RetriableError
from meterbridge.ledger import watermarks
from meterbridge.sandbox import Sandbox
from tests.flows.conftest import OpenSandbox
from tests.flows.test_drain_inbox import event, ledger_at, tell
from tests.flows.test_read_up_to_now import ITEM, cancel, hide_last_event, intervals, post, resize, resize_version

DAY = 86_400
MACHINE = "/time_machines/delorean"
API = "api-pro-EUR-Monthly"


def afresh(sandbox: Sandbox, days: int) -> int:
    """The site starts afresh so many days from now; the epoch second there."""
    at = sandbox.world.clock.now() + days * DAY
    post(sandbox, f"{MACHINE}/start_afresh", genesis_time=at)
    return at


def forward(sandbox: Sandbox, days: float) -> int:
    at = sandbox.world.chargebee.clock.now() + int(days * DAY)
    post(sandbox, f"{MACHINE}/travel_forward", destination_time=at)
    return at


def subscribe(sandbox: Sandbox) -> int:
    """A new customer and subscription; when it started."""
    post(sandbox, "/customers", id="cust-new", company="New Ltd", email="new@new.example")
    made = post(sandbox, "/customers/cust-new/subscription_for_items", id="sub-new", **{ITEM: API})
    return int(made["subscription"]["started_at"])


def shown(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds")


@pytest.mark.parametrize("days", [-180, 400], ids=["back", "ahead"])
def test_a_site_in_another_time_is_synced_as_any_other(open_sandbox: OpenSandbox, tmp_path: Path, days: int) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    before = len(intervals(sandbox))
    genesis = afresh(sandbox, days)
    started = subscribe(sandbox)
    report = sync_subscriptions.fn()
    assert report.site_time is not None
    assert abs(datetime.fromisoformat(report.site_time).timestamp() - genesis) < 60
    assert sorted(intervals(sandbox))[0 if days < 0 else -1] == (started, None)
    assert len(intervals(sandbox)) == before + 1
    assert sync_subscriptions.fn().writes == 0
    arrived = forward(sandbox, 40)  # one renewal
    changed = resize(sandbox, 3, "sub-new")
    assert changed >= arrived
    report = sync_subscriptions.fn()
    assert (report.applied["account_plan.replace"], report.seen_next_run) == (1, 0)
    assert (changed, None) in intervals(sandbox)
    assert sync_subscriptions.fn().writes == 0
    with ledger_at(tmp_path).read() as rx:
        mark = watermarks.get(rx, "sync_subscriptions")
    assert mark is not None
    assert abs(mark.position - (changed - 300)) < 60
    forward(sandbox, 1)
    ended = cancel(sandbox, "sub-new")
    sync_subscriptions.fn()
    assert (changed, ended) in intervals(sandbox)
    assert sync_subscriptions.fn().writes == 0


def test_changes_on_the_way_count_from_their_own_instants(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    afresh(sandbox, 30)
    started = subscribe(sandbox)
    sync_subscriptions.fn()
    forward(sandbox, 3)
    first = resize(sandbox, 2, "sub-new")
    forward(sandbox, 3)
    second = resize(sandbox, 3, "sub-new")
    sync_subscriptions.fn()
    assert intervals(sandbox) == [(started, first), (first, second), (second, None)]


def test_a_webhook_of_a_travelling_site_is_drained(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    afresh(sandbox, 100)
    subscribe(sandbox)
    sync_subscriptions.fn()
    forward(sandbox, 2)
    version = resize_version(sandbox, 2, "sub-new")
    tell(tmp_path, event(1, "subscription", "sub-new", version=version))
    report = drain_inbox.fn()
    assert report is not None
    assert (report.applied["account_plan.replace"], report.site_time is None) == (1, False)


def test_young_is_young_by_the_site_s_time(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    afresh(sandbox, 100)
    subscribe(sandbox)
    sync_subscriptions.fn()
    forward(sandbox, 2)
    ended = cancel(sandbox, "sub-new")
    hide_last_event(sandbox)
    assert sync_subscriptions.fn().seen_next_run == 1
    forward(sandbox, 1)
    assert sync_subscriptions.fn().applied == {"account_plan.update": 1}
    assert [end for _, end in intervals(sandbox)] == [ended]


def test_nothing_is_decided_while_the_site_is_on_its_way(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    sandbox.world.switches.time_travel_seconds = 60
    afresh(sandbox, 100)
    with pytest.raises(RetriableError) as failure:
        sync_subscriptions.fn()
    assert failure.value.code == "MB-TIME-TRAVEL"
    sandbox.world.advance(61)
    assert sync_subscriptions.fn().exit_code == 0


def test_a_site_that_starts_afresh_again_is_read_whole(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    afresh(sandbox, 100)
    sync_subscriptions.fn()
    genesis = afresh(sandbox, -100)
    sync_subscriptions.fn()
    with ledger_at(tmp_path).read() as rx:
        mark = watermarks.get(rx, "sync_subscriptions")
    assert mark is not None
    assert abs(mark.position - genesis) < 360


def test_a_site_that_does_not_travel_says_nothing_of_it(open_sandbox: OpenSandbox) -> None:
    open_sandbox("single")
    assert sync_subscriptions.fn().site_time is None


@pytest.mark.parametrize("days", [None, 100])
def test_doctor_says_where_in_time_the_site_is(open_sandbox: OpenSandbox, days: int | None) -> None:
    sandbox = open_sandbox("single")
    at = None if days is None else afresh(sandbox, days)
    found = CliRunner().invoke(app, ["doctor", "--json"])
    checks = {row["check"]: row for row in json.loads(found.stdout)["checks"]}
    row = checks["chargebee time"]
    assert row["verdict"] == ("ok" if at is None else "warning")
    assert at is None or shown(at) in row["words"]
