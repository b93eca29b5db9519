"""Day one on a living pair: linked by a file, adopted by the next sync under its own code, and taken apart again."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.link_accounts import link_accounts
from flows.rebuild_ledger import rebuild_ledger
from flows.reconcile import reconcile
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from flows.sync_usage import sync_usage
from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import mappings
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.sandbox.scenarios.living import put_account, put_plan
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import load_settings
from tasks.link import LinkReport
from tasks.link_suggest import suggest
from tasks.services import open_ledger, serving
from tests.flows.test_similar_accounts import accounts, lose_ledger, newcomer, of_customer, twins

API = "api-pro-EUR-Monthly"
USAGE = """\
name: calls
account: {{column: customer, names: {names}}}
ts: at
key: [id]
meters:
  - meter: api_calls
    measure: {{calls: calls}}
"""


@pytest.fixture
def sandbox(open_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return open_sandbox("living")


def link(tmp_path: Path, pairs: dict[str, str], **how: bool) -> LinkReport:
    """Apply a file of customers and account codes."""
    path = tmp_path / "links.csv"
    lines = [f"{customer},{code}" for customer, code in pairs.items()]
    path.write_text("\n".join(["customer_id,account_code", *lines, ""]), encoding="utf-8")
    return link_accounts.fn(str(path), **how)


def account_plans(sandbox: Sandbox, code: str) -> list[dict[str, Any]]:
    return list(sandbox.world.m3ter.account_plans.find("accountId", accounts(sandbox)[code]["id"]))


GLOBEX = {"globex": "G-100"}


def test_what_is_linked_is_adopted_under_its_own_code_and_the_next_run_is_quiet(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    before = accounts(sandbox)["G-100"]
    (by_hand,) = account_plans(sandbox, "G-100")
    dry = link(tmp_path, GLOBEX, dry_run=True)
    assert (dry.intended, dry.applied, of_customer(sandbox)) == ({"external_mapping.create": 1}, {}, {})
    assert [row["customer_id"] for row in dry.linked] == ["globex"]
    done = link(tmp_path, GLOBEX)
    assert (done.applied, done.exit_code) == ({"external_mapping.create": 1}, 0)
    assert of_customer(sandbox) == GLOBEX
    again = link(tmp_path, GLOBEX)
    assert (again.applied, again.as_it_was, again.exit_code) == ({}, 1, 0)
    report = sync_subscriptions.fn()
    assert "globex" not in twins(report)
    after = accounts(sandbox)["G-100"]
    assert (after["id"], after["code"], after["name"]) == (before["id"], "G-100", "Globex Ltd")
    (kept,) = account_plans(sandbox, "G-100")
    assert (kept["id"], kept["startDate"]) == (by_hand["id"], by_hand["startDate"])
    sandbox.world.advance(900)
    assert sync_subscriptions.fn().writes == 0
    full = sync_subscriptions.fn(full=True)
    assert (full.writes, [row for row in full.quarantined if "globex" in str(row["key"])]) == (0, [])
    assert reconcile.fn().drift == []


def test_linked_after_it_was_set_aside_it_is_adopted_by_the_next_run(sandbox: Sandbox, tmp_path: Path) -> None:
    sync_subscriptions.fn()
    sandbox.world.advance(900)
    assert link(tmp_path, {"staedte": "G-200", **GLOBEX}).exit_code == 0
    report = sync_subscriptions.fn()
    assert {"globex", "staedte"}.isdisjoint(twins(report))
    assert of_customer(sandbox)["staedte"] == "G-200"
    assert len(account_plans(sandbox, "G-100")) == len(account_plans(sandbox, "G-200")) == 1
    sandbox.world.advance(900)
    assert sync_subscriptions.fn().writes == 0


@pytest.mark.parametrize("harm", ["commit_then_drop", "drop_before", "error_after_commit"])
def test_after_a_lost_answer_one_mapping_stands(sandbox: Sandbox, tmp_path: Path, harm: str) -> None:
    fault = {"match": {"path": "/externalmappings$", "method": "POST"}, "harm": harm}
    sandbox.world.faults.add([fault])
    try:
        link(tmp_path, GLOBEX)
    except MeterbridgeError:
        link(tmp_path, GLOBEX)
    assert of_customer(sandbox) == GLOBEX
    assert len(sandbox.world.m3ter.mappings) == 1
    assert link(tmp_path, GLOBEX).as_it_was == 1


@pytest.mark.parametrize("adopted", [False, True])
def test_a_lost_ledger_forgets_no_link(sandbox: Sandbox, tmp_path: Path, adopted: bool) -> None:
    link(tmp_path, GLOBEX)
    if adopted:
        sync_subscriptions.fn()
    lose_ledger()
    assert link(tmp_path, GLOBEX).as_it_was == 1
    report = sync_subscriptions.fn()
    assert "globex" not in twins(report)
    assert len(account_plans(sandbox, "G-100")) == 1
    sandbox.world.advance(900)
    assert sync_subscriptions.fn().writes == 0


def test_a_rebuilt_ledger_knows_a_linked_account_by_its_mapping(sandbox: Sandbox, tmp_path: Path) -> None:
    link(tmp_path, GLOBEX)
    sync_subscriptions.fn()
    lose_ledger()
    rebuild_ledger.fn()
    with closing(open_ledger(load_settings())) as ledger, ledger.read() as rx:
        known = mappings.get(rx, "account", ("globex",))
        plans = [row.remote_id for row in mappings.by_scope(rx, "account_plan", "globex") if row.active]
    assert known is not None
    assert (known.remote_id, known.state["code"]) == (accounts(sandbox)["G-100"]["id"], "G-100")
    assert plans == [row["id"] for row in account_plans(sandbox, "G-100")]
    report = sync_subscriptions.fn()
    assert "globex" not in twins(report)
    assert len(account_plans(sandbox, "G-100")) == 1


def test_taken_apart_is_set_aside_again_and_can_be_linked_anew(sandbox: Sandbox, tmp_path: Path) -> None:
    link(tmp_path, GLOBEX)
    sync_subscriptions.fn()
    (plan,) = account_plans(sandbox, "G-100")
    apart = link(tmp_path, GLOBEX, remove=True)
    assert (apart.applied, [row["customer_id"] for row in apart.unlinked]) == (
        {"external_mapping.delete": 2},
        ["globex"],
    )
    assert "globex" not in of_customer(sandbox)
    assert account_plans(sandbox, "G-100") == [plan]
    assert link(tmp_path, GLOBEX, remove=True).as_it_was == 1
    sandbox.world.advance(900)
    report = sync_subscriptions.fn()
    assert "globex" in twins(report)
    assert account_plans(sandbox, "G-100") == [plan]
    link(tmp_path, GLOBEX)
    sandbox.world.advance(900)
    assert "globex" not in twins(sync_subscriptions.fn())
    (kept,) = account_plans(sandbox, "G-100")
    assert (kept["id"], kept["startDate"], kept.get("endDate")) == (plan["id"], plan["startDate"], None)
    assert sync_subscriptions.fn(full=True).writes == 0


def test_taken_apart_from_what_does_not_look_alike_it_gets_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    link(tmp_path, {"wayne": "G-600"})
    sync_subscriptions.fn()
    assert link(tmp_path, {"wayne": "G-600"}, remove=True).exit_code == 0
    sandbox.world.advance(900)
    sync_subscriptions.fn()
    assert of_customer(sandbox)["wayne"] == "wayne"
    sandbox.world.advance(900)
    assert sync_subscriptions.fn().writes == 0
    assert "linked to account" in link(tmp_path, {"wayne": "G-600"}).refused[0]["message"]


def test_taken_apart_before_the_first_sync_leaves_no_trace(sandbox: Sandbox, tmp_path: Path) -> None:
    link(tmp_path, GLOBEX)
    link(tmp_path, GLOBEX, remove=True)
    assert of_customer(sandbox) == {}
    assert "globex" in twins(sync_subscriptions.fn())


def test_contradictions_are_refused_line_by_line_and_the_others_go(sandbox: Sandbox, tmp_path: Path) -> None:
    sync_subscriptions.fn()
    asked = {**GLOBEX, "nobody": "G-200", "umbrella": "G-999", "hooli": "cyberdyne", "stark": "G-300"}
    report = link(tmp_path, asked)
    assert [row["customer_id"] for row in report.linked] == ["globex"]
    words = {row["customer_id"]: row["message"] for row in report.refused}
    assert sorted(words) == ["hooli", "nobody", "stark", "umbrella"]
    assert "cyberdyne" in words["hooli"]
    assert "already" in words["stark"]
    assert {row["code"] for row in report.refused} == {"MB-LINK"}
    assert report.exit_code == 3
    assert not any("@" in text for text in words.values())


def test_suggestions_leave_out_what_is_linked(sandbox: Sandbox, tmp_path: Path) -> None:
    link(tmp_path, GLOBEX)
    with serving() as work:
        found = suggest(work, None)
        by_field = suggest(work, "cf_m3ter_account")
    pairs = {(pair.customer.id, pair.account.code): pair.certain for pair in found.pairs}
    assert pairs == {
        ("hooli", "G-500"): True,
        ("staedte", "G-200"): True,
        ("initech-north", "G-300"): False,
        ("initech-south", "G-300"): False,
        ("umbrella", "G-401"): False,
        ("umbrella", "G-402"): False,
    }
    assert [(pair.customer.id, pair.account.code) for pair in by_field.pairs] == [("wayne", "G-600")]


def test_another_sites_account_is_neither_suggested_nor_linked(sandbox: Sandbox, tmp_path: Path) -> None:
    state = sandbox.world.m3ter
    account = accounts(sandbox)["G-100"]
    with sandbox.world.lock:
        state.save(state.accounts, account | {"customFields": {"chargebee_site": "elsewhere"}}, account)
    with serving() as work:
        assert "globex" not in {pair.customer.id for pair in suggest(work, None).pairs}
    report = link(tmp_path, GLOBEX)
    (refused,) = report.refused
    assert refused["message"] == f"account {account['id']} is a customer's of the Chargebee site elsewhere"
    assert (report.linked, report.writes) == ([], 0)


def test_a_linked_accounts_month_is_charged_and_reconciles(sandbox: Sandbox, tmp_path: Path) -> None:
    """Bills name the account's own code; whose they are the mapping says, also where settings name customers."""
    os.environ["METERBRIDGE_ACCOUNTS_ONLY"] = "globex"
    link(tmp_path, GLOBEX)
    sync_subscriptions.fn()
    use_and_bill(sandbox.world)
    sync_subscriptions.fn()
    charged = sync_bills.fn()
    assert charged.quarantined == []
    assert sum(count for kind, count in charged.applied.items() if kind == "charge.create") > 0
    compared = reconcile.fn()
    assert compared.drift == []
    assert {one["customer_id"] for one in compared.bills} == {"globex"}
    assert all(one["equal"] for one in compared.bills)
    os.environ["METERBRIDGE_ACCOUNTS_ONLY"] = "stark"
    assert sync_bills.fn(full=True).intended == {}


