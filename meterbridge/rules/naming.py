"""Records in words: what a natural key is about, with its ids whole."""

from __future__ import annotations

from collections.abc import Sequence

from meterbridge.rules.kinds import MONEY

Parts = list[tuple[str, str]]
"""Noun and id, the most telling first."""


def parts_of(kind: str, key: Sequence[str]) -> Parts:
    """Return the nouns and ids that a record's key names.

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
