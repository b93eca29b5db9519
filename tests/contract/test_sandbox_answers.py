"""All that crosses between the connectors and the sandbox, and every endpoint besides, fits the vendors' own types.

The syncs run once on the demonstration's world, then every endpoint is walked and every refusal provoked.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from chargebee.api_error import APIError, InvalidRequestError, OperationFailedError
from chargebee.http_request import handle_api_resp_error

from meterbridge.sandbox.chargebee import entry as chargebee
from meterbridge.sandbox.m3ter import entry as m3ter
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.sandbox.wire import Routes
from tests.contract import chargebee_types, openapi
from tests.contract.openapi import Complaint
from tests.contract.walks import refused_by_chargebee, refused_by_m3ter, walk_m3ter
from tests.contract.walks_chargebee import walk_chargebee, walk_time_machine
from tests.contract.wiretap import Exchange, tapped
from tests.flows.conftest import opening

# Chargebee's endpoints, and the resource and class of the SDK that read the answer.
READ_BY: dict[str, tuple[str, str]] = {
    "GET configurations": ("configuration", "ListResponse"),
    "GET customers": ("customer", "ListResponse"),
    "GET customers/{id}": ("customer", "RetrieveResponse"),
    "POST customers": ("customer", "CreateResponse"),
    "POST customers/{id}": ("customer", "UpdateResponse"),
    "POST customers/{id}/delete": ("customer", "DeleteResponse"),
    "POST customers/{id}/delete_relationship": ("customer", "DeleteRelationshipResponse"),
    "POST customers/{id}/relationships": ("customer", "RelationshipsResponse"),
    "POST customers/merge": ("customer", "MergeResponse"),
    "GET time_machines/{id}": ("time_machine", "RetrieveResponse"),
    "POST time_machines/{id}/start_afresh": ("time_machine", "StartAfreshResponse"),
    "POST time_machines/{id}/travel_forward": ("time_machine", "TravelForwardResponse"),
    "GET item_families": ("item_family", "ListResponse"),
    "GET item_families/{id}": ("item_family", "RetrieveResponse"),
    "GET items": ("item", "ListResponse"),
    "GET items/{id}": ("item", "RetrieveResponse"),
    "GET item_prices": ("item_price", "ListResponse"),
    "GET item_prices/{id}": ("item_price", "RetrieveResponse"),
    "GET subscriptions": ("subscription", "ListResponse"),
    "GET subscriptions/{id}": ("subscription", "RetrieveResponse"),
    "GET customers/{id}/subscriptions": ("subscription", "SubscriptionsForCustomerResponse"),
    "GET subscriptions/{id}/retrieve_with_scheduled_changes": ("subscription", "RetrieveWithScheduledChangesResponse"),
    "POST customers/{id}/subscription_for_items": ("subscription", "CreateWithItemsResponse"),
    "POST subscriptions/{id}/delete": ("subscription", "DeleteResponse"),
    "POST subscriptions/{id}/update_for_items": ("subscription", "UpdateForItemsResponse"),
    "POST subscriptions/{id}/remove_scheduled_changes": ("subscription", "RemoveScheduledChangesResponse"),
    "POST subscriptions/{id}/cancel_for_items": ("subscription", "CancelForItemsResponse"),
    "POST subscriptions/{id}/change_term_end": ("subscription", "ChangeTermEndResponse"),
    "POST subscriptions/{id}/pause": ("subscription", "PauseResponse"),
    "POST subscriptions/{id}/remove_scheduled_pause": ("subscription", "RemoveScheduledPauseResponse"),
    "POST subscriptions/{id}/remove_scheduled_resumption": ("subscription", "RemoveScheduledResumptionResponse"),
    "POST subscriptions/{id}/resume": ("subscription", "ResumeResponse"),
    "POST subscriptions/{id}/remove_scheduled_cancellation": ("subscription", "RemoveScheduledCancellationResponse"),
    "POST subscriptions/{id}/reactivate": ("subscription", "ReactivateResponse"),
    "POST subscriptions/{id}/move": ("subscription", "MoveResponse"),
    "GET invoices": ("invoice", "ListResponse"),
    "GET invoices/{id}": ("invoice", "RetrieveResponse"),
    "POST invoices/{id}/close": ("invoice", "CloseResponse"),
    "POST invoices/{id}/void": ("invoice", "VoidInvoiceResponse"),
    "POST invoices/{id}/delete": ("invoice", "DeleteResponse"),
    "POST invoices/create_for_charge_items_and_charges": ("invoice", "CreateForChargeItemsAndChargesResponse"),
    "POST invoices/{id}/add_charge": ("invoice", "AddChargeResponse"),
    "POST invoices/{id}/add_charge_item": ("invoice", "AddChargeItemResponse"),
    "POST invoices/{id}/delete_line_items": ("invoice", "DeleteLineItemsResponse"),
    "POST invoices/{id}/sync_usages": ("invoice", "SyncUsagesResponse"),
    "GET usages": ("usage", "ListResponse"),
    "GET subscriptions/{id}/usages": ("usage", "RetrieveResponse"),
    "POST subscriptions/{id}/usages": ("usage", "CreateResponse"),
    "POST subscriptions/{id}/delete_usage": ("usage", "DeleteResponse"),
    "GET unbilled_charges": ("unbilled_charge", "ListResponse"),
    "POST unbilled_charges": ("unbilled_charge", "CreateResponse"),
    "POST unbilled_charges/{id}/delete": ("unbilled_charge", "DeleteResponse"),
    "POST unbilled_charges/invoice_unbilled_charges": ("unbilled_charge", "InvoiceUnbilledChargesResponse"),
    "GET credit_notes": ("credit_note", "ListResponse"),
    "POST credit_notes": ("credit_note", "CreateResponse"),
    "GET promotional_credits": ("promotional_credit", "ListResponse"),
    "POST promotional_credits/add": ("promotional_credit", "AddResponse"),
    "GET comments": ("comment", "ListResponse"),
    "GET comments/{id}": ("comment", "RetrieveResponse"),
    "POST comments": ("comment", "CreateResponse"),
    "POST comments/{id}/delete": ("comment", "DeleteResponse"),
    "GET events": ("event", "ListResponse"),
    "GET events/{id}": ("event", "RetrieveResponse"),
    "GET webhook_endpoints": ("webhook_endpoint", "ListResponse"),
    "GET webhook_endpoints/{id}": ("webhook_endpoint", "RetrieveResponse"),
    "POST webhook_endpoints": ("webhook_endpoint", "CreateResponse"),
    "POST webhook_endpoints/{id}": ("webhook_endpoint", "UpdateResponse"),
    "POST webhook_endpoints/{id}/delete": ("webhook_endpoint", "DeleteResponse"),
}
# What Chargebee documents: status, type and code of each refusal that the sandbox gives.
REFUSALS = {
    (400, "invalid_request", "param_wrong_value"),
    (400, "invalid_request", "invalid_request"),
    (400, "invalid_request", "duplicate_entry"),
    (400, "invalid_request", "resource_limit_exceeded"),
    (401, "untyped", "api_authentication_failed"),
    (403, "untyped", "api_authorization_failed"),
    (404, "invalid_request", "resource_not_found"),
    (405, "invalid_request", "http_method_not_supported"),
    (409, "invalid_request", "invalid_state_for_request"),
    (422, "invalid_request", "unable_to_process_request"),
    (429, "operation_failed", "api_request_limit_exceeded"),
    (429, "operation_failed", "lock_timeout"),
    (500, "operation_failed", "internal_error"),
    (503, "operation_failed", "internal_temporary_error"),
}
RAISED = {"invalid_request": InvalidRequestError, "operation_failed": OperationFailedError, "untyped": APIError}


@dataclass(frozen=True, slots=True)
class Excused:
    """A complaint that is the description's own mistake; ``where`` and ``what`` are searched for."""

    operation: str
    where: str
    what: str
    reason: str

    def covers(self, complaint: Complaint) -> bool:
        return (
            re.fullmatch(self.operation, complaint.operation) is not None
            and re.fullmatch(self.where, complaint.where) is not None
            and self.what in complaint.what
        )


