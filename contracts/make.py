"""Write ``m3ter.json`` and ``chargebee.json``: facts about the calls that we make.

``facts.yaml`` names the calls and adds what only documentation states; m3ter's OpenAPI description is given by its
path, Chargebee's types come from its SDK as installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from textwrap import fill
from typing import Any

import yaml

from contracts.chargebee_sdk import Sdk
from contracts.m3ter_description import Description
from contracts.schemas import Json

HERE = Path(__file__).resolve().parent
# A fact's words that are no words of the schema.
ABOUT = {"source", "optional"}
WIDTH = 120


def facts() -> Json:
    """``facts.yaml``, by vendor."""
    found: Json = yaml.safe_load((HERE / "facts.yaml").read_text(encoding="utf-8"))
    return found


def chargebee(stated: Json, names: list[str]) -> Json:
    """Chargebee's contract for these calls."""
    sdk = Sdk(stated["always"])
    calls = {name: sdk.call(name) for name in sorted(names)}
    made_from = {"chargebee": metadata.version("chargebee")}
    contract = {"made_from": made_from, "calls": calls, "refusal": stated["refusal"], "types": sdk.close()}
    return with_facts(contract, stated["facts"])


def m3ter(stated: Json, published: bytes) -> Json:
    """m3ter's contract, out of its description as published."""
    description = Description(json.loads(published))
    calls = {name: description.call(name) for name in sorted(stated["calls"])}
    refusal = description.refusal(stated["calls"][-1])
    types = description.types
    named = {name: types[name] for name in sorted(referred(types, [calls, refusal]))}
    made_from = {"sha256": hashlib.sha256(published).hexdigest()}
    contract = {"made_from": made_from, "calls": calls, "refusal": refusal, "types": named}
    return with_facts(contract, stated["facts"])


def referred(types: Json, start: Any) -> Iterator[str]:
    """The types that something names, and those that these name."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in seen:
                seen.add(name)
                yield name
                waiting.append(types[name])
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def with_facts(contract: Json, stated: Json) -> Json:
    """The contract with what ``facts.yaml`` adds; of a call or type that it does not hold it needs no facts."""
    for of, fields in stated.items():
        for field, fact in fields.items():
            for schema in _subjects(contract, of, field):
                holder, name = _place(contract, schema, field.split("."))
                if fact.get("optional"):
                    holder["required"] = [each for each in holder["required"] if each != name]
                said = {word: value for word, value in fact.items() if word not in ABOUT}
                holder["properties"][name] = {**holder["properties"][name], **said}
    return contract


def _subjects(contract: Json, of: str, field: str) -> list[Json]:
    if of == "every list":
        queries = [call["query"] for call in contract["calls"].values() if "query" in call]
        return [query for query in queries if field in query["properties"]]
    if " " in of:
        call = contract["calls"].get(of)
        return [call.get("body") or call["query"]] if call else []
    return [contract["types"][of]] if of in contract["types"] else []


def _place(contract: Json, schema: Json, steps: list[str]) -> tuple[Json, str]:
    for step in steps[:-1]:
        schema = schema["properties"][step]
        schema = schema.get("items", schema)
        if "$ref" in schema:
            schema = contract["types"][schema["$ref"].rpartition("/")[2]]
    return schema, steps[-1]


def text(node: Any, indent: str = "") -> str:
    """JSON with one fact a line: what fits into a line stands in one."""
    flat = json.dumps(node, ensure_ascii=False)
    if not isinstance(node, dict | list) or len(indent) + len(flat) <= WIDTH:
        return flat
    inner = indent + " "
    if isinstance(node, list):
        row = ", ".join(map(json.dumps, node))
        return (
            f"[\n{fill(row, WIDTH, initial_indent=inner, subsequent_indent=inner, break_long_words=False)}\n{indent}]"
        )
    lines = ",\n".join(f"{inner}{json.dumps(name)}: {text(each, inner)}" for name, each in node.items())
    return f"{{\n{lines}\n{indent}}}"


def main() -> None:
    """Write the files."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "description",
        type=Path,
        nargs="?",
        help="m3ter's OpenAPI description, a JSON document; without it m3ter.json stays",
    )
    description = arguments.parse_args().description
    stated = facts()
    made = {"chargebee.json": chargebee(stated["chargebee"], stated["chargebee"]["calls"])}
    if description is not None:
        made["m3ter.json"] = m3ter(stated["m3ter"], description.read_bytes())
    for name, contract in made.items():
        (HERE / name).write_text(text(contract) + "\n", encoding="utf-8")
        print(f"{name}: {len(contract['calls'])} calls, {len(contract['types'])} types")


if __name__ == "__main__":
    main()
