"""m3ter made it, its answer was lost, and its lists do not show it yet: nothing is given up and nothing made twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.sync_subscriptions import sync_subscriptions
from meterbridge.errors import RetriableError
from meterbridge.sandbox import Sandbox

LAG = 120


@pytest.mark.parametrize("resource", ["accounts", "accountplans"])
@pytest.mark.parametrize("later", [0, LAG + 60], ids=["at-once", "once-lists-show-it"])
def test_what_a_lost_answer_made_is_taken_over_once_lists_show_it(
    open_sandbox: Callable[..., Sandbox], resource: str, later: int
) -> None:
    world = open_sandbox(METERBRIDGE_HOLD_BACK_SECONDS="0").world
    world.advance(3_600)
    world.switches.update({"list_lag_seconds": LAG})
    world.faults.add([{"match": {"path": f"/{resource}", "method": "POST"}, "harm": "commit_then_drop"}])
    with pytest.raises(RetriableError):
        sync_subscriptions.fn()
    world.advance(later)
    if later < LAG:
        with pytest.raises(RetriableError):
            sync_subscriptions.fn()
        world.advance(LAG + 60)
    report = sync_subscriptions.fn()
    assert (report.quarantined, report.exit_code) == ([], 0)
    assert (len(world.m3ter.accounts), len(world.m3ter.account_plans), len(world.m3ter.mappings)) == (1, 1, 2)
    assert sync_subscriptions.fn(full=True).writes == 0


def test_a_code_that_somebody_else_has_is_refused_and_set_aside(open_sandbox: Callable[..., Sandbox]) -> None:
    world = open_sandbox().world
    plan = next(row for row in world.m3ter.plans.rows() if row["code"] == "storage-eur")
    taken = {"planId": plan["id"], "productId": plan["productId"], "code": "sub-single-api-pro-EUR-Monthly.1"}
    row = {"id": "7d9f1a52-0c38-4b6e-8f27-a95e3c1d6b04", "accountId": "another", "startDate": "2026-01-01T00:00:00Z"}
    with world.lock:
        world.m3ter.save(world.m3ter.account_plans, {**row, **taken}, None)
    report = sync_subscriptions.fn()
    assert [row["code"] for row in report.quarantined if row["kind"] == "account_plan"] == ["MB-REFUSED"]
