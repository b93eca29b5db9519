"""Which differences are known to somebody already: set aside, waiting, or under way. Those are no drift."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from meterbridge.rules.reconcile import Difference
from meterbridge.rules.records import Key

Why = Literal["quarantined", "dismissed", "waiting", "awaiting approval", "under way"]

WITHDRAWN = frozenset({"MB-BILL-UNAPPROVED", "MB-BILL-DELETED"})
"""Their amount is what stands and is wanted no more; all others' is what is wanted and does not stand."""

ON_THE_INVOICE = frozenset(
    {"MB-DOUBLE-CHARGE", "MB-CHARGE-WRONG", "MB-LINE-CHANGED", "MB-DRAFT-LOST", "MB-INVOICE-AMBIGUOUS"}
)
"""A person has to look at the invoice itself: the amount set aside need not be the difference."""

NEWS = frozenset({"MB-LINE-CHANGED", "MB-VOIDED"})
"""Somebody changed an invoice: until a sync has set it aside nobody knows, whatever the comparison makes of it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What is known about a record that the sides disagree on; ``amount`` in minor units.

    The key is that of the decision: (bill,), (bill, subscription, …) or (subscription, item price, …).
    ``may_stand`` are items (subscription, item price) of which every difference is accounted for: a write without
    a known outcome may have made it, or a person did, and that is told already.
    """

    why: Why
    key: Key
    code: str
    message: str
    amount: int | None = None
    currency: str | None = None
    may_stand: frozenset[Key] = frozenset()


Explained = tuple[Difference, tuple[Reason, ...]]
"""A difference and all that accounts for it, such as the proposed writes of a portion; at least one."""


def split_charges(
    differences: Iterable[Difference], reasons: Sequence[Reason]
) -> tuple[list[Difference], list[Explained]]:
    """Part the differences of bills into drift and those that reasons account for to the minor unit.

    Of a difference that is only partly accounted for, the rest is drift: its
    ``money`` is what no reason covers.
    """
    by_portion: dict[Key, list[Reason]] = defaultdict(list)
    for reason in reasons:
        by_portion[reason.key[:2]].append(reason)
    drift: list[Difference] = []
    explained: list[Explained] = []
    for one in differences:
        whole = by_portion.get(one.key[:1], [])
        known = [*whole, *by_portion.get(one.key, [])]
        rest = 0 if _covers_all(known, whole) else (one.money or 0) + sum(map(_expected, known))
        if known:
            explained.append((one, tuple(known)))
        if not known or rest:
            drift.append(replace(one, money=rest))
    return drift, explained


def _covers_all(known: Sequence[Reason], whole: Sequence[Reason]) -> bool:
    return bool(whole) or any(reason.code in ON_THE_INVOICE for reason in known)


def _expected(reason: Reason) -> int:
    """What the reason leaves missing, so negative where it leaves too much."""
    amount = reason.amount or 0
    return -amount if reason.code in WITHDRAWN else amount


def split_items(
    differences: Iterable[Difference], reasons: Sequence[Reason]
) -> tuple[list[Difference], list[Explained]]:
    """Part the differences of account plans; a reason accounts for a missing one of its own item, or one it names.

    One with ``may_stand`` accounts for every difference of those items.
    """
    by_item = {reason.key[:2]: reason for reason in reasons if len(reason.key) > 1}
    by_subscription = {reason.key[0]: reason for reason in reasons if len(reason.key) == 1}
    flying = {item: reason for reason in reasons for item in reason.may_stand}
    drift: list[Difference] = []
    explained: list[Explained] = []
    for one in differences:
        known = flying.get(one.key[:2])
        if known is None and one.disagreement == "missing":
            known = by_item.get(one.key[:2]) or by_subscription.get(one.key[0])
        elif known is None and one.disagreement == "extra":
            known = next((reason for reason in reasons if one.key[-1] in reason.message), None)
        if known is None:
            drift.append(one)
        else:
            explained.append((one, (known,)))
    return drift, explained
