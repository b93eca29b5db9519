"""Usage in a free trial costs nothing; with ``trial: billed`` it is charged like any other."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox import CHARGEBEE_API_KEY, Sandbox
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.m3ter.measurements import ingest
from meterbridge.sandbox.scenarios import month
from meterbridge.sandbox.scenarios.chargebee_seed import put_customer

TRIAL_ENDS = epoch(2026, 4, 10)


def begin_trial(sandbox: Sandbox) -> None:
    put_customer(sandbox.world, "curious", "Curious Ltd", "EUR")
    row = {
        "id": "trial",
        "trial_end": str(TRIAL_ENDS),
        "subscription_items[item_price_id][0]": "api-pro-EUR-Monthly",
        "create_pending_invoices": "true",
    }
    url = f"{sandbox.chargebee_url}/customers/curious/subscription_for_items"
    httpx.post(url, data=row, auth=(CHARGEBEE_API_KEY, "")).raise_for_status()


def ours(sandbox: Sandbox) -> list[int]:
    """The amounts of the lines that are no subscription fee, on any invoice."""
    lines = [line for row in sandbox.world.chargebee.invoices.rows() for line in row["line_items"]]
    return [line["amount"] for line in lines if line["entity_type"] in ("charge_item_price", "adhoc")]


@pytest.mark.parametrize(
    ("trial", "charged"),
    [
        pytest.param("free", [], id="free"),
        pytest.param("billed", [1_000], id="ten-thousand-calls-at-a-tenth-of-a-cent"),
    ],
)
def test_usage_in_a_trial_is_charged_only_where_trials_are_billed(
    open_sandbox: Callable[..., Sandbox], trial: str, charged: list[int]
) -> None:
    sandbox = open_sandbox("empty", METERBRIDGE_TRIAL=trial)
    world = sandbox.world
    begin_trial(sandbox)
    sync_subscriptions.fn(full=True)
    used = {"uid": "u-1", "meter": "api_calls", "account": "curious", "ts": "2026-03-25T12:00:00Z"}
    assert ingest(world.m3ter, used | {"measure": {"calls": 10_000}}) is None
    approved = []
    for _ in range(2):  # a billing period ends with the trial, on the day of its invoice; the next draft takes it
        month.pass_month(world)
        sync_subscriptions.fn()
        approved.append(month.approve_bills(world, month.bill(world)))
        assert sync_bills.fn().exit_code == 0
    assert approved == [int(trial == "billed"), 1]
    assert ours(sandbox) == charged
