"""m3ter's billing periods follow the subscription's full terms, whatever happens to these."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from flows.reconcile import reconcile
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.ledger import mappings
from meterbridge.sandbox import CHARGEBEE_API_KEY, Sandbox
from meterbridge.sandbox.chargebee.renewals import schedule_next
from meterbridge.sandbox.m3ter.measurements import ingest
from meterbridge.sandbox.m3ter.organization import set_organization
from meterbridge.sandbox.scenarios import month
from meterbridge.sandbox.scenarios.chargebee_seed import put_customer
from tasks.report import RunReport
from tasks.services import ledger_in_use

PLAN = "api-pro-EUR-Monthly"
OTHER = "storage-EUR-Monthly"
DAY = 86_400


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.fixture
def sandbox(open_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """Nobody yet; the clock stands at noon of 24 March 2026."""
    running = open_sandbox("empty")
    running.world.advance(at("2026-03-24T12:00") - running.world.clock.now())
    put_customer(running.world, "acme", "Acme Ltd", "EUR")
    return running


def post(sandbox: Sandbox, path: str, **fields: Any) -> dict[str, Any]:
    data = {name: str(value) for name, value in fields.items()}
    answer = httpx.post(f"{sandbox.chargebee_url}/{path}", data=data, auth=(CHARGEBEE_API_KEY, ""))
    assert answer.status_code == 200, answer.text
    return answer.json()


def subscribe(sandbox: Sandbox, **fields: Any) -> None:
    items = {"subscription_items[item_price_id][0]": PLAN, "create_pending_invoices": "true"}
    post(sandbox, "customers/acme/subscription_for_items", id="s1", **items, **fields)


def put_term(sandbox: Sandbox, begin: str, end: str) -> None:
    """The present term, and from its end on the billing day, as the site's own calendar makes them."""
    chargebee = sandbox.world.chargebee
    row = chargebee.subscriptions.get("s1")
    term = {"current_term_start": at(begin), "current_term_end": at(end), "next_billing_at": at(end)}
    chargebee.anchors["s1"] = datetime.fromisoformat(end).day
    schedule_next(sandbox.world, chargebee.save(chargebee.subscriptions, row | term))
    sandbox.world.advance(600)  # no event told of it


def calendar_billing(sandbox: Sandbox) -> None:
    """A subscription of 24 March whose full terms begin on the first of each month."""
    subscribe(sandbox)
    put_term(sandbox, "2026-03-24T12:00", "2026-04-01T00:00")


def put_zone(sandbox: Sandbox, zone: str) -> None:
    state = sandbox.world.m3ter
    set_organization(state, state.organization | {"timezone": zone})


def pass_to(sandbox: Sandbox, text: str) -> None:
    sandbox.world.advance(at(text) - sandbox.world.clock.now())


def epochs(sandbox: Sandbox) -> list[str | None]:
    """Of each account plan, in order of start."""
    rows = sorted(sandbox.world.m3ter.account_plans.rows(), key=lambda row: row["startDate"])
    return [row.get("billEpoch") for row in rows]


def settled(sandbox: Sandbox) -> bool:
    """True if another run, full or not, writes nothing and both sides agree."""
    quiet = [sync_subscriptions.fn().writes, sync_subscriptions.fn(full=True).writes]
    return quiet == [0, 0] and reconcile.fn().differences == 0


def warned(report: RunReport) -> list[str]:
    return [row["warning"] for row in report.warnings]


def test_calendar_billing_counts_from_the_first_full_term(sandbox: Sandbox) -> None:
    calendar_billing(sandbox)
    assert sync_subscriptions.fn().writes == 4
    assert epochs(sandbox) == ["2026-04-01"]
    assert settled(sandbox)
    pass_to(sandbox, "2026-04-01T06:00")  # renewed
    assert sync_subscriptions.fn().writes == 0
    pass_to(sandbox, "2026-07-02T06:00")
    assert sync_subscriptions.fn().writes == 0
    assert epochs(sandbox) == ["2026-04-01"]
    assert settled(sandbox)


@pytest.mark.parametrize(
    ("zone", "begin", "end", "day"),
    [
        ("Europe/Berlin", "2026-03-23T23:00", "2026-04-23T22:00", "2026-03-24"),
        ("+05:30", "2026-03-23T18:30", "2026-04-23T18:30", "2026-03-24"),
        ("America/New_York", "2026-03-24T04:00", "2026-04-24T04:00", "2026-03-24"),
        ("Pacific/Honolulu", "2026-03-24T08:00", "2026-04-24T08:00", "2026-03-23"),
    ],
)
def test_the_day_is_that_of_the_organisation(sandbox: Sandbox, zone: str, begin: str, end: str, day: str) -> None:
    put_zone(sandbox, zone)
    subscribe(sandbox)
    put_term(sandbox, begin, end)
    assert sync_subscriptions.fn().writes == 4
    assert epochs(sandbox) == [day]
    assert settled(sandbox)


