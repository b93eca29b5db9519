"""What a person changes in m3ter by hand is noticed and left alone, or brought back where the setting says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from flows.reconcile import reconcile
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import quarantine
from meterbridge.sandbox import CHARGEBEE_API_KEY, Sandbox
from meterbridge.settings import load_settings
from tasks.report import RunReport
from tasks.services import open_ledger
from tests.flows.crash_ledgers import SqliteLedger
from tests.flows.kills import killed
from tests.histories.people import People

PLAN = ["sub-single", "api-pro-EUR-Monthly", "1"]
JANUARY = "2026-01-01T00:00:00"
BY_HAND = "2026-05-01T00:00:00.000Z"
REPAIR = "METERBRIDGE_ON_FOREIGN_EDIT"


@pytest.fixture
def sandbox(open_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """One subscription, synced."""
    running = open_sandbox()
    assert sync_subscriptions.fn().writes == 4
    running.world.advance(3_600)
    return running


def account_plan(sandbox: Sandbox) -> dict[str, Any]:
    (row,) = sandbox.world.m3ter.account_plans.rows()
    return row


def edit(sandbox: Sandbox, **fields: Any) -> None:
    """As the console would: another version of the account plan; None takes a field away."""
    m3ter, row = sandbox.world.m3ter, account_plan(sandbox)
    m3ter.save(m3ter.account_plans, {k: v for k, v in (row | fields).items() if v is not None}, row)


def told(report: RunReport) -> list[tuple[list[str], str]]:
    return [(row["key"], row["code"]) for row in report.quarantined]


def test_an_end_by_hand_is_reported_in_each_run_and_left_until_it_is_undone(sandbox: Sandbox) -> None:
    edit(sandbox, endDate=BY_HAND)
    assert told(sync_subscriptions.fn()) == []  # nothing changed at Chargebee: nobody looked
    first = sync_subscriptions.fn(full=True)
    assert (told(first), first.exit_code, first.writes) == ([(PLAN, "MB-FOREIGN-EDIT")], 3, 0)
    assert "endDate none became 2026-05-01T00:00:00Z" in first.quarantined[0]["message"]
    sandbox.world.advance(900)
    assert told(sync_subscriptions.fn()) == [(PLAN, "MB-FOREIGN-EDIT")]
    assert account_plan(sandbox)["endDate"] == BY_HAND
    edit(sandbox, endDate=None)
    again = sync_subscriptions.fn()
    assert (told(again), again.exit_code) == ([], 0)
    assert told(sync_subscriptions.fn(full=True)) == []


@pytest.mark.parametrize(
    "fields",
    [{"endDate": BY_HAND}, {"startDate": "2026-02-01T00:00:00.000Z"}, {"startDate": BY_HAND}],
    ids=["ended", "shortened", "moved"],
)
def test_with_repair_an_account_plan_is_made_as_it_was(sandbox: Sandbox, fields: dict[str, Any]) -> None:
    edit(sandbox, **fields)
    os.environ[REPAIR] = "repair"
    report = sync_subscriptions.fn(full=True)
    assert (told(report), report.applied) == ([], {"account_plan.update": 1})
    after = account_plan(sandbox)
    assert (after["startDate"][:19], after.get("endDate")) == (JANUARY, None)
    assert sync_subscriptions.fn(full=True).writes == 0


def test_one_deleted_by_hand_is_reported_and_with_repair_made_again(sandbox: Sandbox) -> None:
    before = account_plan(sandbox)
    sandbox.world.m3ter.account_plans.remove(before["id"], sandbox.world.clock.now_ms())
    assert told(sync_subscriptions.fn(full=True)) == [(PLAN, "MB-FOREIGN-EDIT")]
    os.environ[REPAIR] = "repair"
    report = sync_subscriptions.fn()  # what was found before is looked at in any run
    assert told(report) == []
    made = account_plan(sandbox)
    assert made["id"] != before["id"]
    assert (made["startDate"][:19], made["planId"], made["code"]) == (JANUARY, before["planId"], before["code"])
    mapped = [row for row in sandbox.world.m3ter.mappings.rows() if row["m3terEntity"] == "AccountPlan"]
    assert [row["m3terId"] for row in mapped] == [made["id"]]
    assert sync_subscriptions.fn(full=True).writes == 0


def cancel(sandbox: Sandbox) -> None:
    url = f"{sandbox.chargebee_url}/subscriptions/sub-single/cancel_for_items"
    httpx.post(url, data={"end_of_term": "true"}, auth=(CHARGEBEE_API_KEY, "")).raise_for_status()
    sandbox.world.advance(3_600)


@pytest.mark.parametrize("full", [True, False], ids=["full", "window"])
@pytest.mark.parametrize(("mode", "end"), [("report", BY_HAND), ("repair", "2026-04-01")])
def test_a_cancellation_beside_an_edit_waits_for_the_person_or_wins(
    sandbox: Sandbox, mode: str, end: str, full: bool
) -> None:
    os.environ[REPAIR] = mode
    edit(sandbox, endDate=BY_HAND)
    cancel(sandbox)
    report = sync_subscriptions.fn(full=full)
    assert told(report) == ([(PLAN, "MB-FOREIGN-EDIT")] if mode == "report" else [])
    assert account_plan(sandbox)["endDate"].startswith(end)
    assert sync_subscriptions.fn(full=True).writes == 0


def test_a_run_by_id_leaves_alone_what_a_person_edited(sandbox: Sandbox) -> None:
    edit(sandbox, endDate=BY_HAND)
    cancel(sandbox)
    report = sync_subscriptions.fn(ids=["sub-single"])
    assert (told(report), report.writes) == ([(PLAN, "MB-FOREIGN-EDIT")], 0)
    assert account_plan(sandbox)["endDate"] == BY_HAND


def test_what_was_cancelled_meanwhile_is_written_once_the_edit_is_undone(sandbox: Sandbox) -> None:
    edit(sandbox, endDate=BY_HAND)
    cancel(sandbox)
    sync_subscriptions.fn(full=True)
    edit(sandbox, endDate=None)
    report = sync_subscriptions.fn()
    assert (told(report), report.applied) == ([], {"account_plan.update": 1})
    assert account_plan(sandbox)["endDate"].startswith("2026-04-01")


def delete_account(sandbox: Sandbox) -> str:
    """As a clean-up in the console would: the account plan, then the account."""
    (account,) = sandbox.world.m3ter.accounts.rows()
    people = People(sandbox)
    assert people.m3ter("DELETE", f"accountplans/{account_plan(sandbox)['id']}")
    assert people.m3ter("DELETE", f"accounts/{account['id']}")
    people.close()
    sandbox.world.advance(400)
    return str(account["id"])


def test_a_deleted_account_is_told_as_that_in_each_run(sandbox: Sandbox) -> None:
    gone = delete_account(sandbox)
    for full in (True, False):
        report = sync_subscriptions.fn(full=full)
        assert told(report) == [(["cust-single"], "MB-FOREIGN-EDIT"), (PLAN, "MB-FOREIGN-EDIT")]
        account = next(row for row in report.quarantined if row["kind"] == "account")
        assert account["message"] == f"account {gone} of customer cust-single was deleted in m3ter"
        assert (report.exit_code, report.writes) == (3, 0)
        sandbox.world.advance(900)


def test_with_repair_a_deleted_account_is_made_anew_with_its_plan_and_its_mappings(sandbox: Sandbox) -> None:
    before = account_plan(sandbox)
    gone = delete_account(sandbox)
    os.environ[REPAIR] = "repair"
    assert told(sync_subscriptions.fn(full=True)) == []
    (account,) = sandbox.world.m3ter.accounts.rows()
    made = account_plan(sandbox)
    assert (account["code"], made["accountId"]) == ("cust-single", account["id"])
    assert (made["startDate"], made["code"]) == (before["startDate"], before["code"])
    mapped = sandbox.world.m3ter.mappings.rows()
    assert sorted(row["m3terId"] for row in mapped) == sorted([account["id"], made["id"]])
    assert account["id"] != gone
    assert (sync_subscriptions.fn(full=True).writes, reconcile.fn().differences) == (0, 0)


def test_with_repair_the_account_that_a_person_made_in_its_place_is_adopted(sandbox: Sandbox) -> None:
    m3ter = sandbox.world.m3ter
    delete_account(sandbox)
    people = People(sandbox)
    by_hand = {"code": "cust-single", "name": "By Hand", "emailAddress": "by@hand.example", "currency": "EUR"}
    made = people.m3ter("POST", "accounts", by_hand)
    people.close()
    assert made
    sandbox.world.advance(400)
    os.environ[REPAIR] = "repair"
    assert told(sync_subscriptions.fn(full=True)) == []
    assert [row["id"] for row in m3ter.accounts.rows()] == [made["id"]]
    assert account_plan(sandbox)["accountId"] == made["id"]
    assert (sync_subscriptions.fn(full=True).writes, reconcile.fn().differences) == (0, 0)


def test_a_subscription_that_begins_on_a_deleted_account_waits_or_goes_to_the_new_one(sandbox: Sandbox) -> None:
    delete_account(sandbox)
    more = {"id": "sub-more", **item("support-EUR-Monthly", 1)}
    change(sandbox, "customers/cust-single/subscription_for_items", **more)
    report = sync_subscriptions.fn(full=True)
    assert (["sub-more", "support-EUR-Monthly", "1"], "MB-DEPENDS") in told(report)
    os.environ[REPAIR] = "repair"
    assert told(sync_subscriptions.fn(full=True)) == []
    (account,) = sandbox.world.m3ter.accounts.rows()
    assert {row["accountId"] for row in sandbox.world.m3ter.account_plans.rows()} == {account["id"]}
    assert (sync_subscriptions.fn(full=True).writes, reconcile.fn().differences) == (0, 0)


def test_a_deleted_child_account_is_told_and_with_repair_made_anew_under_its_parent(sandbox: Sandbox) -> None:
    os.environ["METERBRIDGE_ON_PRODUCT_OVERLAP"] = "child_account"
    change(sandbox, "customers/cust-single/subscription_for_items", id="sub-more", **item(PLAN[1], 1))
    sync_subscriptions.fn()
    m3ter, child = sandbox.world.m3ter, "cust-single~sub-more"
    accounts = {row["code"]: row for row in m3ter.accounts.rows()}
    (before,) = m3ter.account_plans.find("accountId", accounts[child]["id"])
    people = People(sandbox)
    assert people.m3ter("DELETE", f"accountplans/{before['id']}")
    assert people.m3ter("DELETE", f"accounts/{accounts[child]['id']}")
    people.close()
    sandbox.world.advance(400)
    for full in (True, False):
        report = sync_subscriptions.fn(full=full)
        assert told(report) == [([child], "MB-FOREIGN-EDIT"), (["sub-more", *PLAN[1:]], "MB-FOREIGN-EDIT")]
        assert (report.exit_code, report.writes) == (3, 0)
    message = f"account {accounts[child]['id']} of subscription sub-more of customer cust-single was deleted in m3ter"
    assert report.quarantined[0]["message"] == message
    os.environ[REPAIR] = "repair"
    assert told(sync_subscriptions.fn(full=True)) == []
    after = {row["code"]: row for row in m3ter.accounts.rows()}
    assert sorted(after) == ["cust-single", child]
    assert after["cust-single"] == accounts["cust-single"]
    assert after[child]["parentAccountId"] == accounts["cust-single"]["id"]
    (made,) = m3ter.account_plans.find("accountId", after[child]["id"])
    assert (made["code"], made["startDate"]) == (before["code"], before["startDate"])
    mapped = {row["m3terId"] for row in m3ter.mappings.rows()}
    assert {after[child]["id"], made["id"]} <= mapped
    assert not {accounts[child]["id"], before["id"]} & mapped
    assert (sync_subscriptions.fn(full=True).writes, reconcile.fn().differences) == (0, 0)


def test_an_account_renamed_by_hand_is_reported_and_with_repair_named_as_before(sandbox: Sandbox) -> None:
    m3ter = sandbox.world.m3ter
    (account,) = m3ter.accounts.rows()
    m3ter.save(m3ter.accounts, account | {"name": "Somebody Else"}, account)
    report = sync_subscriptions.fn(full=True)
    assert told(report) == [(["cust-single"], "MB-FOREIGN-EDIT")]
    assert "Somebody" not in report.quarantined[0]["message"]
    os.environ[REPAIR] = "repair"
    assert told(sync_subscriptions.fn()) == []
    (account,) = m3ter.accounts.rows()
    assert account["name"] == "Single Ltd"
    assert sync_subscriptions.fn(full=True).writes == 0


def test_an_edit_that_a_person_accepted_is_told_no_more(sandbox: Sandbox) -> None:
    edit(sandbox, endDate=BY_HAND)
    assert [one["what"] for one in reconcile.fn().drift] == ["end"]
    sync_subscriptions.fn(full=True)
    assert reconcile.fn().drift == []  # set aside: somebody knows
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        assert quarantine.dismiss(tx, "account_plan", tuple(PLAN), "Ada", "agreed with the customer")
        tx.commit()
    ledger.close()
    report = sync_subscriptions.fn(full=True)
    assert (told(report), report.exit_code, account_plan(sandbox)["endDate"]) == ([], 0, BY_HAND)
    assert reconcile.fn().drift == []


def change(sandbox: Sandbox, path: str, **fields: str) -> None:
    """One operation of Chargebee's, and an hour for the lists to show it."""
    url = f"{sandbox.chargebee_url}/{path}"
    httpx.post(url, data=fields, auth=(CHARGEBEE_API_KEY, "")).raise_for_status()
    sandbox.world.advance(3_600)


