"""A change that m3ter refuses keeps Chargebee's instant, however much later it is sent at last."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from flows.sync_subscriptions import sync_subscriptions
from meterbridge.ledger import quarantine
from meterbridge.sandbox import Sandbox
from tests.flows.conftest import OpenSandbox
from tests.flows.kills import killed
from tests.flows.test_drain_inbox import ledger_at
from tests.flows.test_first_minute_of_a_term import API, DAY, SUPPORT, create, spans
from tests.flows.test_read_up_to_now import ITEM, QUANTITY, post

CHANGES: dict[str, tuple[dict[str, object], dict[str, list[int]]]] = {
    "another-product": ({ITEM: SUPPORT, "replace_items_list": "true"}, {"api-pro-eur": [0, 1], "support-eur": [1]}),
    "another-quantity": ({ITEM: API, QUANTITY: 5}, {"api-pro-eur": [0, 1, 1]}),
}


def refuse_account_plans(sandbox: Sandbox) -> None:
    sandbox.world.faults.add(
        [{"harm": "status_400", "times": -1, "match": {"path": "accountplans", "method": method}}
         for method in ("POST", "PUT")]
    )  # fmt: skip


def retry_all(home: Path) -> None:
    ledger = ledger_at(home)
    with ledger.write() as tx:
        for row in quarantine.list(tx):
            quarantine.retry(tx, row.kind, row.key)
        tx.commit()
    ledger.close()


def refused_change(sandbox: Sandbox, change: str) -> tuple[int, dict[str, list[int]]]:
    """A subscription that changed on its third day, which m3ter refused; when it began, and what it should be."""
    world = sandbox.world
    started = world.clock.now() + 10
    world.advance_to(started)
    with world.clock.held(started * 1000):
        create(sandbox, "c")
    sync_subscriptions.fn()
    wanted, expected = CHANGES[change]
    changed = started + 3 * DAY
    world.advance_to(changed)
    with world.clock.held(changed * 1000):
        post(sandbox, "/subscriptions/c-sub/update_for_items", **wanted)
    refuse_account_plans(sandbox)
    assert "MB-REFUSED" in [row["code"] for row in sync_subscriptions.fn().quarantined]
    return started, expected


def writes_an_account_plan(request: httpx.Request) -> bool:
    """True if the request makes or changes an account plan."""
    return request.method in ("POST", "PUT") and "accountplans" in request.url.path


def ended(spans_found: dict[str, list[tuple[int | None, int | None]]]) -> dict[str, list[int]]:
    """The instants at which account plans start and end, by plan."""
    return {plan: [at for span in own for at in span if at is not None] for plan, own in spans_found.items()}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("change", "number"), [("another-product", 1), ("another-product", 2), ("another-quantity", 1)]
)
def test_a_run_killed_at_a_change_that_is_tried_again_neither_loses_nor_doubles_it(
    open_sandbox: OpenSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, when: str, number: int
) -> None:
    """The intent is recorded anew when it is tried again: the kill comes between that and its answer."""
    sandbox = open_sandbox("single")
    started, expected = refused_change(sandbox, change)
    sandbox.world.faults.clear()
    sandbox.world.advance(DAY)
    retry_all(tmp_path)
    killed(monkeypatch, sync_subscriptions.fn, writes_an_account_plan, number=number, before=when == "before")
    sandbox.world.advance(3_600)
    assert sync_subscriptions.fn().quarantined == []
    wanted = {plan: [at * 3 * DAY for at in own] for plan, own in expected.items()}
    assert ended(spans(sandbox, started)["c"]) == wanted
    assert sync_subscriptions.fn(full=True).writes == 0


@pytest.mark.parametrize("later", ["nothing else", "a renewal", "a renewal in the run that sends it"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_refused_change_counts_from_its_own_instant(
    open_sandbox: OpenSandbox, tmp_path: Path, change: str, later: str
) -> None:
    """By the event it is known; by the record alone, which the next version dates later, it would not be."""
    sandbox = open_sandbox("single")
    world = sandbox.world
    started, expected = refused_change(sandbox, change)
    if later != "nothing else":
        world.advance(40 * DAY)
    if later == "a renewal":
        assert "MB-REFUSED" in [row["code"] for row in sync_subscriptions.fn().quarantined]
    else:
        world.advance(DAY)
    world.faults.clear()
    retry_all(tmp_path)
    assert sync_subscriptions.fn().quarantined == []
    assert ended(spans(sandbox, started)["c"]) == {plan: [at * 3 * DAY for at in own] for plan, own in expected.items()}
    assert sync_subscriptions.fn(full=True).writes == 0
