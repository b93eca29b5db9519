"""A dry run tells what the real run will set aside, and nothing else."""

from __future__ import annotations

from flows.sync_subscriptions import sync_subscriptions
from meterbridge.sandbox import Sandbox
from tasks.report import RunReport
from tests.flows.conftest import OpenSandbox
from tests.flows.test_read_up_to_now import ITEM, post


def aside(report: RunReport) -> list[tuple[str, str, tuple[str, ...]]]:
    return sorted((row["code"], row["kind"], tuple(row["key"])) for row in report.quarantined)


def same(dry: RunReport, real: RunReport) -> bool:
    return (aside(dry), dry.intended, dry.change_set) == (aside(real), real.intended, real.change_set)


def subscribed(sandbox: Sandbox, name: str) -> None:
    post(sandbox, "/customers", id=name, company=f"{name} Ltd", email="one@new.example")
    post(sandbox, f"/customers/{name}/subscription_for_items", id=f"{name}-sub", **{ITEM: "api-pro-EUR-Monthly"})


def test_the_whole_demo_is_foreseen(open_sandbox: OpenSandbox) -> None:
    open_sandbox("demo")
    dry = sync_subscriptions.fn(dry_run=True)
    real = sync_subscriptions.fn()
    assert same(dry, real)
    assert real.applied == real.intended
    codes = [code for code, _, _ in aside(real)]
    assert codes.count("MB-ACCOUNT-CLASH") == 1
    assert codes.count("MB-DEPENDS") == 3  # its mapping, its account plan and that one's mapping
    assert sync_subscriptions.fn().writes == 0


def test_a_customer_whose_id_differs_from_a_known_one_in_case_is_foreseen(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    subscribed(sandbox, "Acme-9")
    sync_subscriptions.fn()
    subscribed(sandbox, "ACME-9")
    dry = sync_subscriptions.fn(dry_run=True)
    sandbox.world.log.clear()
    real = sync_subscriptions.fn()
    assert same(dry, real)
    # The account is in sight, so the rules say it before a write is thought of: the customer and its item.
    assert [(code, kind, key[0]) for code, kind, key in aside(real)] == [
        ("MB-ACCOUNT-CLASH", "account", "ACME-9"),
        ("MB-DEPENDS", "account_plan", "ACME-9-sub"),
    ]
    assert real.applied == {}
    written = [
        one for one in sandbox.world.log if one.vendor == "m3ter" and one.method == "POST" and "/accounts" in one.path
    ]
    assert written == []


def test_retry_after_the_other_one_has_another_code_clears_it(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    subscribed(sandbox, "Acme-9")
    subscribed(sandbox, "acme-9")
    assert "MB-ACCOUNT-CLASH" in [code for code, _, _ in aside(sync_subscriptions.fn())]
    state = sandbox.world.m3ter
    with sandbox.world.lock:
        taken = next(row for row in state.accounts.rows() if row["code"] == "Acme-9")
        state.save(state.accounts, taken | {"code": "renamed-by-hand"}, taken)
        del state.account_ids_by_folded_code["acme-9"]
    report = sync_subscriptions.fn(ids=["acme-9"])  # asked for by name: what could not be is tried again
    assert report.applied["account.create"] == 1
    assert aside(report) == []


def test_two_accounts_sent_side_by_side_because_they_were_named_end_as_a_clash_too(open_sandbox: OpenSandbox) -> None:
    sandbox = open_sandbox("single")
    subscribed(sandbox, "Acme-9")
    subscribed(sandbox, "acme-9")
    sandbox.world.log.clear()
    report = sync_subscriptions.fn(ids=["Acme-9", "acme-9"])
    sent = [one for one in sandbox.world.log if (one.vendor, one.method) == ("m3ter", "POST")]
    assert [one.status for one in sent if one.path.endswith("/accounts")] == [200, 400]
    accounts = [(code, key) for code, kind, key in aside(report) if kind == "account"]
    assert accounts == [("MB-ACCOUNT-CLASH", ("acme-9",))]