ORG = r"/organizations/\{orgId\}"
EXCUSED = [
    Excused(
        rf"GET {ORG}/events(/\{{id\}})?",
        r"200( data\.\[\])?",
        "'dtActioned' is a required property",
        "an event that nobody has actioned has no such moment, and null is not allowed either",
    ),
    Excused(
        rf"GET {ORG}/integrationconfigs/\{{id\}}",
        r"200( \w+)?",
        "",
        "described as the answer about a run of an integration; the list next to it shows configurations",
    ),
    Excused(
        rf"(POST|PUT) {ORG}/compoundaggregations(/\{{id\}})?",
        r"200 (calculation|productId)",
        "no such field",
        "described as a simple aggregation's answer, while GET and DELETE answer with a compound one",
    ),
]


def usage(home: Path, name: str) -> tuple[str, list[str]]:
    """A mapping, and a file of one row."""
    mapping, rows = home / "usage.yaml", home / f"{name}.csv"
    meters = "meters:\n  - meter: api_calls\n    measure: {calls: calls}\n"
    mapping.write_text(f"name: calls\naccount: customer\nts: at\nkey: [id]\n{meters}", encoding="utf-8")
    rows.write_text(f"customer,at,id,calls\ncust-larkspur,2026-03-16T10:00:00Z,{name},7\n", encoding="utf-8")
    return str(mapping), [str(rows)]


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Exchange]]:
    from flows.sync_bills import sync_bills
    from flows.sync_subscriptions import sync_subscriptions
    from flows.sync_usage import sync_usage

    home = tmp_path_factory.mktemp("crossed")
    with opening(home) as start:
        sandbox = start("demo")
        with tapped(sandbox.port) as exchanges:
            sync_subscriptions.fn()
            for via in ("api", "file"):
                sync_usage.fn(*usage(home, via), via=via)
            use_and_bill(sandbox.world)
            sync_bills.fn()
            walks = (walk_m3ter, walk_chargebee, refused_by_m3ter, refused_by_chargebee, walk_time_machine)
            for walk in walks:
                walk(sandbox)
        yield exchanges


