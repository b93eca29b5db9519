"""Events in any order, doubled and lost, and one scheduled run, end where a clean full sync ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from flows.drain_inbox import drain_inbox
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.ledger import inbox
from meterbridge.ledger.ledger import Ledger
from meterbridge.sandbox import Sandbox, World
from meterbridge.sandbox.chargebee import entry
from meterbridge.sandbox.scenarios import build
from meterbridge.sandbox.snapshot import comparable
from meterbridge.sandbox.wire import HttpRequest
from meterbridge.settings import use_environment
from tests.flows.conftest import OpenSandbox, environment
from tests.receiver.conftest import AUTH, receiving, settings

WAVES = 4
HOUR = 3_600
JITTER = 600
FORM = {"content-type": "application/x-www-form-urlencoded"}


def call(world: World, path: str, **fields: Any) -> None:
    """One request to the imitated Chargebee, at the instant that the clock is held at."""
    reply = entry.answer(world, HttpRequest("POST", f"/api/v2{path}", "", FORM, urlencode(fields).encode()))
    assert reply.status == 200, reply.body


def life(number: int, renames: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What happens to one customer and subscription; the last change of a subscription is the one that counts.

    Only one change of each starts a new account plan: with two, how many account plans there are would
    depend on whether anybody looked in between, for webhooks as for any two scheduled runs.
    """
    customer, subscription = f"/customers/cust-{number:06d}", f"/subscriptions/sub-{number:06d}"
    for name in range(renames):
        yield customer, {"company": f"Company {number} called {name}"}
    match number % 4:
        case 0:
            yield f"{subscription}/cancel_for_items", {}
        case 1:
            yield f"{subscription}/cancel_for_items", {"end_of_term": "true"}
            yield f"{subscription}/remove_scheduled_cancellation", {}
        case 2:
            price = {0: "api-pro-EUR-Monthly", 1: "api-pro-USD-Monthly", 2: "support-EUR-Monthly"}[number % 3]
            item = {"subscription_items[item_price_id][0]": price, "subscription_items[quantity][0]": 2}
            yield f"{subscription}/update_for_items", item
        case 3:
            yield f"{subscription}/cancel_for_items", {"end_of_term": "true"}


def wave(world: World, subscriptions: int, renames: int, which: int) -> None:
    """One part of everybody's life, at instants that are the same in every world."""
    begin = world.facts["start"] + (which + 1) * HOUR
    world.advance_to(begin)
    with world.lock:
        for number in range(subscriptions):
            steps = list(life(number, renames))
            share = -(-len(steps) // WAVES)
            for step, (path, fields) in enumerate(steps[which * share : (which + 1) * share]):
                with world.clock.held((begin + step) * 1000 + number):
                    call(world, path, **fields)


def drain(home: Path, most: int) -> int:
    """Drain at most so many batches; how many events wait then."""
    for _ in range(most):
        if drain_inbox.fn() is None:
            break
    ledger = Ledger.open(None, home=home, connection="default")
    with ledger.read() as rx:
        found = inbox.backlog(rx).waiting
    ledger.close()
    return found


def after_webhooks(sandbox: Sandbox, home: Path, subscriptions: int, renames: int) -> Any:
    world = sandbox.world
    world.switches.update(
        {"webhook_loss_percent": 5, "webhook_duplicate_percent": 10, "webhook_jitter_seconds": JITTER}
    )
    ledger = Ledger.open(None, home=home, connection="default")
    with receiving(ledger, settings(home)) as client:
        login = {"basic_auth_username": AUTH[0], "basic_auth_password": AUTH[1]}
        call(world, "/webhook_endpoints", name="ours", url=f"{client.base_url}/webhooks/chargebee", **login)
        for which in range(WAVES):
            wave(world, subscriptions, renames, which)
            world.advance(JITTER // 2)
            assert world.webhooks.wait(600)
            drain(home, 3)  # the rest of the wave arrives after some of it was drained
            world.advance(JITTER + 1)
            assert world.webhooks.wait(600)
            assert drain(home, 1_000) == 0
    ledger.close()
    world.advance_to(world.facts["start"] + (WAVES + 2) * HOUR)
    assert sync_subscriptions.fn().missing == 0
    return comparable(world)["m3ter"]


def after_a_full_sync(sandbox: Sandbox, subscriptions: int, renames: int) -> Any:
    world = sandbox.world
    for which in range(WAVES):
        wave(world, subscriptions, renames, which)
    world.advance_to(world.facts["start"] + (WAVES + 2) * HOUR)
    sync_subscriptions.fn(full=True)
    return comparable(world)["m3ter"]


def converge(open_sandbox: OpenSandbox, tmp_path: Path, subscriptions: int, renames: int) -> tuple[int, Any]:
    """How many events there were, and the counts of their deliveries, after asserting that both ends are the same."""
    assert open_sandbox  # puts the environment back
    with Sandbox(build("large", subscriptions=subscriptions)) as clean:
        use_environment(environment(clean, tmp_path / "clean"))
        sync_subscriptions.fn()
        expected = after_a_full_sync(clean, subscriptions, renames)
    with Sandbox(build("large", subscriptions=subscriptions)) as stormy:
        use_environment(environment(stormy, tmp_path / "stormy"))
        sync_subscriptions.fn()
        before = len(stormy.world.chargebee.events)
        found = after_webhooks(stormy, tmp_path / "stormy", subscriptions, renames)
        events, counts = len(stormy.world.chargebee.events) - before, stormy.world.webhooks.counts
    for resource, rows in expected.items():
        assert found[resource] == rows, resource
    assert len(expected["account_plans"]) > subscriptions
    assert counts["delivered"] == events - counts["lost"] + counts["duplicated"]
    return events, counts


def test_a_small_storm_ends_where_a_full_sync_ends(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    events, counts = converge(open_sandbox, tmp_path, subscriptions=24, renames=4)
    assert events >= 24 * 5
    assert counts["lost"] >= 1
    assert counts["duplicated"] >= 3


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_20000_events_end_where_a_full_sync_ends(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    events, counts = converge(open_sandbox, tmp_path, subscriptions=1_000, renames=19)
    assert events >= 20_000
    assert 0.04 < counts["lost"] / events < 0.06
    assert 0.08 < counts["duplicated"] / events < 0.12