def item(item_price: str, quantity: int) -> dict[str, str]:
    return {"subscription_items[item_price_id][0]": item_price, "subscription_items[quantity][0]": str(quantity)}


UPDATE = "subscriptions/sub-single/update_for_items"


@pytest.mark.parametrize(
    ("mode", "path", "fields", "lost"),
    [
        pytest.param("report", UPDATE, item(PLAN[1], 3), "POST /replace", id="replaced"),
        pytest.param("repair", UPDATE, item(PLAN[1], 3), "POST /replace", id="replaced-repair"),
        pytest.param("report", UPDATE, item("support-EUR-Monthly", 1), "PUT /accountplans/", id="ended-for-another"),
        pytest.param("report", UPDATE, item("support-EUR-Monthly", 1), "POST /accountplans", id="created"),
        pytest.param("report", "customers/cust-single", {"company": "Another"}, "PUT /accounts/", id="renamed"),
    ],
)
def test_a_write_of_our_own_whose_outcome_was_lost_is_no_edit(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, mode: str, path: str, fields: dict[str, str], lost: str
) -> None:
    os.environ[REPAIR] = mode
    change(sandbox, path, **fields)
    method, path_sent = lost.split()
    killed(
        monkeypatch,
        sync_subscriptions.fn,
        lambda request: request.method == method and path_sent in request.url.path,
    )
    assert reconcile.fn().drift == []
    after = sync_subscriptions.fn(full=True)
    assert (told(after), after.exit_code) == ([], 0)
    again = sync_subscriptions.fn(full=True)
    assert (told(again), again.writes) == ([], 0)
    assert reconcile.fn().drift == []


