"""Every request that the connectors can send by themselves, each with all that it can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx

from connectors.chargebee import endpoints
from connectors.chargebee import requests as chargebee
from connectors.chargebee.client import ChargebeeClient
from connectors.m3ter import ingest, notifications
from connectors.m3ter import requests as m3ter
from connectors.m3ter.auth import TokenAuth
from connectors.m3ter.client import M3terClient
from connectors.pacing import Unlimited
from connectors.transport import Request
from meterbridge.errors import RetriableError
from tests.contract.wiretap import Exchange

ORG = "11111111-2222-3333-4444-555555555555"
ID = "6f1c0000-2222-3333-4444-555555555555"
CHARGE: chargebee.Charge = {"amount": 1, "description": "d", "date_from": 1, "date_to": 2}
BARE_ITEM: chargebee.ChargeItem = {"item_price_id": "p", "unit_price": 1, "quantity": 1, "date_from": 1, "date_to": 2}
ITEM: chargebee.ChargeItem = {**BARE_ITEM, "description": "d"}
CREDIT: chargebee.CreditLine = {"reference_line_item_id": "li", "amount": 1, "description": "d"}
ENDPOINT = {"name": "meterbridge", "url": "https://bridge.example/c", "user": "u", "password": "p"}

ADDRESS = {"addressLine1": "1 Quay", "locality": "Cork", "region": "Cork", "postCode": "T12", "country": "IE"}
ACCOUNT = {
    "name": "Larkspur",
    "code": "lark spur/é",
    "emailAddress": "ap@larkspur.example",
    "currency": "EUR",
    "address": ADDRESS,
    "customFields": {"chargebee": "lark"},
}
PLAN = {
    "accountId": ID,
    "planId": ID,
    "code": "sub-1 plan",
    "startDate": "2026-01-01T00:00:00Z",
    "endDate": "2027-01-01T00:00:00Z",
    "billEpoch": "2026-01-01",
}
MAPPING = {
    "m3terEntity": "Account",
    "m3terId": ID,
    "externalSystem": "Chargebee",
    "externalTable": "Customer",
    "externalId": "lark spur/é",
}
RULE = notifications.rule("meterbridge")
WEBHOOK = notifications.webhook("meterbridge", url="https://bridge.example/m", key="k")
LINK = notifications.link("meterbridge", rule_id=ID, webhook_id=ID)
BELOW = {notifications.RULES: RULE, notifications.WEBHOOKS: WEBHOOK, notifications.LINKS: LINK}
MEASUREMENT = '{"uid":"u","meter":"m","account":"a","ts":"2026-01-01T00:00:00Z","measure":{"n":1.5},"who":{"by":"x"}}'


@dataclass(frozen=True, slots=True)
class Built:
    """A write, by the function that builds it and the arguments that it was given by name."""

    by: Callable[..., Request]
    request: Request
    given: frozenset[str]


def _built(by: Callable[..., Request], *args: Any, **kwargs: Any) -> Built:
    return Built(by, by(*args, **kwargs), frozenset(kwargs))


TO_CHARGEBEE = [
    _built(
        chargebee.add_charge, "d", amount=1, description="d", date_from=1, date_to=2, subscription_id="s", comment="c"
    ),
    _built(
        chargebee.add_charge_item,
        "d",
        item_price_id="p",
        unit_price=1,
        quantity=2,
        date_from=1,
        date_to=2,
        subscription_id="s",
        comment="c",
    ),
    _built(chargebee.delete_line_items, "d", ["li", "li-2"]),
    *(
        _built(
            chargebee.create_for_charge_items_and_charges,
            **whose,
            currency_code="EUR",
            charges=[CHARGE, CHARGE],
            item_prices=[ITEM],
            create_pending_invoice=True,
            invoice_note="n",
            po_number="p",
            invoice_date=1,
            auto_collection="off",
        )
        for whose in ({"subscription_id": "s"}, {"customer_id": "c"})
    ),
    _built(
        chargebee.create_unbilled_charges,
        subscription_id="s",
        currency_code="EUR",
        charges=[CHARGE],
        item_prices=[BARE_ITEM],
    ),
    _built(chargebee.delete_unbilled_charge, "u"),
    *(
        _built(
            chargebee.create_credit_note,
            reference_invoice_id="1",
            type_="adjustment",
            **how,
            create_reason_code="r",
            comment="c",
            customer_notes="n",
        )
        for how in ({"line_items": [CREDIT, CREDIT]}, {"total": 5})
    ),
    _built(
        chargebee.add_promotional_credit,
        customer_id="c",
        amount=1,
        currency_code="EUR",
        description="d",
        reference="r",
    ),
    _built(
        chargebee.create_usage,
        subscription_id="s",
        usage_id="u",
        item_price_id="p",
        quantity="1.5",
        usage_date=1,
        note="n",
    ),
    _built(chargebee.delete_usage, subscription_id="s", usage_id="u"),
    _built(endpoints.create_endpoint, **ENDPOINT),
    _built(endpoints.update_endpoint, "w", **ENDPOINT),
    _built(endpoints.delete_endpoint, "w"),
]

TO_M3TER = [
    _built(m3ter.create_account, ORG, ACCOUNT),
    _built(m3ter.update_account, ORG, ID, {**ACCOUNT, "version": 1}),
    _built(m3ter.create_account_plan, ORG, PLAN),
    _built(m3ter.update_account_plan, ORG, ID, {**PLAN, "version": 1}),
    _built(m3ter.replace_account_plan, ORG, ID, PLAN),
    _built(m3ter.delete_account_plan, ORG, ID),
    _built(m3ter.create_mapping, ORG, MAPPING),
    _built(m3ter.update_mapping, ORG, ID, {**MAPPING, "version": 1}),
    _built(m3ter.delete_mapping, ORG, ID),
    *(_built(notifications.create, ORG, below, body) for below, body in BELOW.items()),
    *(_built(notifications.update, ORG, below, ID, {**body, "version": 1}) for below, body in BELOW.items()),
    *(_built(notifications.delete, ORG, below, ID) for below in BELOW),
]

CHARGEBEE_READS: dict[str, Callable[[ChargebeeClient], Any]] = {
    "time_machine_or_none": lambda client: client.time_machine_or_none(),
    "configuration": lambda client: client.configuration(),
    "invoice": lambda client: client.invoice("i"),
    "invoice_or_none": lambda client: client.invoice_or_none("i"),
    "subscription": lambda client: client.subscription("s"),
    "customer": lambda client: client.customer("c"),
    "usage_or_none": lambda client: client.usage_or_none("s", "u"),
    "event": lambda client: client.event("e"),
}

M3TER_READS: dict[str, Callable[[M3terClient], Any]] = {
    "organization_config": lambda client: client.organization_config(),
    "products": lambda client: list(client.products()),
    "plans": lambda client: list(client.plans()),
    "plan_templates": lambda client: list(client.plan_templates()),
    "meters": lambda client: list(client.meters()),
    "currencies": lambda client: list(client.currencies()),
    "accounts": lambda client: [*client.accounts(), *client.accounts(codes=["a", "b,c"]), *client.accounts(ids=[ID])],
    "account": lambda client: client.account(ID),
    "account_plans": lambda client: [*client.account_plans(ID), *client.account_plans(ID, include_all=False)],
    "account_plans_by_id": lambda client: list(client.account_plans_by_id([ID])),
    "account_plan": lambda client: client.account_plan(ID),
    "external_mappings": lambda client: [*client.external_mappings(), *client.external_mappings(m3ter_ids=[ID])],
    "mappings_of": lambda client: client.mappings_of("Account", ID),
    "mappings_for": lambda client: client.mappings_for("Chargebee", "Customer", "a b/é"),
    "mapping_configuration": lambda client: client.mapping_configuration(),
    "bills": lambda client: list(
        client.bills(bill_date_start=date(2026, 1, 1), bill_date_end=date(2026, 2, 1), account_id=ID, status="APPROVED")
    ),
    "bill": lambda client: client.bill(ID),
    "integration_configs": lambda client: list(client.integration_configs()),
    "events": lambda client: list(client.events("billing.bill.updated")),
}

INGEST: dict[str, Callable[[M3terClient], Any]] = {
    "upload_url": lambda client: ingest.upload_url(client, "u.json", 5),
    "upload_job": lambda client: ingest.upload_job(client, ID),
    "ingest_failures": lambda client: _failures(client),
}


def _failures(client: M3terClient) -> None:
    # The file itself lies elsewhere, where nobody answers here.
    with suppress(RetriableError):
        list(ingest.ingest_failures(client, "2026"))


# An answer that every read can take; the failed-ingest file is named by an event.
LINK_TO_FILE = f"/organizations/{ORG}/measurements/failedIngest/getDownloadUrl?file=f"
ANSWER = {
    "access_token": "t",
    "expires_in": 18000,
    "list": [],
    "data": [],
    "currency": "EUR",
    "timezone": "UTC",
    "jobId": ID,
    "url": "http://127.0.0.1:9/",
    "status": "running",
    "configurations": [
        {"domain": "d", "product_catalog_version": "v2", "chargebee_response_schema_type": "items"},
    ],
    "invoice": {
        "id": "i",
        "status": "pending",
        "customer_id": "c",
        "currency_code": "EUR",
        "price_type": "tax_exclusive",
        "date": 1,
        "total": 1,
        "sub_total": 1,
        "line_items": [],
    },
    **{name: {"id": "x"} for name in ("subscription", "customer", "usage", "event")},
    "time_machine": {"name": "delorean", "time_travel_status": "not_enabled"},
}


class Wire:
    """Connectors on a transport that answers everything and keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[Exchange] = []
        mock = httpx.MockTransport(self._respond)
        self.chargebee = ChargebeeClient.connect(
            base_url="https://acme.chargebee.com/api/v2", api_key="k", pacer=Unlimited(), client_transport=mock
        )
        self.m3ter = M3terClient.connect(
            base_url="https://api.m3ter.com",
            organization_id=ORG,
            api_key="k",
            api_secret="s",
            pacer=Unlimited(),
            client_transport=mock,
        )
        auth = TokenAuth("https://api.m3ter.com", "k", "s")
        self.ingest = ingest.IngestClient.connect(
            self.m3ter, ingest_url="https://ingest.m3ter.com", auth=auth, pacer=Unlimited(), client_transport=mock
        )

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(Exchange.of(request, 200, b"{}", "application/json"))
        if request.url.path.endswith("/events") and "m3ter" in request.url.host:
            event = {"id": "e", "eventTime": "2026-02", "m3terEvent": {"eventData": {"getDownloadUrl": LINK_TO_FILE}}}
            return httpx.Response(200, json={"data": [event]})
        return httpx.Response(200, json=ANSWER)


def everything() -> Iterator[tuple[str, str, Exchange]]:
    """Vendor, name and request of all that the connectors can send by themselves."""
    wire = Wire()
    for vendor, name, act in acts():
        wire.sent.clear()
        try:
            act(wire)
        except Exception as broken:
            raise AssertionError(f"{vendor} {name}: {broken!r}") from broken
        yield from [(vendor, name, each) for each in wire.sent]


def acts() -> Iterator[tuple[str, str, Callable[[Wire], Any]]]:
    """Vendor, name and how it is sent."""
    for one in TO_CHARGEBEE:
        yield (
            "chargebee",
            one.by.__name__,
            lambda wire, one=one: wire.chargebee.transport.send(one.request, repeatable=False),
        )
    for one in TO_M3TER:
        yield "m3ter", one.by.__name__, lambda wire, one=one: wire.m3ter.send(one.request)
    for name, read in CHARGEBEE_READS.items():
        yield "chargebee", name, lambda wire, read=read: read(wire.chargebee)
    for name, ask in {**M3TER_READS, **INGEST}.items():
        yield "m3ter", name, lambda wire, ask=ask: ask(wire.m3ter)
    yield "m3ter", "submit", lambda wire: wire.ingest.submit(MEASUREMENT)
