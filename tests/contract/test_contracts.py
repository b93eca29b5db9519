"""The kept contracts and the requests that we can make are the same calls, field by field."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from connectors.chargebee import endpoints
from connectors.chargebee import requests as chargebee_requests
from connectors.chargebee.client import ChargebeeClient
from connectors.m3ter import ingest, notifications
from connectors.m3ter import requests as m3ter_requests
from connectors.m3ter.client import M3terClient
from connectors.transport import Request
from meterbridge.settings import Settings
from tests.contract.built import CHARGEBEE_READS, INGEST, M3TER_READS, ORG, TO_CHARGEBEE, TO_M3TER, everything
from tests.contract.contract import NO_SUCH_CALL, kept
from tests.contract.wiretap import Exchange

ROOT = Path(__file__).parents[2]
PRODUCT = [
    path
    for package in ("connectors", "flows", "tasks", "meterbridge")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "sandbox" not in path.parts
]
BUILDERS = (chargebee_requests, endpoints, m3ter_requests, notifications)
# What a client offers to read any list or object by its path: the product's own texts are looked at for those.
BY_PATH = {"pages", "rows", "list", "get", "get_or_none"}
PATH = r"/?[a-z_/]+"
NO_READS = {"connect", "send", "parse", "parse_invoice"}
SENT = list(everything())
VENDORS = ("chargebee", "m3ter")


def said(vendor: str, exchange: Exchange) -> list[str]:
    """What the contract has against a request."""
    found = kept(vendor).complaints(exchange)
    return [str(each) for each in found if each.where.startswith(("query", "body")) or each.what == NO_SUCH_CALL]


@pytest.mark.parametrize(("vendor", "name", "exchange"), SENT, ids=[name for _, name, _ in SENT])
def test_each_request_that_the_connectors_build_is_in_the_contract(vendor: str, name: str, exchange: Exchange) -> None:
    assert kept(vendor).call_of(exchange.method, exchange.path) is not None
    assert said(vendor, exchange) == []


def functions(module: ModuleType) -> set[str]:
    """The functions of a module that build a request."""
    found = inspect.getmembers(module, inspect.isfunction)
    ours = [(name, each) for name, each in found if each.__module__ == module.__name__ and not name.startswith("_")]
    return {
        f"{module.__name__}.{name}" for name, each in ours if each.__annotations__.get("return") == Request.__name__
    }


def test_no_function_that_builds_a_request_is_left_out() -> None:
    built = {f"{one.by.__module__}.{one.by.__name__}" for one in TO_CHARGEBEE + TO_M3TER}
    assert set[str]().union(*map(functions, BUILDERS)) == built


def test_no_argument_of_a_request_is_left_out() -> None:
    given: dict[Any, frozenset[str]] = {}
    for one in TO_CHARGEBEE + TO_M3TER:
        given[one.by] = given.get(one.by, frozenset()) | one.given
    asked = {
        by: {name for name, each in inspect.signature(by).parameters.items() if each.kind is each.KEYWORD_ONLY}
        for by in given
    }
    assert {by.__name__: names - given[by] for by, names in asked.items() if names - given[by]} == {}


@pytest.mark.parametrize(("client", "reads"), [(ChargebeeClient, CHARGEBEE_READS), (M3terClient, M3TER_READS)])
def test_no_read_of_a_client_is_left_out(client: type, reads: dict[str, Any]) -> None:
    public = {name for name, _ in inspect.getmembers(client, callable) if not name.startswith("_")}
    assert public - BY_PATH - NO_READS == set(reads)


def test_no_function_about_usage_is_left_out() -> None:
    asking = {
        name
        for name, each in inspect.getmembers(ingest, inspect.isfunction)
        if not name.startswith("_") and each.__annotations__.get("client") == "M3terClient"
    }
    assert asking == set(INGEST)


@functools.cache
def trees() -> dict[str, ast.Module]:
    """The product's modules, parsed."""
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in PRODUCT}


def paths_named() -> Iterator[tuple[str, str]]:
    """Lists and objects that runs and commands read by path, as the source writes them: file, path with ``{}``."""
    for file, tree in trees().items():
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
        for node in calls if not file.startswith("connectors/") else ():
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            texts = [each.value if isinstance(each, ast.Constant) else "{}" for each in node.args]
            if name == "path":
                yield file, "/" + "/".join(map(str, texts))
            elif name in BY_PATH - {"get"} and texts[0] != "{}" and re.fullmatch(PATH, str(texts[0])):
                yield file, f"/{texts[0].strip('/')}"


def path_of(call: str) -> str:
    """A call's path as the product writes it: below the organisation, with ``{}``."""
    return re.sub(r"\{\w+\}", "{}", call.partition(" ")[2].removeprefix("/organizations/{orgId}"))


def test_each_path_that_the_product_reads_is_in_a_contract() -> None:
    known = {path_of(call) for vendor in VENDORS for call in kept(vendor).calls}
    # A path may go on where the source does not show it.
    unknown = {
        (file, path)
        for file, path in paths_named()
        if not any(one == path or one.startswith(f"{path}/") for one in known)
        and not path.startswith("/organizations/{}")
    }
    assert unknown == set()


