"""The vendors' contracts as a judge of requests and answers.

A contract is what ``contracts/`` keeps of a vendor's calls: JSON Schema, closed against fields that it does not name.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from tests.contract.wiretap import Exchange

KEPT = Path(__file__).parents[2] / "contracts"
PREFIXES = {"chargebee": "/api/v2", "m3ter": ""}
FORMATS = FormatChecker(())

Json = dict[str, Any]


@FORMATS.checks("date-time", ValueError)
def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value).tzinfo is not None)


@FORMATS.checks("date", ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or date.fromisoformat(value).isoformat() == value


@dataclass(frozen=True, slots=True)
class Complaint:
    """A misfit and its place: ``GET /organizations/{orgId}/events``, ``200 data[].dtActioned``."""

    call: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.call}: {self.where}: {self.what}"


class Contract:
    """The calls of one vendor.

    Args:
        content: As a file of ``contracts/`` holds it.
        prefix: The part of an address that stands before every call's.
    """

    def __init__(self, content: Json, prefix: str) -> None:
        self.calls: Json = content["calls"]
        self.refusal: Json = content["refusal"]
        self._types: Json = content["types"]
        self._prefix = prefix
        # Literal paths before patterns: /accounts/search before /accounts/{id}.
        self._order = sorted(self.calls, key=lambda name: name.count("{"))
        self._judges: dict[int, Draft202012Validator] = {}

    def call_of(self, method: str, path: str) -> str | None:
        """The call's name; None when the contract has no such call."""
        asked = f"{method} {path.removeprefix(self._prefix)}"
        return next((name for name in self._order if _pattern(name).fullmatch(asked)), None)

    def complaints(self, exchange: Exchange) -> list[Complaint]:
        """All that the contract has against the request and the answer; a refused request is wrong on purpose."""
        name = self.call_of(exchange.method, exchange.path)
        if name is None:
            return [Complaint(f"{exchange.method} {exchange.path}", str(exchange.status), NO_SUCH_CALL)]
        call = self.calls[name]
        found: list[Complaint] = []
        if exchange.status < 400:
            found += self._judged(name, "query", call.get("query", NOTHING), self._asked(call, exchange))
            found += self._judged(name, "body", call.get("body", NOTHING), self._sent(call, exchange))
        answer = call["answer"] if exchange.status < 400 else self.refusal
        return found + self._judged(name, str(exchange.status), answer, exchange.answer)

    def _asked(self, call: Json, exchange: Exchange) -> Any:
        return self._read(exchange.query, call.get("query", NOTHING))

    def _sent(self, call: Json, exchange: Exchange) -> Any:
        if exchange.sent_type.startswith("application/x-www-form-urlencoded"):
            pairs = parse_qsl(exchange.sent.decode(), keep_blank_values=True, strict_parsing=bool(exchange.sent))
            return self._read(pairs, call.get("body", NOTHING))
        return json.loads(exchange.sent) if exchange.sent else {}

    def _read(self, pairs: Any, schema: Json) -> Json:
        """Parameters as the schema means them: ``a[b][0]=1`` and ``a=1&a=2`` are lists."""
        tree: Json = {}
        for name, value in pairs:
            first, *steps = re.findall(r"[^\[\]]+", name)
            at = tree.setdefault(first, {} if steps else [])
            for step in steps[:-1]:
                at = at.setdefault(step, {})
            if steps:
                at[steps[-1]] = value
            else:
                at.append(value)
        return {name: self._typed(value, schema["properties"].get(name, {})) for name, value in tree.items()}

    def _typed(self, value: Any, schema: Json) -> Any:
        schema = self._target(schema)
        kinds = schema.get("type", "string")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if isinstance(value, dict):
            return self._rows(value, schema) if "array" in kinds else self._fields(value, schema)
        if isinstance(value, list):
            each = schema.get("items", {}) if "array" in kinds else schema
            typed = [self._typed(one, each) for one in value]
            return typed if "array" in kinds else typed[-1]
        if "integer" in kinds and re.fullmatch(r"-?\d+", value):
            return int(value)
        return {"true": True, "false": False}.get(value, value) if "boolean" in kinds else value

    def _fields(self, tree: Json, schema: Json) -> Json:
        return {name: self._typed(each, schema.get("properties", {}).get(name, {})) for name, each in tree.items()}

    def _rows(self, tree: Json, schema: Json) -> list[Any]:
        """Chargebee writes the index last: a group's fields are columns."""
        inner = self._target(schema["items"])
        if all(isinstance(each, str) for each in tree.values()):
            return [self._typed(tree[index], inner) for index in sorted(tree, key=int)]
        count = {index for column in tree.values() for index in column}
        rows = [
            {name: column[index] for name, column in tree.items() if index in column}
            for index in sorted(count, key=int)
        ]
        return [self._fields(row, inner) for row in rows]

    def _target(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self._types[schema["$ref"].rpartition("/")[2]]
        return schema

    def _judged(self, name: str, part: str, schema: Json, value: Any) -> list[Complaint]:
        judge = self._judges.get(id(schema))
        if judge is None:
            whole = {"allOf": [schema], "types": self._types}
            judge = self._judges[id(schema)] = Draft202012Validator(whole, format_checker=FORMATS)
        said = {
            (at, what): Complaint(name, f"{part} {at}".strip(), what)
            for error in judge.iter_errors(value)
            for at, what in _words(error)
        }
        return list(said.values())


NO_SUCH_CALL = "no such call"
NOTHING: Json = {"type": "object", "additionalProperties": False, "properties": {}}


def _words(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Where and what; positions in arrays are left out, a field that the schema does not name is named."""
    at = ".".join("[]" if isinstance(step, int) else str(step) for step in error.absolute_path)
    if error.validator != "additionalProperties" or not isinstance(error.instance, Mapping):
        yield at, error.message
        return
    known, patterns = error.schema.get("properties", {}), error.schema.get("patternProperties", {})
    for name in error.instance:
        if name not in known and not any(re.search(pattern, name) for pattern in patterns):
            yield f"{at}.{name}".lstrip("."), "no such field"


@functools.cache
def _pattern(call: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", call))


@functools.cache
def kept(vendor: str) -> Contract:
    """The contract of ``chargebee`` or ``m3ter`` as ``contracts/`` keeps it."""
    content = json.loads((KEPT / f"{vendor}.json").read_text(encoding="utf-8"))
    return Contract(content, PREFIXES[vendor])
