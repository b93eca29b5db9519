"""Rules of usage: what a measurement's uid is, why a row is rejected, how a request's rows are written down."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

UID_DAYS = 34
"""m3ter forgets a uid 35 days after it was ingested: older rows could be counted twice."""

AHEAD_SECONDS = 3600
"""A timestamp further ahead would outlive its uid."""

MOST_MEASUREMENTS = 1_000
MOST_BYTES = 512_000
"""Limits of one request to m3ter's ingest API; the body must stay below."""

ENVELOPE = len('{"measurements":[]}')


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row is rejected: the error code it counts under, and the words for people."""

    code: str
    words: str


REASONS: dict[str, Reason] = {
    "unreadable_line": Reason("MB-USAGE-ROW", "the line cannot be read"),
    "open_quote": Reason("MB-USAGE-ROW", "the line lies under a quote that should not be open"),
    "name_twice": Reason("MB-USAGE-ROW", "the object has a name of the mapping twice"),
    "sql_failed": Reason("MB-USAGE-ROW", "an SQL expression of the mapping fails on the row"),
    "meter_missing": Reason("MB-USAGE-ROW", "the row names no meter"),
    "meter_too_long": Reason("MB-USAGE-ROW", "the meter code is longer than 80 characters"),
    "meter_unprintable": Reason("MB-USAGE-ROW", "the meter code holds a control character"),
    "meter_unknown": Reason("MB-USAGE-METER", "m3ter has no meter of this code"),
    "field_unknown": Reason("MB-USAGE-METER", "the meter has no such field"),
    "account_missing": Reason("MB-USAGE-ROW", "the row names no account"),
    "account_too_long": Reason("MB-USAGE-ROW", "the account code is longer than 80 characters"),
    "account_unprintable": Reason("MB-USAGE-ROW", "the account code holds a control character"),
    "account_unknown": Reason("MB-USAGE-ACCOUNT", "there is no such account; m3ter would make one"),
    "account_near": Reason("MB-USAGE-ACCOUNT", "an account's code differs from this only in case or spaces"),
    "account_excluded": Reason("MB-USAGE-ACCOUNT", "the account is out of scope by accounts_only or accounts_except"),
    "account_has_children": Reason(
        "MB-USAGE-ACCOUNT", "the customer's plans are on child accounts: name the one that is meant"
    ),
    "key_missing": Reason("MB-USAGE-ROW", "a key column is empty"),
    "ts_missing": Reason("MB-USAGE-ROW", "the row has no timestamp"),
    "ts_unreadable": Reason("MB-USAGE-ROW", "the timestamp does not have the format of the mapping"),
    "ts_not_in_zone": Reason("MB-USAGE-ROW", "the local time does not exist: clocks went forward"),
    "ts_twice_in_zone": Reason("MB-USAGE-ROW", "the local time exists twice: clocks went back; say ambiguous"),
    "ts_zone_missing": Reason("MB-USAGE-ROW", "neither the timestamp nor its column names a time zone"),
    "ts_zone_unknown": Reason("MB-USAGE-ROW", "there is no such time zone"),
    "ts_old": Reason("MB-USAGE-OLD", "the timestamp is older than 34 days"),
    "ts_future": Reason("MB-USAGE-FUTURE", "the timestamp is more than an hour ahead"),
    "backfilled": Reason("MB-USAGE-OLD", "this meter, account and day was backfilled before"),
    "ets_unreadable": Reason("MB-USAGE-ROW", "the end timestamp does not have the format of the mapping"),
    "ets_not_in_zone": Reason("MB-USAGE-ROW", "the local end time does not exist: clocks went forward"),
    "ets_twice_in_zone": Reason("MB-USAGE-ROW", "the local end time exists twice: clocks went back; say ambiguous"),
    "ets_zone_missing": Reason("MB-USAGE-ROW", "neither the end timestamp nor its column names a time zone"),
    "ets_zone_unknown": Reason("MB-USAGE-ROW", "there is no such time zone for the end timestamp"),
    "ets_before_ts": Reason("MB-USAGE-ROW", "the end timestamp lies before the timestamp"),
    "field_missing": Reason("MB-USAGE-ROW", "a field that must be there is empty"),
    "fields_missing": Reason("MB-USAGE-ROW", "all fields are empty"),
    "number_unreadable": Reason("MB-USAGE-ROW", "a number cannot be read"),
    "number_not_finite": Reason("MB-USAGE-ROW", "a number is infinite or none"),
    "number_too_large": Reason("MB-USAGE-ROW", "a number is beyond what m3ter can hold"),
    "text_too_long": Reason("MB-USAGE-ROW", "a text is longer than 256 characters"),
    "quantity_inexact": Reason("MB-USAGE-ROW", "a quantity has an exponent, or more than 20 digits, 10 of a fraction"),
    "subscription_unknown": Reason("MB-USAGE-ACCOUNT", "Chargebee has no such subscription"),
    "subscription_excluded": Reason("MB-USAGE-ACCOUNT", "the customer is out of scope"),
    "item_price_unknown": Reason("MB-USAGE-METER", "Chargebee has no such item price"),
    "item_not_metered": Reason("MB-USAGE-METER", "the item is not metered"),
    "item_absent": Reason("MB-USAGE-METER", "the subscription has no such item price"),
    "too_large": Reason("MB-USAGE-ROW", "the measurement alone is larger than a request may be"),
    "duplicate": Reason("MB-USAGE-DUPLICATE", "the row repeats an earlier one exactly, in every column"),
    "duplicate_changed": Reason("MB-USAGE-DUPLICATE", "an earlier row has the same key and other content"),
}


def uid(mapping: str, meter: str, account: str, key: Sequence[str]) -> str:
    """A measurement's uid: 40 hex digits of SHA-256 over its parts, each prefixed with its length in bytes.

    >>> uid("flights", "api", "ab", ["c"]) == uid("flights", "api", "a", ["bc"])
    False
    """
    parts = [part.encode() for part in (mapping, meter, account, *key)]
    return hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in parts)).hexdigest()[:40]


def cut(sizes: Sequence[int]) -> list[int]:
    """How many measurements each request takes, in order, so that none breaks m3ter's limits.

    Args:
        sizes: Bytes of each measurement; none is larger than a request may be.

    >>> cut([200_000, 200_000, 200_000])
    [2, 1]
    """
    counts: list[int] = []
    filled = 0
    for size in sizes:
        if not counts or counts[-1] == MOST_MEASUREMENTS or filled + 1 + size >= MOST_BYTES:
            counts.append(0)
            filled = ENVELOPE
        filled += size + (counts[-1] > 0)
        counts[-1] += 1
    return counts


def ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as text, runs joined.

    >>> ranges([1, 2, 3, 7])
    '1-3,7'
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


class Numbers:
    """A set of whole numbers as ascending runs: ten million of them take no more room than their gaps.

    >>> Numbers(["1-3", "4,9"]).within(3, 9)
    {9, 3, 4}
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(run for text in texts for run in runs(text)):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def within(self, first: int, last: int) -> set[int]:
        """Those from ``first`` to ``last``, inclusive."""
        found: set[int] = set()
        place = bisect_left(self._lasts, first)
        while place < len(self._firsts) and self._firsts[place] <= last:
            found.update(range(max(first, self._firsts[place]), min(last, self._lasts[place]) + 1))
            place += 1
        return found

    def hold_all(self, first: int, last: int) -> bool:
        """True if every number from ``first`` to ``last``, inclusive, is in it.

        >>> Numbers(["1-3", "4,9"]).hold_all(2, 4), Numbers(["1-3", "5"]).hold_all(2, 5)
        (True, False)
        """
        place = bisect_left(self._lasts, last)
        return place < len(self._firsts) and self._firsts[place] <= first


def runs(text: str) -> list[tuple[int, int]]:
    """First and last number of each run that :func:`ranges` wrote."""
    pairs = [part.partition("-") for part in text.split(",")] if text else []
    return [(int(first), int(last or first)) for first, _, last in pairs]
