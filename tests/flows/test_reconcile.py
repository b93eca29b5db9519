"""Both sides compared after whole runs on the sandbox: agreement, then each kind of tampering, to the minor unit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.reconcile import reconcile
from flows.sync_bills import sync_bills
from meterbridge.ledger import quarantine
from meterbridge.sandbox import CHARGEBEE_API_KEY, Sandbox
from meterbridge.sandbox.chargebee.invoice_rows import with_totals
from meterbridge.settings import load_settings
from meterbridge.staging.database import opened
from tasks import set_aside
from tasks.services import open_ledger
from tests.flows.billed_month import charge_it, use_a_month
from tests.flows.conftest import OpenSandbox

SUBSCRIPTION = "sub-single"
ITEM_PRICE = "api-pro-EUR-Monthly"
Lines = list[dict[str, Any]]


def settle_a_month(open_sandbox: OpenSandbox, scenario: str = "single", **more: str) -> Sandbox:
    """Subscriptions synced, a month used and billed, bills charged."""
    return open_sandbox.after(use_a_month, charge_it, scenario=scenario, **more)


def draft(sandbox: Sandbox) -> dict[str, Any]:
    return next(row for row in sandbox.world.chargebee.invoices.rows() if row["status"] == "pending")


def charges(sandbox: Sandbox) -> Lines:
    """Our lines on the draft: the charge item price first, then the ad-hoc one."""
    ours = [line for line in draft(sandbox)["line_items"] if line["entity_type"] in ("charge_item_price", "adhoc")]
    return sorted(ours, key=lambda line: line["entity_type"], reverse=True)


def put_lines(sandbox: Sandbox, change: Callable[[Lines], Lines]) -> None:
    """Change the draft's lines as somebody would by hand in Chargebee."""
    chargebee = sandbox.world.chargebee
    with sandbox.world.lock:
        row = draft(sandbox)
        chargebee.save(chargebee.invoices, with_totals(row | {"line_items": change(row["line_items"])}))


@pytest.fixture(scope="module")
def shared(open_shared_sandbox: OpenSandbox) -> Sandbox:
    """One settled month for all tests that tamper with it and put it back."""
    return settle_a_month(open_shared_sandbox)


@pytest.fixture
def month(shared: Sandbox) -> Iterator[Sandbox]:
    """The settled month; account plans and drafts are afterwards as before."""
    world = shared.world
    tables = (world.m3ter.account_plans, world.chargebee.invoices)
    before = [list(table.rows()) for table in tables]
    yield shared
    with world.lock:
        for table, rows in zip(tables, before, strict=True):
            for added in {row["id"] for row in table.rows()} - {row["id"] for row in rows}:
                table.remove(added, world.clock.now_ms())
            for row in rows:
                table.put(row["id"], row, world.clock.now_ms())


def the_only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(rows) == 1, rows
    return rows[0]


def test_after_both_syncs_the_sides_agree_in_every_currency_but_for_what_is_set_aside(open_sandbox):
    settle_a_month(open_sandbox, "demo")

    report = reconcile.fn()

    assert (report.differences, report.drift, report.exit_code) == (0, [], 0)
    assert report.totals["EUR"]["difference"] == 0
    assert report.totals["EUR"]["wanted"] == report.totals["EUR"]["standing"] > 0
    assert report.totals["JPY"]["difference"] == 0
    yearly = the_only([row for row in report.explained if row["code"] == "MB-NO-INVOICE"])
    assert (yearly["why"], yearly["key"][1], yearly["currency"]) == ("quarantined", "cust-yearly-sub", "USD")
    assert yearly["money"] == report.totals["USD"]["difference"] < 0


def test_reconcile_writes_to_neither_vendor(month):
    month.world.log.clear()

    reconcile.fn()

    asked = [entry for entry in month.world.log if not entry.path.endswith("/oauth/token")]
    assert asked
    assert {entry.method for entry in asked} == {"GET"}


