"""Account plans as companies have them before and beside us, on the sandbox."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.reconcile import reconcile
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox import CHARGEBEE_API_KEY, Sandbox
from meterbridge.sandbox.m3ter import entities
from meterbridge.sandbox.m3ter.account_plans import ACCOUNT_PLAN
from meterbridge.sandbox.m3ter.accounts import ACCOUNT
from tests.flows.conftest import OpenSandbox

ITEM, QUANTITY = "subscription_items[item_price_id][0]", "subscription_items[quantity][0]"
API, ADDON = "api-pro-EUR-Monthly", "storage-EUR-Monthly"
ADDED = "subscription_items[item_price_id][1]"
NOON = "2026-03-24T12:00:00"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def post(sandbox: Sandbox, path: str, **fields: Any) -> None:
    data = {name: str(value) for name, value in fields.items()}
    answer = httpx.post(f"{sandbox.chargebee_url}/{path}", data=data, auth=(CHARGEBEE_API_KEY, ""))
    assert answer.status_code == 200, answer.text


@pytest.fixture
def sandbox(open_sandbox: OpenSandbox) -> Sandbox:
    """One subscription of the first of January, not synced yet; the clock stands at noon of 24 March 2026."""
    running = open_sandbox("single")
    running.world.advance(at(NOON) - running.world.clock.now())
    return running


def attach(sandbox: Sandbox, start: str, end: str | None) -> None:
    """As a person would in m3ter's console, on an account that has the customer's id as its code."""
    state = sandbox.world.m3ter
    found = state.accounts.find("code", "cust-single")
    fields = {"name": "Single Ltd", "code": "cust-single", "emailAddress": "ap@single.example", "currency": "EUR"}
    account = found[0] if found else entities.insert(state, ACCOUNT, fields)
    (plan,) = state.plans.find("code", "api-pro-eur")
    row = {"accountId": account["id"], "planId": plan["id"], "productId": plan["productId"], "code": f"hand {start}"}
    row |= {"startDate": f"{start}T00:00:00.000Z", "childBillingMode": "PARENT_BREAKDOWN"}
    entities.insert(state, ACCOUNT_PLAN, row | ({} if end is None else {"endDate": f"{end}T00:00:00.000Z"}))


def spans(sandbox: Sandbox) -> list[tuple[str, str | None]]:
    rows = sorted(sandbox.world.m3ter.account_plans.rows(), key=lambda row: row["startDate"])
    return [(row["startDate"][:10], row["endDate"][:10] if row.get("endDate") else None) for row in rows]


def is_settled() -> bool:
    """True if another full run writes nothing and both sides agree."""
    again = sync_subscriptions.fn(full=True)
    return (again.writes, again.exit_code, reconcile.fn().differences) == (0, 0, 0)


def test_a_contract_by_hand_is_kept_to_its_end_and_ours_begins_there(sandbox: Sandbox) -> None:
    attach(sandbox, "2025-06-01", "2026-06-01")
    report = sync_subscriptions.fn()
    assert (report.exit_code, report.applied["account_plan.create"]) == (0, 1)
    assert spans(sandbox) == [("2025-06-01", "2026-06-01"), ("2026-06-01", None)]
    assert is_settled()
    sandbox.world.advance(at("2026-06-10T12:00:00") - sandbox.world.clock.now())
    assert sync_subscriptions.fn().writes == 0
    assert spans(sandbox) == [("2025-06-01", "2026-06-01"), ("2026-06-01", None)]
    assert is_settled()


def test_a_contract_by_hand_ends_with_its_subscription(sandbox: Sandbox) -> None:
    attach(sandbox, "2025-06-01", "2026-06-01")
    sync_subscriptions.fn()
    post(sandbox, "subscriptions/sub-single/cancel_for_items", end_of_term="true")
    sandbox.world.advance(600)
    assert sync_subscriptions.fn().exit_code == 0
    assert spans(sandbox) == [("2025-06-01", "2026-04-01")]
    assert is_settled()


def test_what_ended_by_hand_is_history_and_ours_begins_after_it(sandbox: Sandbox) -> None:
    attach(sandbox, "2025-06-01", "2026-02-15")
    assert sync_subscriptions.fn().exit_code == 0
    assert spans(sandbox) == [("2025-06-01", "2026-02-15"), ("2026-02-15", None)]
    assert sync_subscriptions.fn(full=True).writes == 0


def change_quantity(sandbox: Sandbox) -> None:
    post(sandbox, "subscriptions/sub-single/update_for_items", **{ITEM: API, QUANTITY: 4})
    sandbox.world.advance(600)


def test_a_cancellation_dated_before_the_last_change_meters_nothing_on(sandbox: Sandbox) -> None:
    sync_subscriptions.fn()
    change_quantity(sandbox)
    sync_subscriptions.fn()
    post(
        sandbox,
        "subscriptions/sub-single/cancel_for_items",
        cancel_option="specific_date",
        cancel_at=at("2026-03-20T00:00:00"),
    )
    sandbox.world.advance(600)
    report = sync_subscriptions.fn()
    assert [(row["code"], row["key"][2]) for row in report.quarantined] == [("MB-PLAN-BILLED", "2")]
    assert "Z: what it metered from 2026-03-24T12:" in report.quarantined[0]["message"]
    ends = [row.get("endDate") for row in sandbox.world.m3ter.account_plans.rows()]
    assert None not in ends
    again = sync_subscriptions.fn(full=True)
    assert (again.writes, again.quarantined) == (0, report.quarantined)


def test_a_quantity_change_is_warned_of_in_a_dry_run_too(sandbox: Sandbox) -> None:
    sync_subscriptions.fn()
    change_quantity(sandbox)
    for report in (sync_subscriptions.fn(dry_run=True), sync_subscriptions.fn()):
        (warning,) = report.warnings
        assert warning["key"] == ["sub-single", API, "2"]
        assert warning["warning"].startswith("tiers and minimum spend start anew at 2026-03-24T12:")


def test_the_catalog_may_say_that_a_quantity_replaces_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    catalog = tmp_path / "seats.yaml"
    catalog.write_text(f"plans:\n  - {{item_price: {API}, plan: api-pro-eur, replace_on: mapped_plan}}\n")
    sync_subscriptions.fn()
    os.environ["METERBRIDGE_CATALOG"] = str(catalog)
    change_quantity(sandbox)
    assert sync_subscriptions.fn().writes == 0
    assert spans(sandbox) == [("2026-01-01", None)]


def test_a_change_at_the_terms_end_counts_from_it_however_late_the_job_ran(sandbox: Sandbox) -> None:
    sync_subscriptions.fn()
    post(
        sandbox,
        "subscriptions/sub-single/update_for_items",
        change_option="end_of_term",
        **{ITEM: API, QUANTITY: 4},
    )
    chargebee = sandbox.world.chargebee
    sandbox.world.advance(at("2026-04-01T00:00:00") - sandbox.world.clock.now())
    row = chargebee.subscriptions.get("sub-single")
    assert row["current_term_start"] == at("2026-04-01T00:00:00")
    late = at("2026-04-01T02:30:00")
    with sandbox.world.lock:
        for event in list(chargebee.events.rows()):
            if event["occurred_at"] == row["current_term_start"] and "subscription" in event["content"]:
                shown = event["content"]["subscription"] | {"updated_at": late}
                content = event["content"] | {"subscription": shown}
                chargebee.events.put(event["id"], event | {"occurred_at": late, "content": content}, late * 1000)
        chargebee.subscriptions.put("sub-single", row | {"updated_at": late}, late * 1000)
    sandbox.world.advance(4 * 3_600)
    assert sync_subscriptions.fn().applied["account_plan.replace"] == 1
    assert spans(sandbox) == [("2026-01-01", "2026-04-01"), ("2026-04-01", None)]
    starts = sorted(row["startDate"] for row in sandbox.world.m3ter.account_plans.rows())
    assert starts[1].startswith("2026-04-01T00:00:00")


def test_a_plan_and_its_addon_on_one_m3ter_plan_share_an_account_plan(sandbox: Sandbox, tmp_path: Path) -> None:
    catalog = tmp_path / "shared.yaml"
    rows = "".join(f"  - {{item_price: {name}, plan: api-pro-eur}}\n" for name in (API, ADDON))
    catalog.write_text(f"plans:\n{rows}")
    os.environ["METERBRIDGE_CATALOG"] = str(catalog)
    sync_subscriptions.fn()
    post(sandbox, "subscriptions/sub-single/update_for_items", **{ITEM: API, ADDED: ADDON})
    sandbox.world.advance(600)
    report = sync_subscriptions.fn()
    assert (report.exit_code, report.applied) == (0, {"external_mapping.create": 1})
    mapped = {row["externalId"]: row["m3terId"] for row in sandbox.world.m3ter.mappings.rows()}
    assert mapped[f"sub-single-{ADDON}"] == mapped[f"sub-single-{API}"]
    assert spans(sandbox) == [("2026-01-01", None)]
    assert is_settled()