@pytest.mark.parametrize("names", ["customer", "account"])
def test_usage_goes_to_the_linked_account(sandbox: Sandbox, tmp_path: Path, names: str) -> None:
    os.environ["METERBRIDGE_ACCOUNTS_EXCEPT"] = "hooli"
    link(tmp_path, {**GLOBEX, "hooli": "G-500"})
    os.environ["METERBRIDGE_ACCOUNTS_EXCEPT"] = ""
    sync_subscriptions.fn()
    os.environ["METERBRIDGE_ACCOUNTS_EXCEPT"] = "hooli"
    mapping, source = tmp_path / "usage.yaml", tmp_path / "usage.csv"
    mapping.write_text(USAGE.format(names=names), encoding="utf-8")
    named = ["globex", "hooli", "G-100"] if names == "customer" else ["G-100", "G-500", "globex"]
    lines = [f"{name},2026-03-16T08:00:00Z,{number},7" for number, name in enumerate(named)]
    source.write_text("\n".join(["customer,at,id,calls", *lines, ""]), encoding="utf-8")
    report = sync_usage.fn(str(mapping), [str(source)])
    assert report.applied == {"measurement": 1}
    state = sandbox.world.m3ter
    codes = {row["id"]: row["code"] for row in state.accounts.rows()}
    assert {codes[account] for account, _ in state.usage.rows} == {"G-100"}
    assert {row["key"][2] for row in report.quarantined} == {"account_excluded", "account_unknown"}
    assert sync_usage.fn(str(mapping), [str(source)]).applied == {}