def test_a_moved_billing_day_is_followed_and_told(sandbox: Sandbox) -> None:
    subscribe(sandbox)
    sync_subscriptions.fn()
    assert epochs(sandbox) == ["2026-03-24"]
    post(sandbox, "subscriptions/s1/change_term_end", term_ends_at=at("2026-05-11T12:00"))
    sandbox.world.advance(600)
    report = sync_subscriptions.fn()
    assert report.applied == {"account_plan.update": 1}
    assert warned(report) == ["billing periods are counted from 2026-05-11, not from 2026-03-24"]
    assert epochs(sandbox) == ["2026-05-11"]
    assert settled(sandbox)
    pass_to(sandbox, "2026-05-12T12:00")
    assert sync_subscriptions.fn().writes == 0
    assert settled(sandbox)


def test_a_moved_start_is_followed_to_the_day(sandbox: Sandbox) -> None:
    subscribe(sandbox, start_date=at("2026-04-11T12:00"))
    sync_subscriptions.fn()
    assert epochs(sandbox) == ["2026-04-11"]
    items = {"subscription_items[item_price_id][0]": PLAN}
    post(sandbox, "subscriptions/s1/update_for_items", start_date=at("2026-05-11T12:00"), **items)
    sandbox.world.advance(600)
    assert sync_subscriptions.fn().applied == {"account_plan.update": 1}
    assert epochs(sandbox) == ["2026-05-11"]
    assert settled(sandbox)


@pytest.mark.parametrize("trial", ["free", "billed"])
def test_a_trial_counts_from_its_end_also_when_that_moves(sandbox: Sandbox, trial: str) -> None:
    os.environ["METERBRIDGE_TRIAL"] = trial
    subscribe(sandbox, trial_end=at("2026-04-05T12:00"))
    sync_subscriptions.fn()
    assert epochs(sandbox) == ["2026-04-05"]
    post(sandbox, "subscriptions/s1/change_term_end", term_ends_at=at("2026-04-09T12:00"))
    sandbox.world.advance(600)
    assert sync_subscriptions.fn().applied == {"account_plan.update": 1}
    assert epochs(sandbox) == ["2026-04-09"]
    pass_to(sandbox, "2026-04-10T12:00")
    assert sync_subscriptions.fn().writes == 0
    assert settled(sandbox)


def change_quantity(sandbox: Sandbox, quantity: int) -> None:
    items = {"subscription_items[item_price_id][0]": PLAN, "subscription_items[quantity][0]": str(quantity)}
    post(sandbox, "subscriptions/s1/update_for_items", **items)
    sandbox.world.advance(600)


def test_all_account_plans_of_a_subscription_share_one(sandbox: Sandbox) -> None:
    calendar_billing(sandbox)
    sync_subscriptions.fn()
    pass_to(sandbox, "2026-05-10T12:00")
    change_quantity(sandbox, 2)
    report = sync_subscriptions.fn()
    assert report.applied == {"account_plan.replace": 1, "external_mapping.create": 1}
    assert epochs(sandbox) == ["2026-04-01", "2026-04-01"]
    assert settled(sandbox)


def test_where_m3ter_keeps_the_old_day_it_is_asked_once_and_the_replacement_has_the_new_one(sandbox: Sandbox) -> None:
    sandbox.world.switches.bill_epoch_change = "at_replacement"
    subscribe(sandbox)
    sync_subscriptions.fn()
    post(sandbox, "subscriptions/s1/change_term_end", term_ends_at=at("2026-05-11T12:00"))
    sandbox.world.advance(600)
    assert sync_subscriptions.fn().applied == {"account_plan.update": 1}
    assert epochs(sandbox) == ["2026-03-24"]
    again = sync_subscriptions.fn(full=True)
    assert (again.writes, again.notes, again.exit_code) == (0, [KEPT], 0)
    post(sandbox, "subscriptions/s1/change_term_end", term_ends_at=at("2026-05-12T12:00"))  # another day is asked for
    sandbox.world.advance(600)
    assert [sync_subscriptions.fn().writes for _ in range(2)] == [1, 0]
    change_quantity(sandbox, 2)
    assert sync_subscriptions.fn().applied["account_plan.replace"] == 1
    assert epochs(sandbox) == ["2026-03-24", "2026-05-12"]
    assert settled(sandbox)


def forget_epochs(sandbox: Sandbox, day: str) -> None:
    """The ledger and m3ter as an earlier version left them."""
    with ledger_in_use() as ledger, ledger.write() as tx:
        for row in list(mappings.all(tx, "account_plan")):
            old = {name: value for name, value in row.state.items() if not name.startswith("bill_epoch")}
            mappings.put(tx, replace(row, state=old))
        tx.commit()
    m3ter = sandbox.world.m3ter
    for row in list(m3ter.account_plans.rows()):
        m3ter.save(m3ter.account_plans, row | {"billEpoch": day}, row)


