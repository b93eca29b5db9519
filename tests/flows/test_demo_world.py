"""Both syncs on the demonstration's world of awkward cases: what stands at both vendors afterwards, to the cent.

Expected values come from the sandbox's own books (what it rated, what it billed), never from the bridge.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from meterbridge.ledger.note import FILE_NAME as NOTE
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.flows.conftest import OpenSandbox

ZERO_DECIMAL = {"JPY"}


@dataclass
class Story:
    """The sandbox after both syncs ran, and their reports, in order."""

    sandbox: Sandbox
    home: Path
    reports: dict[str, Any] = field(default_factory=dict)

    def rows(self, vendor: str, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in getattr(getattr(self.sandbox.world, vendor), table).rows()]


def sync_subscriptions(**how: Any) -> Any:
    from flows.sync_subscriptions import sync_subscriptions as flow

    return flow.fn(**how)


def sync_bills(**how: Any) -> Any:
    from flows.sync_bills import sync_bills as flow

    return flow.fn(**how)


def writes(sandbox: Sandbox) -> int:
    return sum(1 for entry in sandbox.world.log if entry.method != "GET" and "/oauth/" not in entry.path)


@pytest.fixture(scope="module")
def story(open_shared_sandbox: OpenSandbox) -> Story:
    sandbox = open_shared_sandbox("demo")
    story = Story(sandbox, Path(os.environ["METERBRIDGE_HOME"]))
    story.reports["dry"] = sync_subscriptions(dry_run=True)
    story.reports["writes after dry"] = writes(sandbox)
    story.reports["subscriptions"] = sync_subscriptions()
    use_and_bill(sandbox.world)
    story.reports["bills dry"] = sync_bills(dry_run=True)
    story.reports["bills"] = sync_bills()
    before = writes(sandbox)
    story.reports["subscriptions again"] = sync_subscriptions()
    story.reports["bills again"] = sync_bills()
    story.reports["full again"] = sync_subscriptions(full=True)
    story.reports["writes again"] = writes(sandbox) - before
    return story


def test_a_dry_run_writes_to_no_vendor_and_intends_what_the_run_then_does(story: Story) -> None:
    assert story.reports["writes after dry"] == 0
    assert story.reports["dry"].change_set == story.reports["subscriptions"].change_set
    assert story.reports["bills dry"].intended == story.reports["bills"].intended == story.reports["bills"].applied


def test_everything_a_second_time_writes_nothing(story: Story) -> None:
    assert story.reports["writes again"] == 0
    for name in ("subscriptions again", "bills again", "full again"):
        assert story.reports[name].applied == {}


def test_the_charges_of_each_bill_add_up_to_its_total_exactly(story: Story) -> None:
    ours: dict[str, int] = defaultdict(int)
    currency: dict[str, str] = {}
    subscription_of = {s["id"]: s["customer_id"] for s in story.rows("chargebee", "subscriptions")}
    for invoice in story.rows("chargebee", "invoices"):
        for line in invoice.get("line_items", []):
            if line["entity_type"] in ("adhoc", "charge_item_price"):
                customer = subscription_of[line.get("subscription_id") or invoice["subscription_id"]]
                ours[customer] += line["amount"]
                currency[customer] = invoice["currency_code"]
    wanted: dict[str, int] = defaultdict(int)
    for bill in story.rows("m3ter", "bills"):
        if bill["status"] == "APPROVED" and bill["accountCode"] != "cust-yearly":
            scale = Decimal(1) if bill["currency"] in ZERO_DECIMAL else Decimal(100)
            total = sum((Decimal(str(line["convertedSubtotal"])) for line in bill["lineItems"]), Decimal(0))
            wanted[bill["accountCode"]] += int((total * scale).quantize(Decimal(1), ROUND_HALF_UP))
    assert dict(ours) == {customer: amount for customer, amount in wanted.items() if amount}
    assert {"EUR", "USD", "JPY"} <= set(currency.values())


def test_the_pending_bill_and_the_bill_without_invoice_reach_no_invoice(story: Story) -> None:
    [aside] = [row for row in story.reports["bills"].quarantined if row["kind"] == "charge"]
    assert (aside["code"], aside["key"][1], aside["amount"], aside["currency"]) == (
        "MB-NO-INVOICE",
        "cust-yearly-sub",
        5732,
        "USD",
    )
    drafts = [i for i in story.rows("chargebee", "invoices") if i["customer_id"] == "cust-pending-bill"]
    assert all(line["entity_type"] == "plan_item_price" for i in drafts for line in i.get("line_items", []))


def test_each_reason_for_setting_aside_is_said_once_and_stops_nothing_else(story: Story) -> None:
    codes = sorted((row["code"], row["key"][0]) for row in story.reports["subscriptions"].quarantined)
    assert ("MB-PLAN-CURRENCY", "cust-pounds-sub") in codes
    assert [code for code, _ in codes].count("MB-PLAN-OVERLAP") == 1
    assert [code for code, _ in codes].count("MB-ACCOUNT-CLASH") == 1
    assert story.reports["subscriptions"].applied["account_plan.create"] == 39


def test_accounts_carry_the_customers_ids_unchanged_and_nothing_is_made_twice(story: Story) -> None:
    codes = [row["code"] for row in story.rows("m3ter", "accounts")]
    assert len(codes) == len({code.casefold() for code in codes})
    assert {"Ünïcode Städte 7", "cust-skeleton", "cust-preexisting"} <= set(codes)
    assert "cust-legacy" not in codes


def test_a_skeleton_account_gets_its_customers_name_and_a_customer_without_e_mail_a_placeholder(story: Story) -> None:
    by_code = {row["code"]: row for row in story.rows("m3ter", "accounts")}
    assert not by_code["cust-skeleton"]["name"].endswith("-autocreated")
    assert by_code["cust-no-email"]["emailAddress"].endswith("@invalid.example")
    assert by_code["cust-tokyo"]["currency"] == "JPY"


def test_every_end_date_equals_chargebees(story: Story) -> None:
    subscriptions = {row["id"]: row for row in story.rows("chargebee", "subscriptions")}
    ends: dict[str, set[Any]] = {}
    for mapping in story.rows("m3ter", "mappings"):
        if mapping["m3terEntity"] == "AccountPlan":
            plan = story.sandbox.world.m3ter.account_plans.get(mapping["m3terId"])
            assert plan is not None
            owner = max((s for s in subscriptions if mapping["externalId"].startswith(f"{s}-")), key=len)
            ends.setdefault(owner, set()).add(plan.get("endDate"))
    for owner in ("cust-gone-sub", "cust-leaving-sub"):
        end = subscriptions[owner]["cancelled_at"]
        assert {datetime.fromisoformat(one).timestamp() for one in ends[owner]} == {end}
    assert ends["cust-larkspur-sub"] == {None}


def test_no_two_account_plans_of_a_product_overlap_on_an_account(story: Story) -> None:
    spans: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for plan in story.rows("m3ter", "account_plans"):
        spans[plan["accountId"], plan["productId"]].append((plan["startDate"], plan.get("endDate") or "9999"))
    for found in spans.values():
        ordered = sorted(found)
        assert all(one[1] <= other[0] for one, other in pairwise(ordered))


def test_all_four_kinds_of_mappings_stand_in_m3ter(story: Story) -> None:
    kinds = {(row["m3terEntity"], row["externalTable"]) for row in story.rows("m3ter", "mappings")}
    assert {("Account", "Customer"), ("AccountPlan", "Subscription"), ("Bill", "Invoice")} <= kinds
    [line_kind] = kinds - {("Account", "Customer"), ("AccountPlan", "Subscription"), ("Bill", "Invoice")}
    lines = {line["id"] for i in story.rows("chargebee", "invoices") for line in i.get("line_items", [])}
    mapped = {row["externalId"] for row in story.rows("m3ter", "mappings") if row["m3terEntity"] == line_kind[0]}
    assert mapped <= lines
    assert len(mapped) == 60


def test_no_secret_and_no_name_or_address_lands_where_it_is_not_needed(story: Story) -> None:
    import duckdb

    from meterbridge.sandbox import CHARGEBEE_API_KEY, M3TER_API_SECRET

    for file in sorted(story.home.rglob("*.duckdb")):
        connection = duckdb.connect(str(file), read_only=True)
        for (table,) in connection.execute("select table_name from information_schema.tables").fetchall():
            text = str(connection.execute(f'select * from "{table}"').fetchall())
            assert CHARGEBEE_API_KEY not in text
            assert M3TER_API_SECRET not in text
            if table.startswith(("out_", "run_facts")) or "invoices" in table or "bills" in table:
                assert "@" not in text.replace("@invalid.example", "") or table == "out_intents"
        connection.close()
    for report in story.reports.values():
        if not isinstance(report, int):
            assert "@" not in report.model_dump_json()


def test_a_lost_ledger_adds_no_charge_and_no_twin(story: Story) -> None:
    before = {
        table: len(story.rows(vendor, table))
        for vendor, table in (("m3ter", "accounts"), ("m3ter", "account_plans"), ("m3ter", "mappings"))
    }
    lines = sum(len(i.get("line_items", [])) for i in story.rows("chargebee", "invoices"))
    for path in [*story.home.glob("ledger.sqlite3*"), *story.home.glob(f"**/{NOTE}")]:  # as after the loss of the home
        path.unlink()
    sync_subscriptions()
    report = sync_bills()
    assert "charge.create" not in report.applied
    assert sum(len(i.get("line_items", [])) for i in story.rows("chargebee", "invoices")) == lines
    for vendor, table in (("m3ter", "accounts"), ("m3ter", "account_plans"), ("m3ter", "mappings")):
        assert len(story.rows(vendor, table)) == before[table]
