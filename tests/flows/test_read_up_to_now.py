"""What the lists show is synced by the next run; what they show late is read again; nothing is guessed in between."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import httpx
import pytest

from flows.drain_inbox import drain_inbox
from flows.sync_subscriptions import sync_subscriptions
from meterbridge import sandbox as imitation
from meterbridge.ledger import inbox, quarantine
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.table import Row
from tests.flows.conftest import OpenSandbox
from tests.flows.test_drain_inbox import event, ledger_at, tell

ITEM = "subscription_items[item_price_id][0]"
QUANTITY = "subscription_items[quantity][0]"


def post(sandbox: Sandbox, address: str, **data: object) -> Row:
    with httpx.Client(base_url=sandbox.chargebee_url, auth=(imitation.CHARGEBEE_API_KEY, "")) as http:
        answer = http.post(address, data={name: str(value) for name, value in data.items()})
    answer.raise_for_status()
    found: Row = answer.json()
    return found


def cancel(sandbox: Sandbox, subscription: str = "sub-single") -> int:
    """Cancel at once; when Chargebee says it ended."""
    return int(post(sandbox, f"/subscriptions/{subscription}/cancel_for_items")["subscription"]["cancelled_at"])


def resize(sandbox: Sandbox, quantity: int, subscription: str = "sub-single") -> int:
    """Another quantity; the epoch second of the change."""
    wanted = {ITEM: "api-pro-EUR-Monthly", QUANTITY: quantity}
    changed = post(sandbox, f"/subscriptions/{subscription}/update_for_items", **wanted)
    return int(changed["subscription"]["updated_at"])


def resize_version(sandbox: Sandbox, quantity: int, subscription: str) -> int:
    """As :func:`resize`; the version of the record after the change."""
    resize(sandbox, quantity, subscription)
    return int((sandbox.world.chargebee.subscriptions.get(subscription) or {})["resource_version"])


def intervals(sandbox: Sandbox) -> list[tuple[int, int | None]]:
    """Starts and ends of all account plans, epoch seconds."""
    rows = sandbox.world.m3ter.account_plans.rows()
    return sorted((_epoch(row["startDate"]), _epoch(row["endDate"]) if row.get("endDate") else None) for row in rows)


def _epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def hide_last_event(sandbox: Sandbox) -> Row:
    """Events come late: the last one is not shown yet; returns it."""
    events = sandbox.world.chargebee.events
    *_, last = events.rows()
    return events.remove(last["id"], sandbox.world.clock.now_ms())


def test_who_cancels_and_syncs_a_moment_later_sees_it_end(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    ended = cancel(sandbox)
    report = sync_subscriptions.fn()
    assert report.applied == {"account_plan.update": 1}
    assert [end for _, end in intervals(sandbox)] == [ended]
    again = sync_subscriptions.fn()
    assert (again.writes, again.seen_next_run, again.exit_code) == (0, 0, 0)
    sandbox.world.advance(700)
    assert sync_subscriptions.fn().writes == 0


def test_a_change_counts_from_its_own_instant_however_soon_it_is_read(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    for quantity in (2, 3, 4):
        sandbox.world.advance(40)
        changed = resize(sandbox, quantity)
        sandbox.world.advance(2)
        post(sandbox, "/subscriptions/sub-single/update_for_items", po_number=f"PO-{quantity}")
        sync_subscriptions.fn()
        assert intervals(sandbox)[-1] == (changed, None)
        assert sync_subscriptions.fn().writes == 0


def test_a_young_version_whose_event_is_not_shown_waits_for_the_next_run(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    before = intervals(sandbox)
    changed = resize(sandbox, 5)
    late = hide_last_event(sandbox)
    sandbox.world.advance(30)
    report = sync_subscriptions.fn()
    assert (report.writes, report.seen_next_run, report.exit_code) == (0, 1, 0)
    assert sync_subscriptions.fn(dry_run=True).seen_next_run == 1
    assert sync_subscriptions.fn(full=True).seen_next_run == 1
    assert sync_subscriptions.fn(ids=["sub-single"]).seen_next_run == 1
    assert intervals(sandbox) == before
    sandbox.world.chargebee.events.put(late["id"], late, sandbox.world.clock.now_ms())
    assert sync_subscriptions.fn().applied["account_plan.replace"] == 1
    assert intervals(sandbox)[-1] == (changed, None)


def test_an_event_that_never_comes_holds_nothing_for_longer_than_the_hold_back(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    ended = cancel(sandbox)
    hide_last_event(sandbox)
    sandbox.world.advance(299)
    assert sync_subscriptions.fn().seen_next_run == 1
    sandbox.world.advance(3)
    report = sync_subscriptions.fn()
    assert (report.seen_next_run, report.applied) == (0, {"account_plan.update": 1})
    assert [end for _, end in intervals(sandbox)] == [ended]


def test_a_new_subscription_is_left_to_the_next_run_too(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    post(sandbox, "/customers", id="cust-new", company="New Ltd", email="new@new.example")
    post(sandbox, "/customers/cust-new/subscription_for_items", id="sub-new", **{ITEM: "api-pro-EUR-Monthly"})
    events = sandbox.world.chargebee.events
    hidden = [row for row in events.rows() if row["content"].get("subscription", {}).get("id") == "sub-new"]
    for row in hidden:
        events.remove(row["id"], sandbox.world.clock.now_ms())
    assert sync_subscriptions.fn().seen_next_run == 1
    assert len(intervals(sandbox)) == 1
    sandbox.world.advance(301)
    report = sync_subscriptions.fn()
    assert (report.applied["account_plan.create"], report.seen_next_run) == (1, 0)


def test_what_the_lists_show_late_is_found_by_its_event_or_read_again(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    sandbox.world.advance(3_600)
    sandbox.world.switches.list_lag_seconds = 120
    ended = cancel(sandbox)
    assert sync_subscriptions.fn().writes == 0  # neither list shows it yet
    sandbox.world.advance(130)
    assert sync_subscriptions.fn().applied == {"account_plan.update": 1}
    assert [end for _, end in intervals(sandbox)] == [ended]


def test_what_an_event_tells_of_just_now_is_not_missing_yet(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    state, world = sandbox.world.chargebee, sandbox.world
    created = next(row for row in state.events.rows() if row["event_type"] == "subscription_created")
    told = created["content"] | {"subscription": created["content"]["subscription"] | {"id": "sub-unseen"}}
    state.emit("subscription_created", told)
    report = sync_subscriptions.fn()
    assert (report.missing, report.seen_next_run, report.quarantined, report.exit_code) == (0, 1, [], 0)
    world.advance(301)
    report = sync_subscriptions.fn()
    assert (report.missing, report.seen_next_run, report.exit_code) == (1, 0, 3)
    assert [row["code"] for row in report.quarantined] == ["MB-MISSING"]


def two_more(sandbox: Sandbox) -> None:
    for name in ("aa", "bb"):
        post(sandbox, "/customers", id=f"cust-{name}", company=f"{name} Ltd", email=f"{name}@new.example")
        wanted = {"id": f"sub-{name}", ITEM: "api-pro-EUR-Monthly"}
        post(sandbox, f"/customers/cust-{name}/subscription_for_items", **wanted)


def test_a_drain_sets_nobody_aside_whom_it_was_not_asked_about(open_sandbox: OpenSandbox, tmp_path: Path) -> None:
    sandbox = open_sandbox("single")
    two_more(sandbox)
    sync_subscriptions.fn()
    sandbox.world.advance(3_600)
    resize(sandbox, 2, "sub-bb")
    version = resize_version(sandbox, 3, "sub-aa")
    sandbox.world.advance(400)
    tell(tmp_path, event(1, "subscription", "sub-aa", version=version))
    report = drain_inbox.fn()
    assert report is not None
    assert report.applied["account_plan.replace"] == 1
    assert (report.quarantined, report.missing, report.exit_code) == ([], 0, 0)
    with ledger_at(tmp_path).read() as rx:
        assert quarantine.list(rx) == []


@pytest.mark.parametrize("asked", ["sub-aa", "cust-aa"])
def test_a_run_of_named_ids_sets_nobody_aside_either(open_sandbox: OpenSandbox, asked: str) -> None:
    sandbox = open_sandbox("single")
    two_more(sandbox)
    sync_subscriptions.fn()
    sandbox.world.advance(3_600)
    resize(sandbox, 2, "sub-bb")
    resize(sandbox, 3, "sub-aa")
    sandbox.world.advance(400)
    report = sync_subscriptions.fn(ids=[asked])
    assert report.applied["account_plan.replace"] == 1
    assert (report.quarantined, report.exit_code) == ([], 0)


def test_a_drain_misses_what_it_was_asked_about_once_that_is_old_and_only_if_chargebee_has_the_event(
    open_sandbox: OpenSandbox, tmp_path: Path
) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    state = sandbox.world.chargebee
    created = next(row for row in state.events.rows() if row["event_type"] == "subscription_created")
    unseen = created["content"]["subscription"] | {"id": "sub-unseen", "resource_version": 5}
    state.emit("subscription_created", created["content"] | {"subscription": unseen})
    *_, told = state.events.rows()
    hint = inbox.Event("chargebee", told["id"], "subscription_created", "subscription", "sub-unseen", None, 5)
    sample = event(9, "subscription", "cbdemo_sub", version=7)  # Chargebee's own event list knows nothing of it
    sandbox.world.advance(400)
    tell(tmp_path, hint, sample)
    report = drain_inbox.fn()
    assert report is not None
    assert [(row["code"], row["key"]) for row in report.quarantined] == [("MB-MISSING", ["sub-unseen"])]
