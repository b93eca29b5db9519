"""m3ter's own API description as a judge of requests and answers.

Beyond what a validator sees, an object's unknown fields are named: no schema of the description forbids them.
"""

from __future__ import annotations

import functools
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_core.validation.exceptions import ValidationError
from werkzeug.datastructures import ImmutableMultiDict

from tests.contract.wiretap import Exchange

DESCRIPTION = Path(__file__).parents[2] / "contracts" / "m3ter-openapi.yml"
# Two patterns of the description are Java's and do not compile here.
CODE = r"^([^\x00-\x1f\x7f\s]|[^\x00-\x1f\x7f\s]([^\x00-\x1f\x7f\s]| )*[^\x00-\x1f\x7f\s])$"
IDENTIFIER = r"^(?:[^\W\d]|\$)[\w$]*$"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What does not fit, and where: ``GET /organizations/{orgId}/events``, ``200 data[].dtActioned``."""

    operation: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.where}: {self.what}"


def in_python_patterns(node: Json) -> Json:
    pattern = node.get("pattern")
    if isinstance(pattern, str) and "Cntrl" in pattern:
        node["pattern"] = CODE
    elif pattern == r"^[\p{L}_$][\p{L}_$0-9]*$":
        node["pattern"] = IDENTIFIER
    return node


@functools.cache
def document() -> Json:
    with DESCRIPTION.open(encoding="utf-8") as text:
        read: Json = json.load(text, object_hook=in_python_patterns)
        return read


@functools.cache
def api() -> OpenAPI:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OpenAPI.from_dict(document())


@functools.cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    """Literal paths before patterns: /accounts/search before /accounts/{id}."""
    ordered = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in ordered]


def operation_of(exchange: Exchange) -> str | None:
    """``GET /organizations/{orgId}/bills``; None when the description has no such operation."""
    for pattern, template in _templates():
        if pattern.fullmatch(exchange.path) and exchange.method.lower() in document()["paths"][template]:
            return f"{exchange.method} {template}"
    return None


def as_described(exchange: Exchange) -> MockRequest:
    host = "ingest" if exchange.method == "POST" and exchange.path.endswith("/measurements") else "api"
    return MockRequest(
        f"https://{host}.m3ter.com",
        exchange.method,
        exchange.path,
        args=ImmutableMultiDict(exchange.query),
        data=exchange.sent or None,
        content_type=exchange.sent_type,
    )


def complaints(exchange: Exchange) -> list[Complaint]:
    """All that the description has against the request and the answer."""
    operation = operation_of(exchange)
    if operation is None:
        return [Complaint(f"{exchange.method} {exchange.path}", str(exchange.status), "is not described")]
    request = as_described(exchange)
    answer = MockResponse(exchange.received, status_code=exchange.status, content_type=exchange.received_type)
    found = []
    # A refused request is wrong on purpose; only its answer has to fit.
    if exchange.status < 400:
        found += _said(operation, "request", api().iter_request_errors(request))
        found += _unknown_fields(operation, "request", _body_of(operation, "requestBody"), exchange.sent)
    found += _said(operation, str(exchange.status), api().iter_response_errors(request, answer))
    described = _body_of(operation, "responses", str(exchange.status), f"{exchange.status // 100}XX")
    return found + _unknown_fields(operation, str(exchange.status), described, exchange.received)


def _said(operation: str, part: str, errors: Iterable[Exception]) -> list[Complaint]:
    """The validator's errors, one for each place; positions in arrays are left out."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for error in errors:
            details = error.details if isinstance(error, ValidationError) else {}
            for each in details.get("schema_errors") or [{"path": (), "message": repr(error)}]:
                where = ".".join("[]" if isinstance(step, int) else str(step) for step in each["path"])
                found[where, each["message"]] = Complaint(operation, f"{part} {where}".strip(), each["message"])
    return list(found.values())


def _unknown_fields(operation: str, part: str, schema: Json, body: bytes) -> list[Complaint]:
    if not schema or not body.startswith((b"{", b"[")):
        return []
    names = sorted(set(_unknown(schema, json.loads(body), "")))
    return [Complaint(operation, f"{part} {name}", "no such field") for name in names]


def _body_of(operation: str, section: str, *statuses: str) -> Json:
    """The JSON schema of a request's or an answer's body; empty when there is none."""
    method, template = operation.split(" ", 1)
    described = document()["paths"][template][method.lower()].get(section, {})
    if statuses:
        described = next((described[status] for status in statuses if status in described), {})
    schema: Json = _target(described).get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _target(node: Json) -> Json:
    while "$ref" in node:
        path = node["$ref"].removeprefix("#/").split("/")
        node = functools.reduce(lambda at, step: at[step], path, document())
    return node


def _unknown(schema: Json, value: Any, at: str) -> Iterator[str]:
    if isinstance(value, list):
        parts = [part["items"] for part in _parts(schema) if "items" in part]
        for element in value:
            yield from _unknown({"anyOf": parts}, element, f"{at}.[]".lstrip("."))
    if not isinstance(value, dict):
        return
    parts = list(_parts(schema))
    is_open = any("additionalProperties" in part for part in parts) or not any("properties" in part for part in parts)
    for name, each in value.items():
        inner = [part["properties"][name] for part in parts if name in part.get("properties", {})]
        if inner:
            yield from _unknown({"anyOf": inner}, each, f"{at}.{name}".lstrip("."))
        elif not is_open:
            yield f"{at}.{name}".lstrip(".")


def _parts(schema: Json) -> Iterator[Json]:
    """The schema and all that it is made of: what any part knows is known."""
    schema = _target(schema)
    yield schema
    for word in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(word, ()):
            yield from _parts(part)