def test_an_account_plan_ended_by_hand_is_one_difference_of_its_end(month):
    m3ter = month.world.m3ter
    with month.world.lock:
        plan = the_only(list(m3ter.account_plans.rows()))
        m3ter.save(m3ter.account_plans, plan | {"endDate": "2026-05-01T00:00:00.000Z"}, plan)

    report = reconcile.fn()

    found = the_only(report.drift)
    assert (found["disagreement"], found["what"]) == ("different", "end")
    assert found["key"] == [SUBSCRIPTION, ITEM_PRICE, plan["id"]]
    assert (found["wanted"], found["found"], found["money"]) == ("open", "2026-05-01T00:00:00+00:00", None)
    assert report.exit_code == 3


def test_an_account_plan_deleted_by_hand_is_missing(month):
    m3ter = month.world.m3ter
    with month.world.lock:
        m3ter.account_plans.remove(the_only(list(m3ter.account_plans.rows()))["id"], month.world.clock.now_ms())

    found = the_only(reconcile.fn().drift)

    assert (found["disagreement"], found["what"]) == ("missing", "account plan")
    assert found["key"] == [SUBSCRIPTION, ITEM_PRICE]


def test_an_account_plan_that_no_subscription_asks_for_is_extra(month):
    m3ter = month.world.m3ter
    with month.world.lock:
        account = the_only(list(m3ter.accounts.rows()))
        plan = next(row for row in m3ter.plans.rows() if row["code"] == "storage-eur")
        row = {
            "id": "7d9f1a52-0c38-4b6e-8f27-a95e3c1d6b04",
            "accountId": account["id"],
            "planId": plan["id"],
            "productId": plan["productId"],
            "startDate": "2026-04-01T00:00:00.000Z",
        }
        m3ter.save(m3ter.account_plans, row, None)

    found = the_only(reconcile.fn().drift)

    assert (found["disagreement"], found["what"], found["key"]) == ("extra", "account plan", ["", "", row["id"]])


@pytest.mark.parametrize(
    ("start", "end", "differences"),
    [
        pytest.param("2025-06-01", "2026-01-01", 0, id="ended-before-ours"),
        pytest.param("2025-06-01", "2026-02-01", 1, id="beside-ours"),
        pytest.param("2025-06-01", "2030-01-01", 1, id="goes-on"),
    ],
)
def test_an_account_plan_by_hand_that_ended_before_ours_began_is_history(month, start, end, differences):
    m3ter = month.world.m3ter
    with month.world.lock:
        (ours,) = m3ter.account_plans.rows()
        names = {name: ours[name] for name in ("accountId", "planId", "productId")}
        dates = {"startDate": f"{start}T00:00:00.000Z", "endDate": f"{end}T00:00:00.000Z"}
        m3ter.save(m3ter.account_plans, {"id": "7d9f1a52-0c38-4b6e-8f27-a95e3c1d6b04", **names, **dates}, None)

    assert reconcile.fn().differences == differences


@pytest.mark.parametrize("which", [0, 1], ids=["a-charge-item-price", "an-ad-hoc-charge"])
def test_a_deleted_charge_line_is_missing_money(month, which):
    line = charges(month)[which]
    put_lines(month, lambda lines: [one for one in lines if one["id"] != line["id"]])

    report = reconcile.fn()

    found = the_only(report.drift)
    assert (found["disagreement"], found["what"]) == ("different", "amount")
    assert (found["money"], found["currency"]) == (-line["amount"], "EUR")
    assert found["key"][1] == SUBSCRIPTION
    assert report.totals["EUR"]["difference"] == -line["amount"]


@pytest.mark.parametrize("which", [0, 1], ids=["a-charge-item-price", "an-ad-hoc-charge"])
def test_a_charge_line_that_stands_twice_is_too_much_money(month, which):
    line = charges(month)[which]
    put_lines(month, lambda lines: [*lines, line | {"id": "li_by_hand"}])

    found = the_only(reconcile.fn().drift)

    assert (found["disagreement"], found["money"], found["currency"]) == ("different", line["amount"], "EUR")


