"""The official Chargebee SDK's classes as a judge of answers: fields, types, enum values, envelopes.

Its parser takes anything; its annotations do not.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from chargebee.models import enums
from chargebee.responses import Response

# Attributes that are always there, from the vendor's own API description (a record's key, then its fields).
REQUIRED: dict[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "customer": "id created_at deleted resource_version",
        "subscription": "id customer_id currency_code status has_scheduled_changes has_scheduled_advance_invoices "
        "decommissioned deleted",
        "subscription_item": "item_price_id item_type",
        "item": "id name type status",
        "item_price": "id name item_id item_type currency_code pricing_model status",
        "item_family": "id name",
        "invoice": "id customer_id recurring status price_type currency_code sub_total tax term_finalized is_gifted "
        "deleted",
        "line_item": "date_from date_to unit_amount is_taxed description entity_type",
        "credit_note": "id customer_id currency_code type status price_type sub_total deleted",
        "unbilled_charge": "currency_code entity_type is_voided updated_at deleted",
        "comment": "id entity_type entity_id notes type created_at",
        "event": "id occurred_at source event_type api_version content",
        "configuration": "domain product_catalog_version chargebee_response_schema_type",
    }.items()
}
# Parts of an envelope that are about the answer, not in it.
_ABOUT = frozenset({"is_idempotency_replayed", "headers", "http_status_code", "next_offset"})
_JSON_TYPES: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), bool: (bool,), float: (int, float)}


def complaints(resource: str, envelope: str, body: dict[str, Any]) -> list[str]:
    """All that the class ``envelope`` of a resource's responses has against an answer's body."""
    responses = importlib.import_module(f"chargebee.models.{resource}.responses")
    kind = getattr(responses, envelope)
    found = list(_parsed(kind, body))
    if "list" not in body:
        return found + list(_enveloped(kind, body))
    entry = get_args(get_type_hints(kind)["list"])[0]
    for each in body["list"]:
        found += _enveloped(entry, each)
    extra = set(body) - {"list", "next_offset"}
    return found + [f"{name}: a list has no such part" for name in sorted(extra)]


def _parsed(kind: type, body: dict[str, Any]) -> Iterator[str]:
    try:
        Response(kind, body, {}, 200).parse()
    except (TypeError, AttributeError, KeyError) as error:
        yield f"the SDK cannot read it: {error}"


def _enveloped(kind: type, body: dict[str, Any]) -> Iterator[str]:
    hints = {name: hint for name, hint in _hints(kind).items() if name not in _ABOUT}
    for name, hint in hints.items():
        if name not in body and not hasattr(kind, name):
            yield f"{name}: missing beside {sorted(body)}"
        elif name in body and get_origin(hint) is list:
            for each in body[name]:
                yield from record(get_args(hint)[0], each, name)
        elif name in body:
            yield from record(hint, body[name], name)
    yield from (f"{name}: no such part of the answer" for name in sorted(set(body) - set(hints)))


def record(kind: type, row: dict[str, Any], at: str) -> Iterator[str]:
    """Complaints about one resource or a part of one; ``kind`` is the SDK's class, `LineItemResponse`."""
    name = _snake(kind.__name__.removesuffix("Response"))
    if row.get("object") != name:
        yield f"{at}.object: {row.get('object')!r} is not {name!r}"
    yield from (f"{at}.{each}: required, and absent" for each in sorted(REQUIRED.get(name, frozenset()) - set(row)))
    hints = _hints(kind)
    for field, value in row.items():
        if field not in hints and field != "object" and not field.startswith("cf_"):
            yield f"{at}.{field}: no such field"
        elif field in hints:
            yield from _value(kind, field, hints[field], value, f"{at}.{field}")
    if name == "event":
        for part, snapshot in row.get("content", {}).items():
            yield from _snapshots(part, snapshot, f"{at}[{row.get('event_type')}].content.{part}")


def _value(kind: type, field: str, hint: Any, value: Any, at: str) -> Iterator[str]:
    if value is None:
        yield f"{at}: null, where an absent field is left out"
    elif get_origin(hint) is list:
        for each in value:
            yield from _value(kind, field, get_args(hint)[0], each, at)
    elif hint in _JSON_TYPES:
        if not isinstance(value, _JSON_TYPES[hint]) or (isinstance(value, bool) and hint is not bool):
            yield f"{at}: {value!r} is no {hint.__name__}"
        known = _choices(kind, field)
        if known and value not in known:
            yield f"{at}: {value!r} is none of {sorted(known)}"
    elif isinstance(hint, type) and hint.__name__.endswith("Response"):
        yield from record(hint, value, at)


def _snapshots(part: str, content: Any, at: str) -> Iterator[str]:
    """An event's resources: one record under its name, several under the plural."""
    name = part.removesuffix("s") if isinstance(content, list) else part
    responses = importlib.import_module(f"chargebee.models.{name}.responses")
    kind = getattr(responses, _camel(name) + "Response")
    for row in content if isinstance(content, list) else [content]:
        yield from record(kind, row, at)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@functools.cache
def _choices(kind: type, field: str) -> frozenset[str]:
    """The values of a field's enumeration; empty when it has none.

    The SDK keeps them apart from its response classes: with the resource, under the part's name
    (``Invoice.LineItemEntityType``), or among those that resources share.
    """
    resource = kind.__module__.split(".")[-2]
    owner = getattr(importlib.import_module(f"chargebee.models.{resource}.operations"), _camel(resource))
    part = kind.__name__.removesuffix("Response")
    prefix = "" if part == _camel(resource) else part
    found = getattr(owner, prefix + _camel(field), None) or getattr(enums, _camel(field), None)
    return (
        frozenset(each.value for each in found) if isinstance(found, type) and issubclass(found, Enum) else frozenset()
    )


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
