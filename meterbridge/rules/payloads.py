"""Payloads: each class names the fields of one kind of write and the type of each; the registry names the class.

A payload is JSON: money is an integer of minor units, an instant an ISO 8601 text in UTC or, where Chargebee wants it,
epoch seconds. No field is required of every action: what is taken over has fewer than what is made.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import cache
from typing import Any, TypedDict, Union, get_args, get_origin, get_type_hints

from meterbridge.rules.decisions import Ref

Id = str | Ref | dict[str, Any]
"""A remote id, or the intent that will tell it: as a rule says it, or as the ledger and the staging file hold it."""


class Account(TypedDict, total=False):
    """A customer's account at m3ter, field by field as its API names them."""

    id: str
    code: str
    name: str
    emailAddress: str
    currency: str
    address: dict[str, Any]
    parentAccountId: Id
    customFields: dict[str, Any]


class AccountPlan(TypedDict, total=False):
    """A subscription item's account plan at m3ter; dates are instants in UTC."""

    id: str
    accountId: Id
    planId: str
    code: str
    startDate: str
    endDate: str
    billEpoch: str
    childBillingMode: str


class ExternalMapping(TypedDict, total=False):
    """An external mapping at m3ter; ``bill_id`` names the bill whose charges it follows."""

    m3terEntity: str
    m3terId: Id
    externalSystem: str
    externalTable: str
    externalId: Id
    bill_id: str


class DecidedOn(TypedDict, total=False):
    """The bill as it was when the write was decided: the strong read right before it asks whether it still is."""

    bill_id: str
    bill_version: int
    bill_status: str
    bill_last_calculated: str
    ceiling: int


class Charge(DecidedOn, total=False):
    """A line of a customer's invoice. Dates are epoch seconds, ``amount`` minor units."""

    invoice_id: str
    line_id: str
    method: str
    item_price_id: str
    subscription_id: str
    amount: int
    currency: str
    date_from: int
    date_to: int
    description: str
    price_type: str
    reference: str
    line_ids: list[str]
    unnamed: bool


class ChargeSet(DecidedOn, total=False):
    """The lines of a portion that one call books together: charges, each with its key, fingerprint and state."""

    method: str
    subscription_id: str
    currency: str
    customers: list[str]
    lines: list[dict[str, Any]]
    replaces: list[str]


class ChargeRemoval(DecidedOn, total=False):
    """A line that is taken off its draft, or an unbilled charge that is deleted.

    ``charge`` is its key; ``undo_of`` the run that a person undoes.
    """

    invoice_id: str
    line_ids: list[str]
    charge: list[str]
    undo_of: str


class Credit(DecidedOn, total=False):
    """A credit note on an invoice or a promotional credit of a customer; ``amount`` in minor units, positive."""

    credit_id: str
    method: str
    customer_id: str
    invoice_id: str
    type: str
    amount: int
    currency: str
    reference: str


class Usage(TypedDict, total=False):
    """A metered item's usage record at Chargebee; ``usage_date`` in epoch seconds, ``quantity`` a decimal as text."""

    subscription_id: str
    item_price_id: str
    usage_id: str
    usage_date: int
    quantity: str
    note: str


class UsageRemoval(TypedDict, total=False):
    """A usage record that is deleted; ``record`` is the key of its write."""

    subscription_id: str
    usage_id: str
    record: list[str]


def wrong_fields(shape: type, payload: Mapping[str, Any]) -> list[str]:
    """Name the fields that the shape does not know, or whose value is of another type; a text may be missing."""
    fields = _fields(shape)
    return sorted(name for name, value in payload.items() if type(value) not in fields.get(name, ()))


@cache
def _fields(shape: type) -> dict[str, tuple[type, ...]]:
    return {name: tuple(_plain(hint)) for name, hint in get_type_hints(shape).items()}


def _plain(hint: Any) -> list[type]:
    if get_origin(hint) in (Union, types.UnionType):
        return [plain for each in get_args(hint) for plain in _plain(each)]
    plain = get_origin(hint) or hint
    also: dict[type, type] = {list: tuple, str: types.NoneType}
    return [plain, also.get(plain, plain)]
