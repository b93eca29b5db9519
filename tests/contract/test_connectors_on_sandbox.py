"""Both clients against the sandbox over real HTTP: each call, and what happens to it under harm."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from connectors.chargebee import requests as chargebee_requests
from connectors.chargebee.client import ChargebeeClient
from connectors.chargebee.models import Customer, Event, Invoice, Item, Subscription
from connectors.m3ter import requests as m3ter_requests
from connectors.m3ter.client import M3terClient
from connectors.m3ter.models import Account, AccountPlan, Bill, ExternalMapping, Plan, PlanTemplate, Product
from connectors.pacing import Unlimited
from connectors.records import WireRecord, read_record
from connectors.transport import Request, RetryPolicy
from meterbridge.errors import OutcomeUnknown, RecordRefused, SetupError
from meterbridge.sandbox import (
    CHARGEBEE_API_KEY,
    M3TER_API_KEY,
    M3TER_API_SECRET,
    M3TER_ORGANIZATION_ID,
    Sandbox,
    scenarios,
)

ORG = M3TER_ORGANIZATION_ID
QUICK = RetryPolicy(attempts=3, first_delay=0.01)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scenarios.build("demo", seed=7)) as running:
        yield running


@pytest.fixture
def chargebee(sandbox: Sandbox) -> Iterator[ChargebeeClient]:
    with ChargebeeClient.connect(
        base_url=sandbox.chargebee_url, api_key=CHARGEBEE_API_KEY, pacer=Unlimited(), policy=QUICK
    ) as client:
        yield client


@pytest.fixture
def m3ter(sandbox: Sandbox) -> Iterator[M3terClient]:
    with M3terClient.connect(
        base_url=sandbox.m3ter_url,
        organization_id=ORG,
        api_key=M3TER_API_KEY,
        api_secret=M3TER_API_SECRET,
        pacer=Unlimited(),
        policy=QUICK,
    ) as client:
        yield client


def control(sandbox: Sandbox, name: str, body: Any) -> Any:
    answer = httpx.post(f"{sandbox.url}/_sandbox/{name}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def harm(sandbox: Sandbox, kind: str, path: str, method: str = "POST") -> None:
    control(sandbox, "faults", [{"harm": kind, "match": {"method": method, "path": path}}])


def soon() -> float:
    return time.monotonic() + 60.0


def pending(chargebee: ChargebeeClient) -> Invoice:
    entry = next(chargebee.rows("invoices", {"status[is]": "pending"}))
    return chargebee.invoice(entry["invoice"]["id"])


def add_charge(draft: Invoice, description: str) -> Request:
    return chargebee_requests.add_charge(
        draft.id,
        amount=77,
        description=description,
        date_from=draft.date - 9,
        date_to=draft.date - 1,
        subscription_id=draft.subscription_id,
    )


def test_the_site_says_what_it_is(chargebee: ChargebeeClient) -> None:
    assert chargebee.configuration().product_catalog_version == "v2"
    assert chargebee.transport.server_offset() is not None


@pytest.mark.parametrize(
    ("resource", "key", "model", "filters"),
    [
        ("customers", "customer", Customer, {"include_deleted": "true"}),
        ("subscriptions", "subscription", Subscription, {"include_deleted": "true"}),
        ("invoices", "invoice", Invoice, {"include_deleted": "true"}),
        ("items", "item", Item, {}),
    ],
)
def test_each_list_is_read_whole_whatever_the_page_size(
    chargebee: ChargebeeClient, resource: str, key: str, model: type[WireRecord], filters: dict[str, str]
) -> None:
    whole = list(chargebee.rows(resource, filters, sort_by="updated_at"))
    in_threes = list(chargebee.rows(resource, filters, sort_by="updated_at", limit=3))
    assert len(whole) > 3
    assert in_threes == whole
    assert all(read_record(model, entry[key], resource=key) for entry in whole)


def test_subscriptions_customers_and_events_are_read_by_id(chargebee: ChargebeeClient) -> None:
    listed = next(chargebee.rows("subscriptions"))["subscription"]
    assert chargebee.subscription(listed["id"])["subscription"]["id"] == listed["id"]
    assert chargebee.customer(listed["customer_id"])["customer"]["id"] == listed["customer_id"]


def test_a_charge_is_one_line_and_its_key_replays_it(chargebee: ChargebeeClient) -> None:
    draft = pending(chargebee)
    request = chargebee_requests.add_charge(
        draft.id,
        amount=123,
        description="API calls [m-1]",
        date_from=draft.date - 100,
        date_to=draft.date - 1,
        subscription_id=draft.subscription_id,
    )
    first = chargebee.send(request, idempotency_key="intent-1", resend_until=soon())
    again = chargebee.send(request, idempotency_key="intent-1", resend_until=soon())
    assert (first.replayed, again.replayed) == (False, True)
    after = chargebee.invoice(draft.id)
    assert after == ChargebeeClient.parse_invoice(first)
    assert len(after.line_items) == len(draft.line_items) + 1
    (line,) = [each for each in after.line_items if each.id not in {old.id for old in draft.line_items}]
    assert (line.amount, line.date_from, line.date_to) == (123, draft.date - 100, draft.date - 1)
    assert after.total == draft.total + 123
    removal = chargebee_requests.delete_line_items(draft.id, [line.id])
    chargebee.send(removal, idempotency_key="intent-2", resend_until=soon())
    assert chargebee.invoice(draft.id).line_items == draft.line_items


@pytest.mark.parametrize("kind", ["commit_then_drop", "error_after_commit", "truncate", "drop_before", "status_503"])
def test_a_keyed_charge_lands_once_whatever_happens_to_its_answer(
    sandbox: Sandbox, chargebee: ChargebeeClient, kind: str
) -> None:
    draft = pending(chargebee)
    request = add_charge(draft, "once")
    harm(sandbox, kind, "/add_charge")
    answer = chargebee.send(request, idempotency_key="intent-1", resend_until=soon())
    lines = [line.description for line in ChargebeeClient.parse_invoice(answer).line_items]
    assert lines.count("once") == 1
    assert [line.description for line in chargebee.invoice(draft.id).line_items].count("once") == 1


def test_a_throttled_write_waits_as_long_as_asked_and_lands(sandbox: Sandbox, chargebee: ChargebeeClient) -> None:
    request = add_charge(pending(chargebee), "late")
    harm(sandbox, "status_429", "/add_charge")
    began = time.monotonic()
    answer = chargebee.send(request, idempotency_key="k", resend_until=soon())
    assert time.monotonic() - began >= 1.0
    assert chargebee.transport.traffic.throttled == 1
    assert [line.description for line in ChargebeeClient.parse_invoice(answer).line_items].count("late") == 1


def test_a_draft_that_closed_is_gone_by_its_old_id(chargebee: ChargebeeClient) -> None:
    draft = pending(chargebee)
    chargebee.send(add_charge(draft, "last"), idempotency_key="k1", resend_until=soon())
    answer = chargebee.send(Request("POST", f"/invoices/{draft.id}/close"), idempotency_key="k2", resend_until=soon())
    final = ChargebeeClient.parse_invoice(answer)
    assert final.id != draft.id
    assert final.generated_at is not None
    assert chargebee.invoice_or_none(draft.id) is None
    assert chargebee.invoice(final.id) == final


def test_a_charge_on_nothing_is_refused_with_the_vendors_code(chargebee: ChargebeeClient) -> None:
    request = chargebee_requests.add_charge("draft_inv_none", amount=1, description="x", date_from=1, date_to=2)
    with pytest.raises(RecordRefused) as caught:
        chargebee.send(request, idempotency_key="k", resend_until=soon())
    assert (caught.value.status, caught.value.vendor_code) == (404, "resource_not_found")


def test_wrong_credentials_are_one_clear_line_on_both_sides(sandbox: Sandbox) -> None:
    site = ChargebeeClient.connect(base_url=sandbox.chargebee_url, api_key="test_wrongwrongwrong", pacer=Unlimited())
    org = M3terClient.connect(
        base_url=sandbox.m3ter_url, organization_id=ORG, api_key="k", api_secret="wrong-secret", pacer=Unlimited()
    )
    with site, pytest.raises(SetupError) as chargebee_error:
        site.configuration()
    with org, pytest.raises(SetupError) as m3ter_error:
        org.organization_config()
    for error in (chargebee_error.value, m3ter_error.value):
        assert error.code == "MB-CREDENTIALS"
        assert "wrong" not in error.message.replace("is wrong", "")


@pytest.mark.parametrize(
    ("read", "model"),
    [("products", Product), ("plans", Plan), ("plan_templates", PlanTemplate), ("accounts", Account)],
)
def test_each_m3ter_list_is_typed(m3ter: M3terClient, read: str, model: type[WireRecord]) -> None:
    rows = list(getattr(m3ter, read)())
    assert rows
    assert all(read_record(model, row, resource=read) for row in rows)


def test_m3ter_settings_are_read(m3ter: M3terClient) -> None:
    assert m3ter.organization_config().currency
    assert "Account" in m3ter.mapping_configuration().m3ter_entities
    assert {row["code"] for row in m3ter.currencies()}
    assert isinstance(list(m3ter.integration_configs()), list)


def account_body(code: str) -> dict[str, Any]:
    return {"code": code, "name": "Süd & Co", "emailAddress": "a@b.example", "currency": "EUR"}


def test_an_account_its_plan_and_its_mapping_live_and_end(m3ter: M3terClient) -> None:
    code = "kunde süd/1+2@x"
    answer = m3ter.send(m3ter_requests.create_account(ORG, account_body(code)))
    account = M3terClient.parse(Account, answer, resource="account")
    assert [row["id"] for row in m3ter.accounts(codes=[code, "nobody"])] == [account.id]
    raw = m3ter.account(account.id)
    updated = m3ter.send(m3ter_requests.update_account(ORG, account.id, {**raw, "name": "Other"}))
    assert M3terClient.parse(Account, updated, resource="account").version == account.version + 1
    with pytest.raises(RecordRefused):
        m3ter.send(m3ter_requests.update_account(ORG, account.id, {**raw, "name": "Stale"}))

    plan = next(row for row in m3ter.plans() if not row.get("accountId"))
    body = {"accountId": account.id, "planId": plan["id"], "startDate": "2026-01-01T00:00:00Z"}
    created = m3ter.send(m3ter_requests.create_account_plan(ORG, body))
    first = M3terClient.parse(AccountPlan, created, resource="account plan")
    later = {**body, "startDate": "2027-01-01T00:00:00Z"}
    m3ter.send(m3ter_requests.replace_account_plan(ORG, first.id, later))
    plans = [read_record(AccountPlan, row, resource="account plan") for row in m3ter.account_plans(account.id)]
    assert len(plans) == 2
    old = next(each for each in plans if each.id == first.id)
    new = next(each for each in plans if each.id != first.id)
    assert old.end_date == new.start_date
    m3ter.send(m3ter_requests.delete_account_plan(ORG, new.id))
    assert m3ter.get_or_none(f"/accountplans/{new.id}") is None
    reopened = {key: value for key, value in m3ter.account_plan(old.id).items() if key != "endDate"}
    m3ter.send(m3ter_requests.update_account_plan(ORG, old.id, reopened))
    assert "endDate" not in m3ter.account_plan(old.id)

    tuple_ = {
        "m3terEntity": "Account",
        "m3terId": account.id,
        "externalSystem": "Chargebee",
        "externalTable": "Customer",
        "externalId": code,
    }
    mapped = m3ter.send(m3ter_requests.create_mapping(ORG, tuple_))
    mapping = M3terClient.parse(ExternalMapping, mapped, resource="external mapping")
    assert [each.id for each in m3ter.mappings_of("Account", account.id)] == [mapping.id]
    assert [each.id for each in m3ter.mappings_for("Chargebee", "Customer", code)] == [mapping.id]
    assert mapping.id in {each.id for each in m3ter.external_mappings()}
    assert [each.id for each in m3ter.external_mappings(m3ter_ids=[account.id])] == [mapping.id]
    assert list(m3ter.external_mappings(m3ter_ids=[])) == []
    m3ter.send(m3ter_requests.delete_mapping(ORG, mapping.id))
    assert list(m3ter.mappings_for("Chargebee", "Customer", code)) == []


@pytest.mark.parametrize("kind", ["commit_then_drop", "error_after_commit", "truncate"])
def test_an_unkeyed_write_whose_answer_is_lost_is_there_once_and_unknown(
    sandbox: Sandbox, m3ter: M3terClient, kind: str
) -> None:
    harm(sandbox, kind, "/accounts$")
    with pytest.raises(OutcomeUnknown):
        m3ter.send(m3ter_requests.create_account(ORG, account_body("new-one")))
    assert m3ter.transport.traffic.requests == 1
    assert len(list(m3ter.accounts(codes=["new-one"]))) == 1


def test_a_token_that_expired_at_the_vendor_is_renewed_in_passing(sandbox: Sandbox, m3ter: M3terClient) -> None:
    m3ter.organization_config()
    control(sandbox, "clock", {"advance": 18_001})
    m3ter.send(m3ter_requests.create_account(ORG, account_body("after-expiry")))
    assert len(list(m3ter.accounts(codes=["after-expiry"]))) == 1


def test_bills_come_with_exact_decimals(sandbox: Sandbox, m3ter: M3terClient) -> None:
    answer = m3ter.send(m3ter_requests.create_account(ORG, account_body("billed")))
    account = M3terClient.parse(Account, answer, resource="account")
    plan = next(row for row in m3ter.plans() if row["code"] == "api-pro-eur")
    body = {"accountId": account.id, "planId": plan["id"], "startDate": "2025-12-01T00:00:00Z"}
    m3ter.send(m3ter_requests.create_account_plan(ORG, body))
    control(sandbox, "month", {})
    heads = list(m3ter.bills())
    assert heads
    assert all("lineItems" not in head for head in heads)
    for head in heads:
        bill = read_record(Bill, m3ter.bill(head["id"]), resource="bill")
        assert bill.line_items is not None
        assert bill.bill_total == sum(line.converted_subtotal for line in bill.line_items)
    assert list(m3ter.events("billing.bill.created"))


def test_events_are_listed_and_read(sandbox: Sandbox, chargebee: ChargebeeClient) -> None:
    control(sandbox, "month", {})
    listed = next(chargebee.rows("events", sort_by="occurred_at"))
    event = read_record(Event, chargebee.event(listed["event"]["id"])["event"], resource="event")
    assert json.dumps(event.content)
