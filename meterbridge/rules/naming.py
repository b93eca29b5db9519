"""Records in words: what a natural key is about, with the ids that a person can open at the vendor."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from meterbridge.rules.kinds import MONEY

Parts = list[tuple[str, str]]
"""Noun and id, the most telling first."""

_CONSOLE = {"customer": "customers", "subscription": "subscriptions", "invoice": "invoices"}
"""Pages of Chargebee's console (chargebee.com/docs, "construct the admin console URL", November 2026)."""


def parts_of(kind: str, key: Sequence[str]) -> Parts:
    """What a record's key names.

    >>> parts_of("charge", ("bill-1", "sub-1", '["USAGE"]'))
    [('subscription', 'sub-1'), ('bill', 'bill-1')]
    >>> parts_of("account", ("cust-1",)), parts_of("external_mapping", ("Bill", "b-1"))
    ([('customer', 'cust-1')], [('mapping of Bill', 'b-1')])
    """
    first, second = (*key, "", "")[:2]
    if kind in MONEY:
        named = [("subscription", second), ("bill", first)]
    elif kind == "account_plan":
        named = [("subscription", first), ("item price", second)]
    elif kind == "account":
        named = [("customer", first), ("child", second)]
    elif kind == "external_mapping":
        named = [(f"mapping of {first}", second)]
    else:
        return [(kind.replace("_", " "), " / ".join(part for part in key if not part.startswith("[")))]
    return [(noun, name) for noun, name in named if name]


def in_words(kind: str, key: Sequence[str]) -> str:
    """A record on one line, its ids whole.

    >>> in_words("charge", ("bill-1", "sub-1", "[]"))
    'subscription sub-1, bill bill-1'
    """
    return ", ".join(f"{noun} {name}" for noun, name in parts_of(kind, key))


def console_address(site: str, noun: str, name: str) -> str:
    """Where Chargebee's console shows a record; empty where it has no page, or the site is not known.

    >>> console_address("acme-test", "customer", "c/1")
    'https://acme-test.chargebee.com/admin-console/customers/c%2F1'
    """
    page = _CONSOLE.get(noun)
    return f"https://{site}.chargebee.com/admin-console/{page}/{quote(name, safe='')}" if page and site and name else ""