def test_an_item_whose_end_has_no_outcome_yet_begins_again_like_the_others(sandbox: Sandbox) -> None:
    both = item(PLAN[1], 1) | {
        name.replace("[0]", "[1]"): value for name, value in item("storage-EUR-Monthly", 1).items()
    }
    change(sandbox, UPDATE, **both)
    assert sync_subscriptions.fn().exit_code == 0
    change(sandbox, "subscriptions/sub-single/cancel_for_items", cancel_option="immediately")
    change(sandbox, "subscriptions/sub-single/reactivate")
    one = {"vendor": "m3ter", "path": "/accountplans/"}
    sandbox.world.faults.add(  # the second end lands, and neither its answer nor a look at it comes through
        [
            {"harm": "truncate", "match": {**one, "method": "PUT", "nth": 2}, "times": -1},
            {"harm": "drop_before", "match": {**one, "method": "GET", "nth": 3}, "times": -1},
        ]
    )
    with pytest.raises(MeterbridgeError):
        sync_subscriptions.fn()
    sandbox.world.faults.clear()
    SqliteLedger(load_settings().home).expire_leases()

    sync_subscriptions.fn()

    rows = sandbox.world.m3ter.account_plans.rows()
    assert sorted(row["code"][-2:] for row in rows if row.get("endDate") is None) == [".2", ".2"]
    assert sync_subscriptions.fn().writes == 0
    assert reconcile.fn().drift == []
