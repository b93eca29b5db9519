"""Every request of the m3ter connector, judged by m3ter's own API description."""

from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import pytest

from connectors.m3ter import notifications, requests
from connectors.m3ter.client import M3terClient
from connectors.pacing import Unlimited
from connectors.transport import Request
from tests.contract.openapi import complaints
from tests.contract.wiretap import Exchange

ORG = "11111111-2222-3333-4444-555555555555"
ID = "6f1c0000-2222-3333-4444-555555555555"
ACCOUNT = {"name": "Larkspur", "code": "lark spur/é", "emailAddress": "ap@larkspur.example", "currency": "EUR"}
ACCOUNT_PLAN = {"accountId": ID, "planId": ID, "startDate": "2026-01-01T00:00:00Z", "billEpoch": "2026-01-01"}
MAPPING = {
    "m3terEntity": "Account",
    "m3terId": ID,
    "externalSystem": "Chargebee",
    "externalTable": "Customer",
    "externalId": "lark spur/é",
}
NOTIFICATIONS = {
    "rule": (notifications.RULES, notifications.rule("meterbridge")),
    "webhook": (notifications.WEBHOOKS, notifications.webhook("meterbridge", url="https://bridge.example/m", key="k")),
    "link": (notifications.LINKS, notifications.link("meterbridge", rule_id=ID, webhook_id=ID)),
}


def sent_by(act: Callable[[M3terClient], Any]) -> list[httpx.Request]:
    """What goes over the wire when the client does this; every answer is empty but valid."""
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 18000})
        sent.append(request)
        return httpx.Response(200, json={"data": [], "currency": "EUR", "timezone": "UTC"})

    client = M3terClient.connect(
        base_url="https://api.m3ter.com",
        organization_id=ORG,
        api_key="k",
        api_secret="s",
        pacer=Unlimited(),
        client_transport=httpx.MockTransport(respond),
    )
    with client:
        act(client)
    return sent


def judge(request: httpx.Request) -> list[str]:
    """What the description has against a request; fields that it does not know are named too."""
    exchange = Exchange.of(request, 200, b"{}", "application/json")
    return [str(each) for each in complaints(exchange) if each.where.startswith("request") or not each.where]


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda client: client.organization_config(), id="organization-config"),
        pytest.param(lambda client: list(client.products()), id="products"),
        pytest.param(lambda client: list(client.plans()), id="plans"),
        pytest.param(lambda client: list(client.plan_templates()), id="plan-templates"),
        pytest.param(lambda client: list(client.currencies()), id="currencies"),
        pytest.param(lambda client: list(client.accounts(codes=["a", "b,c"])), id="accounts-by-code"),
        pytest.param(lambda client: list(client.accounts(ids=[ID])), id="accounts-by-id"),
        pytest.param(lambda client: list(client.accounts()), id="accounts"),
        pytest.param(lambda client: client.account(ID), id="account"),
        pytest.param(lambda client: list(client.account_plans(ID)), id="account-plans"),
        pytest.param(lambda client: client.account_plan(ID), id="account-plan"),
        pytest.param(lambda client: list(client.external_mappings()), id="mappings"),
        pytest.param(lambda client: list(client.external_mappings(m3ter_ids=[ID])), id="mappings-of-several"),
        pytest.param(lambda client: client.mappings_of("Account", ID), id="mappings-of"),
        pytest.param(lambda client: client.mappings_for("Chargebee", "Customer", "a b/é"), id="mappings-for"),
        pytest.param(lambda client: client.mapping_configuration(), id="mapping-configuration"),
        pytest.param(
            lambda client: list(
                client.bills(
                    bill_date_start=date(2026, 1, 1), bill_date_end=date(2026, 2, 1), account_id=ID, status="APPROVED"
                )
            ),
            id="bills",
        ),
        pytest.param(lambda client: client.bill(ID), id="bill-and-its-lines"),
        pytest.param(lambda client: list(client.integration_configs()), id="integration-configs"),
        pytest.param(lambda client: list(client.events("billing.bill.updated")), id="events"),
        pytest.param(lambda client: list(client.meters()), id="meters"),
        pytest.param(lambda client: list(client.list(notifications.RULES)), id="notification-rules"),
        pytest.param(lambda client: list(client.list(notifications.WEBHOOKS)), id="webhooks"),
    ],
)
def test_each_read_fits_the_description(act: Callable[[M3terClient], Any]) -> None:
    sent = sent_by(act)
    assert sent
    assert [judge(request) for request in sent] == [[]] * len(sent)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(requests.create_account(ORG, ACCOUNT), id="create-account"),
        pytest.param(requests.update_account(ORG, ID, {**ACCOUNT, "version": 1}), id="update-account"),
        pytest.param(requests.create_account_plan(ORG, ACCOUNT_PLAN), id="create-account-plan"),
        pytest.param(requests.update_account_plan(ORG, ID, {**ACCOUNT_PLAN, "version": 1}), id="update-account-plan"),
        pytest.param(requests.replace_account_plan(ORG, ID, ACCOUNT_PLAN), id="replace-account-plan"),
        pytest.param(requests.delete_account_plan(ORG, ID), id="delete-account-plan"),
        pytest.param(requests.create_mapping(ORG, MAPPING), id="create-mapping"),
        pytest.param(requests.update_mapping(ORG, ID, {**MAPPING, "version": 1}), id="update-mapping"),
        pytest.param(requests.delete_mapping(ORG, ID), id="delete-mapping"),
        *(
            pytest.param(request, id=f"{name}-{verb}")
            for name, (below, body) in NOTIFICATIONS.items()
            for verb, request in (
                ("create", notifications.create(ORG, below, body)),
                ("update", notifications.update(ORG, below, ID, {**body, "version": 1})),
                ("delete", notifications.delete(ORG, below, ID)),
            )
        ),
    ],
)
def test_each_write_fits_the_description(request_: Request) -> None:
    (sent,) = sent_by(lambda client: client.send(request_))
    assert judge(sent) == []


def test_the_description_can_say_no() -> None:
    without_a_name = requests.create_account(ORG, {"code": "c", "emailAdress": "a@b.example"})
    (sent,) = sent_by(lambda client: client.send(without_a_name))
    assert judge(sent) == [
        "POST /organizations/{orgId}/accounts: request: 'emailAddress' is a required property",
        "POST /organizations/{orgId}/accounts: request: 'name' is a required property",
        "POST /organizations/{orgId}/accounts: request emailAdress: no such field",
    ]