@functools.cache
def texts() -> set[str]:
    """All texts in the product's source, and the paths it puts together."""
    found = {path for _, path in paths_named()}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(PATH, node.value):
                found.add("/" + node.value.strip("/"))
    return found


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_call_of_a_contract_is_one_that_we_make(vendor: str) -> None:
    built = {kept(vendor).call_of(each.method, each.path) for one, _, each in SENT if one == vendor}
    named = {call for call in kept(vendor).calls if call.startswith("GET") and path_of(call) in texts()}
    assert set(kept(vendor).calls) - built - named == set()


def test_each_write_to_chargebee_is_one_that_honours_a_key() -> None:
    writes = [kept("chargebee").call_of(each.method, each.path) for _, _, each in SENT if each.method == "POST"]
    calls = kept("chargebee").calls
    assert [name for name in writes if name in calls and not calls[name].get("keyed")] == []


def test_usage_goes_to_the_host_that_the_contract_names() -> None:
    servers = {call["server"] for call in kept("m3ter").calls.values() if "server" in call}
    assert servers == {Settings.model_fields["m3ter_ingest_url"].default}


def written(request: Request) -> Exchange:
    """A request as an exchange that was not answered yet."""
    sent = (request.body or "").encode()
    prefix = "/api/v2" if request.content_type != m3ter_requests.JSON else ""
    return Exchange(request.method, prefix + request.path, (), sent, request.content_type or "", 200, b"{}", "")


@pytest.mark.parametrize(
    ("vendor", "request_", "complaint"),
    [
        pytest.param(
            "m3ter",
            m3ter_requests.create_account(ORG, {"name": "n", "code": "c", "emailAdress": "a@b.example"}),
            ": body: 'emailAddress' is a required property",
            id="required",
        ),
        pytest.param(
            "m3ter",
            m3ter_requests.create_account(ORG, {"name": "n", "code": "c", "emailAdress": "a@b.example"}),
            ": body emailAdress: no such field",
            id="misspelt",
        ),
        pytest.param(
            "m3ter",
            m3ter_requests.create_account(ORG, {"name": "n", "code": " c", "emailAddress": "a@b.example"}),
            ": body code: ' c' does not match",
            id="letters",
        ),
        pytest.param(
            "m3ter",
            m3ter_requests.create_account_plan(ORG, {"accountId": "x", "startDate": "2026-01-01"}),
            ": body startDate: '2026-01-01' is not a 'date-time'",
            id="format",
        ),
        pytest.param(
            "chargebee",
            chargebee_requests.add_charge("d", amount=1, description="d" * 251, date_from=1, date_to=2),
            "is too long",
            id="length",
        ),
        pytest.param(
            "chargebee",
            chargebee_requests._post("/invoices/d/add_charge", {"amount": 0, "description": "d"}),
            ": body amount: 0 is less than the minimum of 1",
            id="bound",
        ),
        pytest.param(
            "chargebee",
            chargebee_requests._post("/invoices/d/add_charge", {"amount": "1.5", "description": "d"}),
            ": body amount: '1.5' is not of type 'integer'",
            id="type",
        ),
        pytest.param(
            "chargebee",
            chargebee_requests._post("/unbilled_charges", {"subscription_id": "s", "charges": [{"sum": 1}]}),
            ": body charges.[].sum: no such field",
            id="group",
        ),
        pytest.param(
            "chargebee",
            chargebee_requests._post("/webhook_endpoints", {"name": "n", "url": "u", "enabled_events": ["no_event"]}),
            ": body enabled_events.[]: 'no_event' is not one of",
            id="enum",
        ),
        pytest.param(
            "m3ter",
            Request("PATCH", f"/organizations/{ORG}/accounts", "{}", "application/json"),
            NO_SUCH_CALL,
            id="call",
        ),
    ],
)
def test_a_wrong_request_is_found(vendor: str, request_: Request, complaint: str) -> None:
    assert [each for each in said(vendor, written(request_)) if complaint in each]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ((("limit", "101"),), "query limit: 101 is greater than the maximum of 100"),
        ((("status", "active"),), "query status: 'active' is not of type 'object'"),
        ((("status[equals]", "active"),), "query status.equals: no such field"),
        ((("statuses[is]", "active"),), "query statuses: no such field"),
        ((("id[in]", "a,b"),), "query id.in: 'a,b' does not match"),
        ((("updated_at[between]", "[1,2]"), ("sort_by[asc]", "updated_at"), ("limit", "100")), None),
    ],
)
def test_filters_are_judged(query: tuple[tuple[str, str], ...], complaint: str | None) -> None:
    asked = Exchange("GET", "/api/v2/subscriptions", query, b"", "", 200, b"{}", "")
    expected = [] if complaint is None else [f"GET /subscriptions: {complaint}"]
    assert [each[: len(expected[0])] if expected else each for each in said("chargebee", asked)] == expected