def test_a_linked_accounts_child_accounts_are_found_after_a_lost_ledger(
    open_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = open_sandbox("empty", METERBRIDGE_ON_PRODUCT_OVERLAP="child_account")
    put_customer(sandbox.world, "globex", "Globex", "EUR")
    for name in ("one", "two"):
        put_subscription(sandbox.world, SubscriptionSeed(f"globex-{name}", "globex", (API,), sandbox.world.clock.now()))
    put_account(sandbox.world, "G-1", "Globex", "else@globex.example")
    link(tmp_path, {"globex": "G-1"})
    sync_subscriptions.fn()
    assert set(accounts(sandbox)) == {"G-1", "globex~globex-two"}
    sandbox.world.advance(900)
    assert sync_subscriptions.fn(full=True).writes == 0
    refused = link(tmp_path, {"globex": "G-1"}, remove=True)
    assert "below" in refused.refused[0]["message"]
    lose_ledger()
    report = sync_subscriptions.fn()
    assert (report.writes, report.quarantined) == (0, [])
    assert set(accounts(sandbox)) == {"G-1", "globex~globex-two"}


def test_a_name_or_a_code_changed_by_hand_is_told_and_ours_is_not(sandbox: Sandbox, tmp_path: Path) -> None:
    link(tmp_path, GLOBEX)
    sync_subscriptions.fn()
    row, m3ter = accounts(sandbox)["G-100"], sandbox.world.m3ter
    m3ter.save(m3ter.accounts, row | {"code": "G-100-b"}, row)
    report = sync_subscriptions.fn(full=True)
    (told,) = [one for one in report.quarantined if one["code"] == "MB-FOREIGN-EDIT"]
    assert told["key"] == ["globex"]
    assert told["message"].endswith("code")


def test_a_customer_whose_id_is_a_linked_accounts_code_is_set_aside(sandbox: Sandbox, tmp_path: Path) -> None:
    link(tmp_path, GLOBEX)
    sync_subscriptions.fn()
    newcomer(sandbox, "G-100", "Somebody else", email="x@else.example")
    report = sync_subscriptions.fn()
    assert [row["code"] for row in report.quarantined if row["key"] == ["G-100"]] == ["MB-ACCOUNT-CLASH"]
    with closing(open_ledger(load_settings())) as ledger, ledger.read() as rx:
        assert mappings.get(rx, "account", ("G-100",)) is None


def test_many_lines_are_few_requests(open_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = open_sandbox("empty")
    pairs = {}
    with sandbox.world.lock:
        for number in range(300):
            put_customer(sandbox.world, f"c-{number}", f"Company {number}", "EUR")
            account = put_account(sandbox.world, f"A-{number}", f"Company {number}", f"ap@company{number}.example")
            put_plan(sandbox.world, account, "api-pro-eur", "2026-01-01T00:00:00Z")
            pairs[f"c-{number}"] = f"A-{number}"
    report = link(tmp_path, pairs, dry_run=True)
    assert report.intended == {"external_mapping.create": 300}
    assert sum(report.requests.values()) < 50
    done = link(tmp_path, pairs)
    assert done.applied == {"external_mapping.create": 300}
    assert link(tmp_path, pairs).as_it_was == 300
