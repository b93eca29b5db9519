"""All that crosses between the connectors and the sandbox, and every endpoint besides, fits what the vendors publish.

The syncs run once on the demonstration's world, then every endpoint is walked and every refusal provoked. The kept
contracts judge the calls that we make, the vendors' SDKs the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from chargebee.api_error import APIError, InvalidRequestError, OperationFailedError
from chargebee.http_request import handle_api_resp_error
from typer.testing import CliRunner

from meterbridge.cli.main import app
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.chargebee import entry as chargebee
from meterbridge.sandbox.m3ter import entry as m3ter
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.sandbox.wire import Routes
from tests.contract.contract import NO_SUCH_CALL, Complaint, kept
from tests.contract.sdks import beyond
from tests.contract.walks import refused_by_chargebee, refused_by_m3ter, walk_m3ter
from tests.contract.walks_chargebee import walk_chargebee, walk_time_machine
from tests.contract.wiretap import Exchange, tapped
from tests.flows.conftest import opening
from tests.flows.crash_worlds import put_metered

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
    """A complaint that is the SDK's own mistake; ``where`` and ``what`` are searched for."""

    operation: str
    where: str
    what: str
    reason: str

    def covers(self, complaint: Complaint) -> bool:
        return (
            re.fullmatch(self.operation, complaint.call) is not None
            and re.fullmatch(self.where, complaint.where) is not None
            and self.what in complaint.what
        )


ORG = r"/organizations/\{\w+\}"
EXCUSED = [
    Excused(
        rf"GET {ORG}/events/\{{id\}}",
        "200",
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
    Excused(
        r"(GET .*/bills/accountid/[^/]+|POST .*/notifications/evaluate)",
        "200",
        NO_SUCH_CALL,
        "neither we nor the SDK make this call",
    ),
]


METERED = {"calls-EUR-Monthly": "sum_of_usages"}
WEBHOOKS = {
    "METERBRIDGE_WEBHOOK_URL": "https://bridge.example.com/",
    "METERBRIDGE_WEBHOOK_PASSWORD": "word",
    "METERBRIDGE_WEBHOOK_M3TER_PATH": "hidden-path",
    "METERBRIDGE_WEBHOOK_M3TER_KEY": "m3ter-key",
}


def usage(home: Path, name: str) -> tuple[str, list[str]]:
    """A mapping, and a file of one row."""
    mapping, rows = home / "usage.yaml", home / f"{name}.csv"
    meters = "meters:\n  - meter: api_calls\n    measure: {calls: calls}\n"
    mapping.write_text(f"name: calls\naccount: customer\nts: at\nkey: [id]\n{meters}", encoding="utf-8")
    rows.write_text(f"customer,at,id,calls\ncust-larkspur,2026-03-16T10:00:00Z,{name},7\n", encoding="utf-8")
    return str(mapping), [str(rows)]


def metered(home: Path) -> tuple[str, list[str]]:
    """A mapping for Chargebee's metered items, and a file of one row."""
    mapping, rows = home / "metered.yaml", home / "metered.csv"
    subject = "chargebee: {subscription: sub, item_price: price, quantity: used}"
    mapping.write_text(f"name: metered\nts: at\nkey: [id]\n{subject}\n", encoding="utf-8")
    rows.write_text("id,sub,price,at,used\nr,sub-a,calls-EUR-Monthly,2026-03-02T10:00:00Z,7\n", encoding="utf-8")
    return str(mapping), [str(rows)]


def command(*words: str) -> None:
    """A command, whatever it finds."""
    assert CliRunner().invoke(app, list(words), catch_exceptions=False).exit_code in (0, 3)


def runs(sandbox: Sandbox, home: Path) -> None:
    """What the bridge does in a month."""
    from flows.reconcile import reconcile
    from flows.sync_bills import sync_bills
    from flows.sync_subscriptions import sync_subscriptions
    from flows.sync_usage import sync_usage

    command("webhooks", "install")
    command("webhooks", "install")
    command("doctor")
    sync_subscriptions.fn()
    for via in ("api", "file"):
        sync_usage.fn(*usage(home, via), via=via)
    with sandbox.world.lock:
        put_metered(sandbox.world, METERED)
    sync_usage.fn(*metered(home), to="chargebee")
    use_and_bill(sandbox.world)
    sync_bills.fn()
    reconcile.fn()
    command("webhooks", "remove")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Exchange], list[Exchange]]]:
    """What the bridge exchanged, and what others did besides."""
    home = tmp_path_factory.mktemp("crossed")
    with opening(home) as start:
        sandbox = start("demo", **WEBHOOKS)
        with tapped(sandbox.port) as ours:
            runs(sandbox, home)
        with tapped(sandbox.port) as others:
            for walk in (walk_m3ter, walk_chargebee, refused_by_m3ter, refused_by_chargebee, walk_time_machine):
                walk(sandbox)
        yield ours, others


