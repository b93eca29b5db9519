"""The files of ``contracts/`` hold facts alone, and are what their sources say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from contracts import make
from tests.contract import m3ter_sdk
from tests.contract.contract import KEPT, kept

VENDORS = ("chargebee", "m3ter")
STATED = make.facts()
SOURCES = {"spec", "docs", "field", "mended"}
WORDS = {
    *("$ref", "type", "format", "enum", "const", "pattern", "anyOf"),
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "minItems", "maxItems", "uniqueItems"),
    *("items", "properties", "required", "additionalProperties", "patternProperties"),
}


def content(vendor: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((KEPT / f"{vendor}.json").read_text(encoding="utf-8"))
    return found


def words(schema: Any) -> Iterator[str]:
    """The words of a schema and of all inside; the names of fields are none."""
    if not isinstance(schema, dict):
        return
    yield from schema
    for word, inner in schema.items():
        if word in ("properties", "patternProperties"):
            for each in inner.values():
                yield from words(each)
        elif word == "anyOf":
            for each in inner:
                yield from words(each)
        elif word in ("items", "additionalProperties"):
            yield from words(inner)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_contract_holds_facts_and_no_prose(vendor: str) -> None:
    whole = content(vendor)
    assert set(whole) == {"made_from", "calls", "refusal", "types"}
    assert set().union(*whole["calls"].values()) <= {"query", "body", "answer", "keyed", "server"}
    parts = [call[part] for call in whole["calls"].values() for part in ("query", "body", "answer") if part in call]
    schemas = [whole["refusal"], *whole["types"].values(), *parts]
    assert {word for schema in schemas for word in words(schema)} <= WORDS


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_contract_holds_the_calls_that_are_stated_and_only_types_that_they_name(vendor: str) -> None:
    whole = content(vendor)
    assert set(whole["calls"]) == set(STATED[vendor]["calls"])
    named = set(make.referred(whole["types"], [whole["calls"], whole["refusal"]]))
    assert set(whole["types"]) == named


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_stated_fact_names_its_source_and_is_in_the_contract(vendor: str) -> None:
    facts = STATED[vendor]["facts"]
    assert {fact["source"] for fields in facts.values() for fact in fields.values()} <= SOURCES
    assert {of for of in facts if " " in of and of != "every list"} <= set(content(vendor)["calls"])
    assert {of for of in facts if " " not in of} <= set(content(vendor)["types"])
    assert make.with_facts(content(vendor), facts) == content(vendor)


def test_chargebees_contract_is_what_its_sdk_and_the_stated_facts_say() -> None:
    stated = STATED["chargebee"]
    made = make.text(make.chargebee(stated, stated["calls"])) + "\n"
    assert made == (KEPT / "chargebee.json").read_text(encoding="utf-8"), "make contracts"


def test_the_readme_names_the_document_that_m3ters_contract_was_made_from() -> None:
    assert content("m3ter")["made_from"]["sha256"] in (KEPT / "README.md").read_text(encoding="utf-8")


def test_m3ters_sdk_knows_the_same_fields_of_our_requests() -> None:
    """A second source: description and SDK agree on each body that both know."""
    known = {re.sub(r"\{\w+\}", "{}", name): name for name in m3ter_sdk.calls()}
    compared = 0
    for name, call in kept("m3ter").calls.items():
        same = known.get(re.sub(r"\{\w+\}", "{}", name))
        if "body" in call and same is not None:
            ours = content("m3ter")["types"][call["body"]["$ref"].rpartition("/")[2]]
            theirs = m3ter_sdk.call(same)["body"]
            # The SDK keeps a path's parameters among the others.
            assert set(theirs["properties"]) - {"orgId", "id"} == set(ours["properties"]), name
            assert set(theirs.get("required", ())) - {"orgId", "id"} == set(ours.get("required", ())), name
            compared += 1
    assert compared > 10