OLDER = (
    "account plans: 1 written by an earlier version: keep their billing periods until their subscription changes, "
    "or --repair"
)
KEPT = "account plans: 1 whose new billing epoch m3ter did not take: keep their billing periods until they are replaced"


def test_after_an_upgrade_a_full_run_only_counts_what_the_next_renewal_corrects(sandbox: Sandbox) -> None:
    calendar_billing(sandbox)
    sync_subscriptions.fn()
    forget_epochs(sandbox, "2026-03-24")
    sandbox.world.advance(600)
    report = sync_subscriptions.fn(full=True)
    assert (report.writes, report.notes, report.exit_code) == (0, [OLDER], 0)
    (difference,) = reconcile.fn().drift
    wanted = ("billing epoch", "2026-04-01", "2026-03-24")
    assert (difference["what"], difference["wanted"], difference["found"]) == wanted
    pass_to(sandbox, "2026-04-01T06:00")
    assert sync_subscriptions.fn().applied == {"account_plan.update": 1}
    assert epochs(sandbox) == ["2026-04-01"]
    assert settled(sandbox)


def test_after_an_upgrade_repair_corrects_at_once_and_what_fits_is_left(sandbox: Sandbox) -> None:
    calendar_billing(sandbox)
    sync_subscriptions.fn()
    forget_epochs(sandbox, "2026-03-24")
    assert sync_subscriptions.fn(full=True, repair=True).applied == {"account_plan.update": 1}
    assert epochs(sandbox) == ["2026-04-01"]
    forget_epochs(sandbox, "2026-01-01")  # another day of the same cycle
    assert sync_subscriptions.fn(full=True, repair=True).writes == 0
    assert settled(sandbox)


def test_a_day_changed_by_hand_is_reported_and_repaired_to_the_same_value(sandbox: Sandbox) -> None:
    calendar_billing(sandbox)
    sync_subscriptions.fn()
    m3ter = sandbox.world.m3ter
    (row,) = m3ter.account_plans.rows()
    m3ter.save(m3ter.account_plans, row | {"billEpoch": "2026-03-15"}, row)
    sandbox.world.advance(600)
    assert reconcile.fn().differences == 1
    report = sync_subscriptions.fn(full=True)
    assert [row["code"] for row in report.quarantined] == ["MB-FOREIGN-EDIT"]
    assert "billEpoch 2026-04-01 became 2026-03-15" in report.quarantined[0]["message"]
    assert sync_subscriptions.fn(ids=["s1"], repair=True).applied == {"account_plan.update": 1}
    assert epochs(sandbox) == ["2026-04-01"]
    assert settled(sandbox)


@pytest.mark.parametrize("older", [False, True], ids=["noted", "older-ledger"])
def test_one_deleted_by_hand_is_made_again_with_the_same_value(sandbox: Sandbox, older: bool) -> None:
    calendar_billing(sandbox)
    sync_subscriptions.fn()
    if older:
        forget_epochs(sandbox, "2026-03-24")
    m3ter = sandbox.world.m3ter
    (row,) = m3ter.account_plans.rows()
    m3ter.account_plans.remove(row["id"], sandbox.world.clock.now_ms())
    sandbox.world.advance(600)
    assert sync_subscriptions.fn(full=True, repair=True).applied["account_plan.create"] == 1
    assert epochs(sandbox) == ["2026-04-01"]
    assert settled(sandbox)


def test_the_last_days_of_a_calendar_customer_find_an_invoice(sandbox: Sandbox) -> None:
    world = sandbox.world
    calendar_billing(sandbox)
    sync_subscriptions.fn()
    pass_to(sandbox, "2026-04-10T00:00")
    post(sandbox, "subscriptions/s1/cancel_for_items", end_of_term="true")
    sandbox.world.advance(600)
    sync_subscriptions.fn()
    used = {"uid": "u-1", "meter": "api_calls", "account": "acme", "ts": "2026-04-29T12:00:00Z"}
    assert ingest(world.m3ter, used | {"measure": {"calls": 10_000}}) is None
    pass_to(sandbox, "2026-05-01T06:00")
    assert month.approve_bills(world, month.bill(world)) == 1
    (bill,) = world.m3ter.bills.rows()
    assert (bill["startDate"], bill["endDate"]) == ("2026-04-01", "2026-05-01")
    pass_to(sandbox, "2026-05-03T06:00")
    sync_subscriptions.fn()
    report = sync_bills.fn()
    assert (report.exit_code, report.quarantined, report.waiting) == (0, [], [])
    lines = [line for row in world.chargebee.invoices.rows() for line in row["line_items"]]
    assert [line["amount"] for line in lines if line["entity_type"] in ("charge_item_price", "adhoc")] == [1_000]
