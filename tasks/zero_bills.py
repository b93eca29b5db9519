"""Bills of nothing: seen in pages with their lines, for m3ter makes one a month for whoever used nothing.

A bill that may charge is read by its id, as late as can be. For one of nothing a page is good enough: whatever it
becomes later makes it differ from what the ledger then knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.m3ter.client import M3terClient

FEW = 20
"""Up to this many bills new to the ledger are read by their ids anyway."""

PER_READ = 50
"""So many bills of a list of a hundred a page may lie between for each new one: then pages are half the requests."""


@dataclass(slots=True)
class Listed:
    """The bills that a run has listed: versions of those new to the ledger by id, and how many are of each day."""

    new: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    days: set[date] = field(default_factory=set)
    dates: Counter[date] = field(default_factory=Counter)

    def take(self, bill: Mapping[str, Any], *, new: bool) -> None:
        """Count a listed bill; ``new``: it is wanted, and the ledger knows nothing of it."""
        day = date.fromisoformat(bill["billDate"])
        self.dates[day] += 1
        if new:
            self.days.add(day)
            self.new[bill["id"]] = _version(bill)

    def span(self) -> tuple[date, date] | None:
        """From the first to after the last bill date of the new ones, if their pages are the shorter way."""
        if len(self.new) <= FEW:
            return None
        first, last = min(self.days), max(self.days)
        between = sum(count for day, count in self.dates.items() if first <= day <= last)
        return (first, last + timedelta(days=1)) if between <= PER_READ * len(self.new) else None


def zero_bills(m3ter: M3terClient, listed: Listed) -> Iterator[Mapping[str, Any]]:
    """Return the new bills that are as listed, whole, and of nothing but lines of zero."""
    span = listed.span()
    if span is None:
        return
    first, after = span
    for bill in m3ter.bills(
        bill_date_start=first, bill_date_end=after, status="APPROVED", exclude_line_items=False, include_bill_total=True
    ):
        if listed.new.get(bill["id"]) == _version(bill) and _is_zero(bill):
            yield bill


def _version(bill: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(bill.get(name) for name in ("version", "lastCalculatedDate", "status", "locked", "accountId"))


def _is_zero(bill: Mapping[str, Any]) -> bool:
    lines = bill.get("lineItems")
    if not isinstance(lines, list) or not all(isinstance(line, Mapping) for line in lines):
        return False
    return _all_zero([bill.get("billTotal"), *(line.get("convertedSubtotal") for line in lines)])


def _all_zero(amounts: Iterable[Any]) -> bool:
    try:
        return all(Decimal(str(amount)) == 0 for amount in amounts)
    except InvalidOperation:
        return False
