"""A change that m3ter refuses keeps Chargebee's instant, however much later it is sent at last."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.sync_subscriptions import sync_subscriptions
from meterbridge.ledger import quarantine
from meterbridge.sandbox import Sandbox
from tests.flows.conftest import OpenSandbox
from tests.flows.test_drain_inbox import ledger_at
from tests.flows.test_first_minute_of_a_term import API, DAY, SUPPORT, create, spans
from tests.flows.test_read_up_to_now import ITEM, QUANTITY, post

CHANGES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
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


@pytest.mark.parametrize("later", ["nothing else", "a renewal", "a renewal in the run that sends it"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_refused_change_counts_from_its_own_instant(
    open_sandbox: OpenSandbox, tmp_path: Path, change: str, later: str
) -> None:
    """By the event it is known; by the record alone, which the next version dates later, it would not be."""
    sandbox = open_sandbox("single")
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
    if later != "nothing else":
        world.advance(40 * DAY)
    if later == "a renewal":
        assert "MB-REFUSED" in [row["code"] for row in sync_subscriptions.fn().quarantined]
    else:
        world.advance(DAY)
    world.faults.clear()
    retry_all(tmp_path)
    assert sync_subscriptions.fn().quarantined == []
    found = {
        plan: [at for span in own for at in span if at is not None]
        for plan, own in spans(sandbox, started)["c"].items()
    }
    assert found == {plan: [at * 3 * DAY for at in own] for plan, own in expected.items()}
    assert sync_subscriptions.fn(full=True).writes == 0