def with_m3ter(exchanges: list[Exchange]) -> list[Exchange]:
    return [each for each in exchanges if each.path.startswith((m3ter.PREFIX, m3ter.TOKEN_PATH))]


def with_chargebee(exchanges: list[Exchange]) -> list[Exchange]:
    return [each for each in exchanges if each.path.startswith(chargebee.PREFIX)]


def endpoint(routes: Routes, exchange: Exchange) -> str | None:
    """``GET invoices/{id}``, as the sandbox names its endpoints."""
    below = exchange.path.removeprefix(chargebee.PREFIX).strip("/").split("/")
    segments = below if exchange.path.startswith(chargebee.PREFIX) else below[2:]
    route = routes.match(exchange.method, tuple(segments))[0] if segments else None
    return f"{route.method} {'/'.join(route.segments)}" if route else None


def endpoints(routes: Routes) -> set[str]:
    return {f"{route.method} {'/'.join(route.segments)}" for route in routes.entries}


def reached(routes: Routes, exchanges: list[Exchange]) -> set[str | None]:
    return {endpoint(routes, each) for each in exchanges if each.status == 200}


@pytest.fixture(scope="module")
def m3ters_complaints(crossed: list[Exchange]) -> list[Complaint]:
    return sorted({c for each in with_m3ter(crossed) for c in openapi.complaints(each)}, key=str)


def test_each_m3ter_request_and_answer_fits_the_description(m3ters_complaints: list[Complaint]) -> None:
    assert [str(c) for c in m3ters_complaints if not any(each.covers(c) for each in EXCUSED)] == []


@pytest.mark.parametrize("excused", EXCUSED, ids=lambda excused: excused.operation)
def test_each_excuse_is_still_needed(excused: Excused, m3ters_complaints: list[Complaint]) -> None:
    assert any(excused.covers(complaint) for complaint in m3ters_complaints)


def test_each_chargebee_answer_fits_the_official_types(crossed: list[Exchange]) -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for each in with_chargebee(crossed):
        if each.status == 200:
            name = endpoint(chargebee.ROUTES, each)
            assert name is not None, each
            found[name] |= set(chargebee_types.complaints(*READ_BY[name], each.answer))
    assert {name: sorted(complaints) for name, complaints in found.items() if complaints} == {}


def test_each_endpoint_of_both_vendors_was_reached(crossed: list[Exchange]) -> None:
    assert endpoints(chargebee.ROUTES) == set(READ_BY)
    assert endpoints(chargebee.ROUTES) - reached(chargebee.ROUTES, with_chargebee(crossed)) == set()
    # A job that is done cannot be cancelled, and the sandbox's are done at once.
    unreached = endpoints(m3ter.ROUTES) - reached(m3ter.ROUTES, with_m3ter(crossed))
    assert unreached == {"POST billjobs/{id}/cancel"}


