"""A pair that lived before the bridge: nobody gets a second account, and what a run costs grows with what is new."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from flows.reconcile import reconcile
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.ledger import mappings, quarantine
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.m3ter.accounts import auto_created
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.sandbox.scenarios.living import put_account, put_plan
from meterbridge.settings import load_settings
from tasks.report import RunReport
from tasks.services import open_ledger

TWIN = "MB-ACCOUNT-TWIN"
SETTING = "METERBRIDGE_ON_SIMILAR_ACCOUNT"
ASIDE = ["globex", "hooli", "initech-north", "initech-south", "staedte", "umbrella"]
API = "api-pro-EUR-Monthly"


@pytest.fixture
def sandbox(open_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return open_sandbox("living")


def twins(report: RunReport) -> dict[str, str]:
    return {row["key"][0]: row["message"] for row in report.quarantined if row["code"] == TWIN}


def accounts(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    return {row["code"]: row for row in sandbox.world.m3ter.accounts.rows()}


def of_customer(sandbox: Sandbox) -> dict[str, str]:
    """Codes of the accounts that are mapped, by customer."""
    codes = {row["id"]: row["code"] for row in sandbox.world.m3ter.accounts.rows()}
    rows = sandbox.world.m3ter.mappings.rows()
    return {row["externalId"]: codes[row["m3terId"]] for row in rows if row["m3terEntity"] == "Account"}


def newcomer(sandbox: Sandbox, customer_id: str, company: str, **more: Any) -> None:
    sandbox.world.advance(3_600)
    put_customer(sandbox.world, customer_id, company, "EUR", **more)
    now = sandbox.world.clock.now()
    put_subscription(sandbox.world, SubscriptionSeed(f"{customer_id}-sub", customer_id, (API,), now), invoice=False)
    sandbox.world.advance(3_600)


def lose_ledger() -> None:
    for file in load_settings().home.glob("**/ledger.sqlite3*"):
        file.unlink()


def test_who_has_an_account_that_looks_alike_is_set_aside_also_later_and_in_dry_runs(sandbox: Sandbox) -> None:
    before = set(accounts(sandbox))
    dry = sync_subscriptions.fn(dry_run=True)
    first = sync_subscriptions.fn()
    assert sorted(twins(dry)) == sorted(twins(first)) == ASIDE
    assert set(accounts(sandbox)) - before == {"stark", "wayne"}
    assert of_customer(sandbox) == {"stark": "stark", "wayne": "wayne", "cyberdyne": "cyberdyne"}
    codes = {row["id"]: code for code, row in accounts(sandbox).items()}
    named = {who: {codes[one] for one in codes if one in words} for who, words in twins(first).items()}
    assert named["globex"] == {"G-100"}
    assert named["staedte"] == {"G-200"}
    assert named["umbrella"] == {"G-401", "G-402"}
    assert named["hooli"] == {"G-500"}
    assert "same name" in twins(first)["staedte"]
    assert "initech-south" in twins(first)["initech-north"]
    assert not any("@" in words or "Städte" in words for words in twins(first).values())
    assert first.exit_code == 3
    sandbox.world.advance(900)
    second = sync_subscriptions.fn()
    assert (sorted(twins(second)), second.writes) == (ASIDE, 0)
    again = sync_subscriptions.fn(dry_run=True)
    assert sorted(twins(again)) == ASIDE
    compared = reconcile.fn()
    assert [row for row in compared.drift if row["what"] == "account plan" and row["disagreement"] == "missing"] == []


def test_with_create_everybody_gets_an_account_and_no_list_is_read_for_it(sandbox: Sandbox) -> None:
    os.environ[SETTING] = "create"
    report = sync_subscriptions.fn()
    assert twins(report) == {}
    assert {"globex", "umbrella", "initech-north"} <= set(accounts(sandbox))


def test_with_adopt_only_the_certain_ones_are_taken_over_with_their_plans(sandbox: Sandbox) -> None:
    os.environ[SETTING] = "adopt"
    (by_hand,) = sandbox.world.m3ter.account_plans.rows()
    report = sync_subscriptions.fn()
    assert sorted(twins(report)) == ["initech-north", "initech-south", "umbrella"]
    taken = {who: code for who, code in of_customer(sandbox).items() if code.startswith("G-")}
    assert taken == {"globex": "G-100", "staedte": "G-200", "hooli": "G-500"}
    kept = sandbox.world.m3ter.account_plans.get(by_hand["id"])
    assert kept is not None
    assert kept["startDate"] == by_hand["startDate"]
    assert report.intended["account_plan.adopt"] == 1
    sandbox.world.advance(900)
    assert sync_subscriptions.fn().writes == 0
    assert sync_subscriptions.fn(full=True).writes == 0


@pytest.mark.parametrize("setting", ["quarantine", "adopt"])
def test_a_newcomer_is_held_against_all_accounts_in_few_requests(
    open_sandbox: Callable[..., Sandbox], setting: str
) -> None:
    """Cost grows with what is new: five thousand accounts are not read again for one customer."""
    sandbox = open_sandbox("empty", **{SETTING: setting})
    with sandbox.world.lock:
        for number in range(5_000):
            put_account(sandbox.world, f"A-{number}", f"Company {number}", f"ap@company{number}.example")
    first = sync_subscriptions.fn()
    assert first.requests["m3ter"] > 50
    newcomer(sandbox, "nobody", "Nobody before")
    alone = sync_subscriptions.fn()
    assert (twins(alone), alone.applied["account.create"]) == ({}, 1)
    newcomer(sandbox, "company", "COMPANY  4711", email="new@company.example")
    found = sync_subscriptions.fn()
    assert found.requests["m3ter"] < 25
    assert list(twins(found)) == (["company"] if setting == "quarantine" else [])
    put_account(sandbox.world, "B-1", "Made since", "ap@since.example")
    newcomer(sandbox, "since", "Another name", email="AP@since.example")
    since = sync_subscriptions.fn()
    assert since.requests["m3ter"] < 30
    assert ("since" in twins(since)) is (setting == "quarantine")
    assert of_customer(sandbox).get("since") == (None if setting == "quarantine" else "B-1")
    sandbox.world.advance(900)
    quiet = sync_subscriptions.fn()
    assert (quiet.writes, quiet.requests["m3ter"] < 25) == (0, True)


def test_a_hundred_newcomers_are_few_requests_at_first_and_later(open_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = open_sandbox("empty")
    world = sandbox.world
    with world.lock:
        for number in range(300):
            put_account(world, f"A-{number}", f"Company {number}", f"ap@company{number}.example")
    sync_subscriptions.fn()
    world.advance(3_600)
    for number in range(100):
        put_customer(world, f"c-{number}", f"COMPANY {number}", "EUR")
        seed = SubscriptionSeed(f"c-{number}-sub", f"c-{number}", (API,), world.clock.now())
        put_subscription(world, seed, invoice=False)
    world.advance(3_600)
    first = sync_subscriptions.fn()
    world.advance(900)
    later = sync_subscriptions.fn()
    assert len(twins(first)) == len(twins(later)) == 100
    assert max(sum(first.requests.values()), sum(later.requests.values())) < 40
    assert later.writes == 0


def test_an_account_adopted_in_passing_brings_its_plans(open_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = open_sandbox("single", **{SETTING: "adopt"})
    sync_subscriptions.fn()
    account = put_account(sandbox.world, "L-1", "Late Ltd", "ap@late.example")
    put_account(sandbox.world, "L-1/eu", "LATE LTD", "eu@late.example", parentAccountId=account["id"])
    by_hand = put_plan(sandbox.world, account, "api-pro-eur", "2026-01-01T00:00:00Z")
    newcomer(sandbox, "late", "Late Ltd")
    report = sync_subscriptions.fn()
    assert (report.quarantined, report.intended["account_plan.adopt"]) == ([], 1)
    kept = sandbox.world.m3ter.account_plans.get(by_hand["id"])
    assert kept is not None
    assert kept["startDate"] == by_hand["startDate"]


@pytest.mark.parametrize("many", [0, 200])
def test_an_account_that_looks_like_somebody_else_too_is_not_adopted_in_passing(
    open_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """The other has an account of its own; whose the second one is, nobody knows, however accounts are read."""
    monkeypatch.setattr("tasks.existing.MANY_CUSTOMERS", many)
    sandbox = open_sandbox("single", **{SETTING: "adopt"})
    newcomer(sandbox, "first", "First", email="ap@agency.example")
    sync_subscriptions.fn()
    put_account(sandbox.world, "X-1", "Agency", "ap@agency.example")
    newcomer(sandbox, "second", "Second", email="ap@agency.example")
    assert "first" in twins(sync_subscriptions.fn())["second"]


@pytest.mark.parametrize("many", [0, 200])
def test_an_account_whose_code_is_another_customers_id_is_that_ones(
    open_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr("tasks.existing.MANY_CUSTOMERS", many)
    sandbox = open_sandbox("single")
    put_customer(sandbox.world, "prospect", "Prospect", "EUR", email="ap@agency.example")
    put_account(sandbox.world, "prospect", "Prospect", "ap@agency.example")
    sync_subscriptions.fn()
    newcomer(sandbox, "client", "Client", email="ap@agency.example")
    report = sync_subscriptions.fn()
    assert (twins(report), report.applied["account.create"]) == ({}, 1)


def test_a_dismissed_twin_says_that_they_are_two(sandbox: Sandbox) -> None:
    sync_subscriptions.fn()
    sandbox.world.advance(900)
    with closing(open_ledger(load_settings())) as ledger, ledger.write() as tx:
        assert quarantine.dismiss(tx, "account", ("staedte",), "Ada", "another company")
        tx.commit()
    report = sync_subscriptions.fn()
    assert of_customer(sandbox)["staedte"] == "staedte"
    assert sorted(twins(report)) == sorted(set(ASIDE) - {"staedte"})
    sandbox.world.advance(900)
    assert sync_subscriptions.fn().writes == 0


def test_a_mapping_made_by_hand_counts_whatever_the_code(sandbox: Sandbox) -> None:
    sync_subscriptions.fn()
    sandbox.world.advance(900)
    account = accounts(sandbox)["G-100"]
    m3ter = sandbox.world.m3ter
    row = {"m3terEntity": "Account", "m3terId": account["id"], "externalSystem": "Chargebee"}
    mapping = (
        {"id": "00000000-0000-4000-8000-000000000001"} | row | {"externalTable": "Customer", "externalId": "globex"}
    )
    m3ter.save(m3ter.mappings, mapping, None)
    report = sync_subscriptions.fn()
    assert "globex" not in twins(report)
    assert report.intended["account_plan.adopt"] == 1
    assert accounts(sandbox)["G-100"]["name"] == "Globex Ltd"
    sandbox.world.advance(900)
    assert sync_subscriptions.fn().writes == 0
    lose_ledger()
    assert sync_subscriptions.fn().writes == 0
    with closing(open_ledger(load_settings())) as ledger, ledger.read() as rx:
        kept = mappings.get(rx, "account", ("globex",))
    assert kept is not None
    assert (kept.remote_id, kept.state["code"]) == (account["id"], "G-100")


def test_a_customer_without_subscriptions_is_asked_about_again_until_it_is_settled(
    open_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = open_sandbox("single", METERBRIDGE_ALL_CUSTOMERS="true")
    sync_subscriptions.fn()
    put_account(sandbox.world, "P-1", "Prospect", "ap@prospect.example")
    sandbox.world.advance(3_600)
    put_customer(sandbox.world, "prospect", "PROSPECT", "EUR")
    sandbox.world.advance(3_600)
    assert list(twins(sync_subscriptions.fn())) == ["prospect"]
    sandbox.world.advance(3_600)
    assert list(twins(sync_subscriptions.fn())) == ["prospect"]
    os.environ[SETTING] = "adopt"
    sandbox.world.advance(900)
    assert sync_subscriptions.fn().quarantined == []
    assert of_customer(sandbox)["prospect"] == "P-1"


def test_a_code_taken_meanwhile_by_somebody_elses_account_is_not_taken_for_ours(
    open_sandbox: Callable[..., Sandbox],
) -> None:
    """m3ter refuses the code although no list showed it: what a look finds then is not what we made."""
    world = open_sandbox("single").world
    world.advance(3_600)
    account = put_account(world, "cust-single", "Else", "else@x.example")
    row = {"id": "00000000-0000-4000-8000-000000000001", "m3terEntity": "Account", "m3terId": account["id"]}
    row |= {"externalSystem": "Chargebee", "externalTable": "Customer", "externalId": "somebody"}
    world.m3ter.save(world.m3ter.mappings, row, None)
    world.faults.add([{"match": {"path": "/accounts$", "method": "GET"}, "harm": "stale_list", "seconds": 1_800}])
    report = sync_subscriptions.fn()
    assert {row["code"] for row in report.quarantined} == {"MB-ACCOUNT-CLASH", "MB-DEPENDS"}
    assert [row for row in world.m3ter.mappings.rows() if row["externalId"] == "cust-single"] == []
    with closing(open_ledger(load_settings())) as ledger, ledger.read() as rx:
        assert mappings.get(rx, "account", ("cust-single",)) is None


def test_a_run_by_id_looks_too_and_knows_whose_an_account_is_by_the_ledger(sandbox: Sandbox) -> None:
    """Somebody took the mapping away in m3ter: the account is still the customer's whom the ledger has there."""
    m3ter = sandbox.world.m3ter
    os.environ[SETTING] = "adopt"
    sync_subscriptions.fn()
    assert of_customer(sandbox)["globex"] == "G-100"
    for row in [row for row in m3ter.mappings.rows() if row["externalId"] == "globex"]:
        m3ter.mappings.remove(row["id"], sandbox.world.clock.now_ms())
    newcomer(sandbox, "second", "Second", email="ap@globex.example")
    newcomer(sandbox, "late", "Umbrella Corp")
    assert twins(sync_subscriptions.fn(ids=["second"])) == {}
    assert of_customer(sandbox)["second"] == "second"
    assert list(twins(sync_subscriptions.fn(ids=["late"]))) == ["late"]


def test_usage_that_came_before_the_customer_was_linked_does_not_settle_whose_account_it_is(
    open_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = open_sandbox("single")
    sync_subscriptions.fn()
    auto_created(sandbox.world.m3ter, "late")
    put_account(sandbox.world, "L-1", "Late Ltd", "ap@late.example")
    newcomer(sandbox, "late", "Late Ltd")
    assert "skeleton" in twins(sync_subscriptions.fn())["late"]
    auto_created(sandbox.world.m3ter, "plain")
    newcomer(sandbox, "plain", "Plain Ltd")
    assert list(twins(sync_subscriptions.fn())) == ["late"]
    assert of_customer(sandbox)["plain"] == "plain"