@pytest.fixture(scope="module")
def crossed(recorded: tuple[list[Exchange], list[Exchange]]) -> list[Exchange]:
    ours, others = recorded
    return ours + others


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


def complaints_of(vendor: str, exchanges: list[Exchange]) -> list[Complaint]:
    """The kept contract's where it has the call, else the SDK's."""
    found: set[Complaint] = set()
    for each in exchanges:
        ours = kept(vendor).call_of(each.method, each.path) is not None
        found |= set((kept(vendor) if ours else beyond(vendor)).complaints(each))
    return sorted(found, key=str)


def test_each_call_that_the_bridge_makes_is_in_a_contract(recorded: tuple[list[Exchange], list[Exchange]]) -> None:
    ours, _ = recorded
    asked = [("m3ter", each) for each in with_m3ter(ours)] + [("chargebee", each) for each in with_chargebee(ours)]
    assert {str(each) for vendor, each in asked if kept(vendor).call_of(each.method, each.path) is None} == set()
    assert len(asked) > 50


@pytest.fixture(scope="module")
def m3ters_complaints(crossed: list[Exchange]) -> list[Complaint]:
    return complaints_of("m3ter", with_m3ter(crossed))


def test_each_m3ter_request_and_answer_fits(m3ters_complaints: list[Complaint]) -> None:
    assert [str(c) for c in m3ters_complaints if not any(each.covers(c) for each in EXCUSED)] == []


@pytest.mark.parametrize("excused", EXCUSED, ids=lambda excused: excused.operation)
def test_each_excuse_is_still_needed(excused: Excused, m3ters_complaints: list[Complaint]) -> None:
    assert any(excused.covers(complaint) for complaint in m3ters_complaints)


def test_each_chargebee_request_and_answer_fits(crossed: list[Exchange]) -> None:
    # Requests without a method, or with another than the endpoint's, are refused and nothing else.
    known = [each for each in with_chargebee(crossed) if each.status != 405]
    assert [str(complaint) for complaint in complaints_of("chargebee", known)] == []


def test_each_endpoint_of_both_vendors_was_reached(crossed: list[Exchange]) -> None:
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
    made = an_account(crossed)
    assert kept("m3ter").complaints(made) == []
    assert any(words in str(complaint) for complaint in kept("m3ter").complaints(altered(made, change)))


def an_account(exchanges: list[Exchange]) -> Exchange:
    """The creation of an account, with its answer."""
    made = (e for e in with_m3ter(exchanges) if e.method == "POST" and e.path.endswith("/accounts"))
    return next(each for each in made if each.status == 200)


def test_a_misspelt_field_of_a_request_is_found(crossed: list[Exchange]) -> None:
    made = an_account(crossed)
    wrong = replace(made, sent=json.dumps(json.loads(made.sent) | {"emailAdress": "a"}).encode())
    assert [str(complaint) for complaint in kept("m3ter").complaints(wrong)] == [
        "POST /organizations/{orgId}/accounts: body emailAdress: no such field"
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"status": "open"}, "200 invoice: 'customer_id' is a required property", id="required"),
        pytest.param({"status": "open"}, "200 invoice.status: 'open' is not one of", id="enum"),
        pytest.param({"object": "bill"}, "200 invoice.object: 'invoice' was expected", id="object"),
        pytest.param({"total": "12"}, "200 invoice.total: '12' is not of type 'integer'", id="type"),
        pytest.param({"totals": 12}, "200 invoice.totals: no such field", id="unknown"),
        pytest.param({"paid_at": None}, "200 invoice.paid_at: None is not of type", id="null"),
        pytest.param(
            {"line_items": [{"object": "line_item", "entity_type": "tip"}]},
            "200 invoice.line_items.[].entity_type: 'tip' is not one of",
            id="line",
        ),
    ],
)
def test_a_wrong_chargebee_answer_is_found(change: dict[str, Any], complaint: str) -> None:
    body = json.dumps({"invoice": {"object": "invoice", "id": "1"} | change}).encode()
    answered = Exchange("GET", f"{chargebee.PREFIX}/invoices/1", (), b"", "", 200, body, "application/json")
    assert any(complaint in str(each) for each in kept("chargebee").complaints(answered))