def test_usage_crossed_both_ways(crossed: list[Exchange]) -> None:
    sent = {
        (each.path.rpartition("/")[2], json.loads(each.sent).get("fileName"))
        for each in crossed
        if each.sent[:1] == b"{"
    }
    assert ("measurements", None) in sent
    assert {name for last, name in sent if last == "generateUploadUrl"} - {"usage.json"}
    assert any(b'"account":"cust-larkspur"' in each.sent.replace(b": ", b":") for each in crossed)


def test_each_refusal_of_chargebee_is_a_documented_one_that_the_official_client_raises(crossed: list[Exchange]) -> None:
    refused = [each for each in with_chargebee(crossed) if each.status >= 400]
    assert {each.status for each in refused} == {400, 401, 403, 404, 405, 409, 422, 429, 500, 503}
    for each in refused:
        body = each.answer
        assert (each.status, body["type"], body["api_error_code"]) in REFUSALS
        assert set(body) <= {
            *("message", "type", "api_error_code", "param"),
            *("error_code", "error_msg", "error_param", "http_status_code"),
        }
        assert (body["http_status_code"], body["error_msg"]) == (each.status, body["message"])
        with pytest.raises(APIError) as raised:
            handle_api_resp_error(each.path, each.status, body, {})
        assert type(raised.value) is RAISED[body["type"]]


def test_each_refusal_of_m3ter_is_a_message_alone(crossed: list[Exchange]) -> None:
    refused = [each for each in with_m3ter(crossed) if each.status >= 400]
    assert {each.status for each in refused} == {400, 401, 403, 404, 409, 429, 500, 503}
    for each in refused:
        assert set(each.answer) == {"message"}
        assert each.answer["message"]


def altered(exchange: Exchange, change: dict[str, Any]) -> Exchange:
    return replace(exchange, received=json.dumps(exchange.answer | change).encode())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"emailAdress": "a"}, "200 emailAdress: no such field", id="misspelt-field"),
        pytest.param({"version": "1"}, "200 version: '1' is not of type 'integer'", id="type"),
        pytest.param({"dtCreated": "yesterday"}, "200 dtCreated: 'yesterday' is not a 'date-time'", id="format"),
        pytest.param({"currency": None}, "200 currency: None", id="null"),
    ],
)
def test_a_wrong_m3ter_answer_is_found(crossed: list[Exchange], change: dict[str, Any], words: str) -> None:
    made = next(
        e for e in with_m3ter(crossed) if e.method == "POST" and e.path.endswith("/accounts") and e.status == 200
    )
    assert openapi.complaints(made) == []
    assert any(words in str(complaint) for complaint in openapi.complaints(altered(made, change)))


def test_a_misspelt_field_of_a_request_is_found(crossed: list[Exchange]) -> None:
    made = next(
        e for e in with_m3ter(crossed) if e.method == "POST" and e.path.endswith("/accounts") and e.status == 200
    )
    wrong = replace(made, sent=json.dumps(json.loads(made.sent) | {"emailAdress": "a"}).encode())
    assert [str(complaint) for complaint in openapi.complaints(wrong)] == [
        "POST /organizations/{orgId}/accounts: request emailAdress: no such field"
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"status": "open"}, "customer_id", id="required"),
        pytest.param({"status": "open"}, "invoice.status: 'open' is none of", id="enum"),
        pytest.param({"object": "bill"}, "invoice.object: 'bill' is not 'invoice'", id="object"),
        pytest.param({"total": "12"}, "invoice.total: '12' is no int", id="type"),
        pytest.param({"totals": 12}, "invoice.totals: no such field", id="unknown"),
        pytest.param({"paid_at": None}, "invoice.paid_at: null", id="null"),
        pytest.param(
            {"line_items": [{"object": "line_item", "entity_type": "tip"}]}, "entity_type: 'tip' is none", id="line"
        ),
    ],
)
def test_a_wrong_chargebee_answer_is_found(change: dict[str, Any], complaint: str) -> None:
    body = {"invoice": {"object": "invoice", "id": "1"} | change}
    assert any(complaint in each for each in chargebee_types.complaints("invoice", "RetrieveResponse", body))
