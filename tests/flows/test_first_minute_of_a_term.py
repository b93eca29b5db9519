"""Another item in the first minute of a term, on the sandbox: two products are never metered side by side unseen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.drain_inbox import drain_inbox
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.ledger import quarantine
from meterbridge.sandbox import Sandbox
from tests.flows.conftest import OpenSandbox
from tests.flows.test_drain_inbox import event, ledger_at, tell
from tests.flows.test_read_up_to_now import ITEM, QUANTITY, post

API, SUPPORT = "api-pro-EUR-Monthly", "support-EUR-Monthly"
SECONDS = (0, 1, 30, 59, 60, 61)
DAY = 86_400
Spans = list[tuple[int, int | None]]


def sync(sandbox: Sandbox, home: Path, way: str, number: int) -> None:
    """By schedule, or by webhooks that name every subscription in its present version."""
    if way != "webhook":
        sync_subscriptions.fn()
        return
    rows = sandbox.world.chargebee.subscriptions.rows()
    named = [(number * 100 + n, row["id"], row["resource_version"]) for n, row in enumerate(rows)]
    tell(home, *(event(n, "subscription", name, version=version) for n, name, version in named))
    drain_inbox.fn()


def create(sandbox: Sandbox, name: str) -> None:
    post(sandbox, "/customers", id=name, company=f"{name} Ltd", email=f"{name}@new.example")
    post(sandbox, f"/customers/{name}/subscription_for_items", id=f"{name}-sub", **{ITEM: API})


def change(sandbox: Sandbox, name: str) -> None:
    """The item of another product, or the same item five times."""
    wanted = {ITEM: SUPPORT, "replace_items_list": "true"} if name.startswith("other") else {ITEM: API, QUANTITY: 5}
    post(sandbox, f"/subscriptions/{name}-sub/update_for_items", **wanted)


def spans(sandbox: Sandbox, since: int) -> dict[str, dict[str, Spans]]:
    """Account plans by subscription and plan: from when to when, in seconds."""
    seconds = lambda text: None if text is None else int(datetime.fromisoformat(text).timestamp()) - since  # noqa: E731
    codes = {row["id"]: row["code"] for row in sandbox.world.m3ter.plans.rows()}
    names = {row["id"]: row["code"] for row in sandbox.world.m3ter.accounts.rows()}
    found: dict[str, dict[str, Spans]] = {}
    for row in sandbox.world.m3ter.account_plans.rows():
        of_customer = found.setdefault(names[row["accountId"]], {})
        of_customer.setdefault(codes[row["planId"]], []).append(
            (seconds(row["startDate"]), seconds(row.get("endDate")))
        )
    return {name: {plan: sorted(own) for plan, own in plans.items()} for name, plans in found.items()}


def expected(name: str, way: str) -> dict[str, Spans]:
    kind, _, text = name.partition("-")
    at = int(text)
    if kind == "same":
        return {"api-pro-eur": [(0, at), (at, None)] if at else [(0, None)]}
    if at:
        return {"api-pro-eur": [(0, at)], "support-eur": [(at, None)]}
    started = {} if way == "both in one run" else {"api-pro-eur": [(0, None)]}  # it had no time, but it stands
    return {**started, "support-eur": [(0, None)]}


def set_aside(home: Path) -> list[tuple[str, tuple[str, ...], float | None]]:
    ledger = ledger_at(home)
    with ledger.read() as rx:
        found = [(row.code, row.key, row.due_at) for row in quarantine.list(rx)]
    ledger.close()
    return found


@pytest.mark.parametrize("way", ["schedule", "webhook", "both in one run"])
def test_old_and_new_meet_or_the_old_stays_set_aside(open_sandbox: OpenSandbox, tmp_path: Path, way: str) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    world = sandbox.world
    started = world.clock.now() + 10
    names = [f"{kind}-{seconds}" for kind in ("other", "same") for seconds in SECONDS]
    world.advance_to(started)
    with world.clock.held(started * 1000):
        for name in names:
            create(sandbox, name)
    if way != "both in one run":
        sync(sandbox, tmp_path, way, 1)
    for seconds in SECONDS:
        world.advance_to(started + seconds)
        with world.clock.held((started + seconds) * 1000 + 900):
            for kind in ("other", "same"):
                change(sandbox, f"{kind}-{seconds}")
    stuck = [] if way == "both in one run" else [("MB-PLAN-BILLED", ("other-0-sub", API, "1"), float(started))]
    for number in (2, 3, 4):  # at once, and after each of two renewals
        sync(sandbox, tmp_path, way, number)
        found = spans(sandbox, started)
        assert {name: found[name] for name in names} == {name: expected(name, way) for name in names}
        assert set_aside(tmp_path) == stuck
        world.advance(32 * DAY)
    report = sync_subscriptions.fn(full=True)
    assert report.exit_code == (3 if stuck else 0)
    assert all("should end at" in row["message"] for row in report.quarantined)
    assert sync_subscriptions.fn().writes == 0


@pytest.mark.parametrize("by_hand", ["deleted", "ended"])
def test_what_a_person_did_in_m3ter_closes_the_case(open_sandbox: OpenSandbox, tmp_path: Path, by_hand: str) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    world, key = sandbox.world, ("other-0-sub", API, "1")
    instant = world.clock.now() * 1000
    with world.clock.held(instant):
        create(sandbox, "other-0")
    sync_subscriptions.fn()
    with world.clock.held(instant):
        change(sandbox, "other-0")
    assert [row["code"] for row in sync_subscriptions.fn().quarantined] == ["MB-PLAN-BILLED"]
    state = world.m3ter
    with world.lock:
        (stuck,) = [row for row in state.account_plans.rows() if row["code"].startswith(f"other-0-sub-{API}")]
        if by_hand == "deleted":
            state.account_plans.remove(stuck["id"], world.clock.now_ms())
        else:
            end = datetime.fromtimestamp(instant / 1000 + 3_600, UTC).isoformat().replace("+00:00", "Z")
            state.save(state.account_plans, stuck | {"endDate": end}, stuck)
    world.advance(7_200)
    codes = [row["code"] for row in sync_subscriptions.fn().quarantined]
    if by_hand == "ended":
        assert codes == ["MB-PLAN-BILLED"]
        ledger = ledger_at(tmp_path)
        with ledger.write() as tx:
            assert quarantine.dismiss(tx, "account_plan", key, "ann", "billed by hand")
            tx.commit()
    else:
        assert codes == []
    for _ in range(2):  # neither the next version nor a full read opens it again
        world.advance(32 * DAY)
        sync_subscriptions.fn()
        assert sync_subscriptions.fn(full=True).writes == 0
        assert set_aside(tmp_path) == []
        found = spans(sandbox, instant // 1000)["other-0"]
        ended = {"api-pro-eur": [(0, 3_600)]} if by_hand == "ended" else {}
        assert found == {**ended, "support-eur": [(0, None)]}