def test_a_changed_amount_is_the_difference_of_the_two(month):
    line = charges(month)[0]
    dearer = line | {"amount": line["amount"] + 100, "unit_amount": line["amount"] + 100}
    put_lines(month, lambda lines: [dearer if one["id"] == line["id"] else one for one in lines])

    assert the_only(reconcile.fn().drift)["money"] == 100


def test_a_line_that_people_add_for_reasons_of_their_own_is_no_difference(month):
    line = charges(month)[1]
    put_lines(month, lambda lines: [*lines, line | {"id": "li_setup_fee", "description": "Setup fee"}])

    assert reconcile.fn().differences == 0


@pytest.mark.parametrize("line_ids", ["keep", "renew"])
def test_a_draft_that_closed_under_a_new_id_still_agrees(open_sandbox, line_ids):
    sandbox = settle_a_month(open_sandbox)
    sandbox.world.switches.draft_line_ids_on_close = line_ids
    _post(sandbox, f"/invoices/{draft(sandbox)['id']}/close")

    assert reconcile.fn().differences == 0


def test_a_voided_invoice_stands_for_nothing(open_sandbox):
    sandbox = settle_a_month(open_sandbox)
    amount = sum(line["amount"] for line in charges(sandbox))
    closed = _post(sandbox, f"/invoices/{draft(sandbox)['id']}/close")
    _post(sandbox, f"/invoices/{closed['invoice']['id']}/void")

    found = the_only(reconcile.fn().drift)

    assert (found["disagreement"], found["what"], found["money"]) == ("missing", "charge", -amount)


def test_a_change_at_chargebee_that_no_sync_has_carried_over_is_a_difference(open_sandbox):
    sandbox = settle_a_month(open_sandbox)
    _post(sandbox, f"/subscriptions/{SUBSCRIPTION}/cancel_for_items", {"end_of_term": "true"})

    found = the_only(reconcile.fn().drift)

    assert (found["disagreement"], found["what"]) == ("different", "end")
    assert (found["wanted"], found["found"]) == ("2026-05-01T00:00:00+00:00", "open")


def test_waiting_money_is_known_and_no_drift(open_sandbox):
    settle_a_month(open_sandbox, METERBRIDGE_BILL_SETTLE_HOURS="2400")

    report = reconcile.fn()

    waiting = the_only(report.explained)
    assert (report.differences, waiting["why"]) == (0, "waiting")
    assert waiting["money"] == report.totals["EUR"]["difference"] < 0


def test_what_a_person_dismissed_counts_as_settled_at_its_amount(open_sandbox):
    settle_a_month(open_sandbox, "demo")
    ledger = open_ledger(load_settings())
    try:
        with ledger.write() as tx:
            row = next(row for row in quarantine.list(tx) if row.code == "MB-NO-INVOICE")
            assert set_aside.dismiss(tx, row, "Ada", "invoiced by hand") == row.amount
            tx.commit()
    finally:
        ledger.close()

    again = sync_bills.fn()
    report = reconcile.fn()

    assert "MB-NO-INVOICE" not in {row["code"] for row in (*again.quarantined, *report.explained)}
    assert (report.differences, report.totals["USD"]["difference"]) == (0, 0)


def test_the_differences_are_in_the_staging_file(month):
    line = charges(month)[0]
    put_lines(month, lambda lines: [one for one in lines if one["id"] != line["id"]])

    report = reconcile.fn()

    with opened(Path(report.staging), read_only=True) as file:
        row = the_only(list(file.rows("select * from out_differences")))
    assert (row["disagreement"], row["money"], row["currency"]) == ("different", -line["amount"], "EUR")


def _post(month: Sandbox, path: str, form: dict[str, str] | None = None) -> Any:
    url = month.chargebee_url + path
    answer = httpx.post(url, data=form, auth=(CHARGEBEE_API_KEY, ""), trust_env=False)
    answer.raise_for_status()
    return answer.json()
