"""Chargebee's form encoding and filter texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote, urlencode

from meterbridge.errors import BrokenInvariant

Scalar = str | int | bool
Group = Mapping[str, Scalar | None]
Parameter = Scalar | None | Group | Sequence[Group] | Sequence[str]

FORM = "application/x-www-form-urlencoded"
IDS_PER_LIST = 50
"""Ids in one ``id[in]`` filter; keeps the address well below 8 kB."""

# Parameters of lists that carry no operator. Chargebee ignores any other bare filter without
# a word and answers with the whole table, so the client refuses to send one.
BARE_PARAMETERS = frozenset({"limit", "offset", "include_deleted", "entity_type", "entity_id"})


def form(parameters: Mapping[str, Parameter]) -> str:
    """Encode parameters in the order given; None is left out, an empty text clears a field.

    A group's name comes first, an array's index last.

    >>> form({"amount": 5, "line_item": {"date_from": 1}, "line_items": [{"id": "a"}, {"id": "b"}]})
    'amount=5&line_item%5Bdate_from%5D=1&line_items%5Bid%5D%5B0%5D=a&line_items%5Bid%5D%5B1%5D=b'
    """
    return urlencode([pair for name, value in parameters.items() for pair in _flatten(name, value)])


def query(parameters: Mapping[str, str]) -> str:
    """Encode a query string; spaces as %20, values untouched otherwise."""
    return urlencode(parameters, quote_via=quote, safe="")


def in_list(values: Sequence[str]) -> str:
    """The text of an ``[in]`` filter.

    >>> in_list(["active", "non_renewing"])
    '["active","non_renewing"]'
    """
    return json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))


def id_filters(name: str, ids: Sequence[str]) -> Iterator[dict[str, str]]:
    """Filters that together name all ids, in the order given, no list with more than :data:`IDS_PER_LIST`.

    >>> list(id_filters("id", ["a", "b"]))
    [{'id[in]': '["a","b"]'}]
    """
    for start in range(0, len(ids), IDS_PER_LIST):
        yield {f"{name}[in]": in_list(ids[start : start + IDS_PER_LIST])}


def not_before(instant: int) -> str:
    """The text of an ``[after]`` filter that includes the instant (epoch seconds): no page says if Chargebee's does.

    Such a window has no upper end: a test site that travels in time dates what happens now in the future.

    >>> not_before(1767225600)
    '1767225599'
    """
    return str(instant - 1)


def between(first: int, last: int) -> str:
    """The text of a ``[between]`` filter, both ends included, epoch seconds; Chargebee refuses equal ends.

    >>> between(1767225600, 1767229200)
    '[1767225600,1767229200]'
    """
    if first >= last:
        raise BrokenInvariant("MB-INVARIANT", f"a window must be at least one second wide, not {first} to {last}")
    return f"[{first},{last}]"


def _flatten(name: str, value: Parameter) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for field, scalar in value.items():
            yield from _scalar(f"{name}[{field}]", scalar)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        entries: Sequence[Group | str] = value
        for index, entry in enumerate(entries):
            if isinstance(entry, Mapping):
                for field, scalar in entry.items():
                    yield from _scalar(f"{name}[{field}][{index}]", scalar)
            else:
                yield from _scalar(f"{name}[{index}]", entry)
    else:
        yield from _scalar(name, value)


def _scalar(name: str, value: Scalar | None) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, bool):
        yield name, "true" if value else "false"
    elif isinstance(value, str | int):
        yield name, str(value)
    else:
        # A float or Decimal here would be money that was never rounded by our rules.
        raise BrokenInvariant(
            "MB-INVARIANT", f"parameter {name} must be a text or an integer, not {type(value).__name__}"
        )
