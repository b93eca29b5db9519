"""Both sides compared: what should stand, what does, and the difference to the minor unit.

Nothing here repairs; a difference is a fact to show or to decide about.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from meterbridge.rules.intervals import overlap
from meterbridge.rules.records import Interval, Key

Disagreement = Literal["missing", "extra", "different"]
"""Wanted and not found, found and not wanted, or found with another value."""


@dataclass(frozen=True, slots=True)
class WantedPlan:
    """An account plan that a Chargebee subscription item asks for; half-open [start, end), None is open.

    ``bill_epoch`` is None where any that stands is right.
    """

    subscription_id: str
    item_price_id: str
    account_id: str
    plan_id: str
    start: datetime
    end: datetime | None
    bill_epoch: date | None = None


@dataclass(frozen=True, slots=True)
class StandingPlan:
    """An account plan that stands in m3ter, with the subscription item its mapping names."""

    account_plan_id: str
    subscription_id: str
    item_price_id: str
    account_id: str
    plan_id: str
    start: datetime
    end: datetime | None
    bill_epoch: date | None = None


@dataclass(frozen=True, slots=True)
class WantedCharge:
    """What a bill wants of a subscription's invoice, whole or by line; ``amount`` in minor units."""

    bill_id: str
    subscription_id: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class StandingCharge:
    """A charge that stands on an invoice, or what a person settled; ``amount`` in minor units."""

    bill_id: str
    subscription_id: str
    amount: int
    currency: str
    invoice_id: str | None = None
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement of the two sides.

    ``what`` names the field (account, plan, start, end, billing epoch, amount) or the whole
    thing (account plan, charge). ``money`` is found less wanted in minor units,
    so negative where the customer was charged too little; None where it is no
    matter of money.
    """

    disagreement: Disagreement
    what: str
    key: Key
    wanted: str | None
    found: str | None
    money: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """One currency's sums on both sides, in minor units."""

    wanted: int
    standing: int

    @property
    def difference(self) -> int:
        """Standing less wanted."""
        return self.standing - self.wanted


def without_history(found: Sequence[StandingPlan], now: datetime) -> list[StandingPlan]:
    """Leave out what somebody attached by hand and has ended, as long as nothing of ours stood beside it."""
    ours: dict[str, list[StandingPlan]] = defaultdict(list)
    for one in found:
        if one.subscription_id:
            ours[one.account_id].append(one)
    return [one for one in found if one.subscription_id or not _is_history(one, ours.get(one.account_id, ()), now)]


def _is_history(by_hand: StandingPlan, ours: Iterable[StandingPlan], now: datetime) -> bool:
    if by_hand.end is None or by_hand.end > now:
        return False
    span = Interval(by_hand.start, by_hand.end)
    return not any(overlap(span, Interval(one.start, one.end)) for one in ours)


def compare_items(desired: Iterable[WantedPlan], found: Iterable[StandingPlan]) -> list[Difference]:
    """Compare account plans item by item; periods of one item are paired by start, then in order.

    Differences come sorted by key; the key of a found plan ends in its m3ter id.
    """
    wanted_by, found_by = defaultdict(list), defaultdict(list)
    for plan in desired:
        wanted_by[plan.subscription_id, plan.item_price_id].append(plan)
    for standing in found:
        found_by[standing.subscription_id, standing.item_price_id].append(standing)
    differences: list[Difference] = []
    for item in sorted({*wanted_by, *found_by}):
        differences += _compare_item(item, wanted_by[item], found_by[item])
    return differences


def _compare_item(item: Key, desired: list[WantedPlan], found: list[StandingPlan]) -> list[Difference]:
    left = sorted(desired, key=lambda plan: plan.start)
    standing = sorted(found, key=lambda plan: (plan.start, plan.account_plan_id))
    pairs: list[tuple[WantedPlan, StandingPlan]] = []
    for plan in list(left):
        same = next((one for one in standing if one.start == plan.start), None)
        if same is not None:
            pairs.append((plan, same))
            left.remove(plan)
            standing.remove(same)
    paired = min(len(left), len(standing))
    pairs += zip(left[:paired], standing[:paired], strict=True)
    differences = [one for plan, other in pairs for one in _fields(item, plan, other)]
    differences += [Difference("missing", "account plan", item, _span(plan), None) for plan in left[paired:]]
    differences += [
        Difference("extra", "account plan", (*item, other.account_plan_id), None, _span(other))
        for other in standing[paired:]
    ]
    return differences


def _fields(item: Key, wanted: WantedPlan, found: StandingPlan) -> list[Difference]:
    pairs = [
        ("account", wanted.account_id, found.account_id),
        ("plan", wanted.plan_id, found.plan_id),
        ("start", _instant(wanted.start), _instant(found.start)),
        ("end", _instant(wanted.end), _instant(found.end)),
    ]
    if wanted.bill_epoch is not None:
        pairs.append(("billing epoch", str(wanted.bill_epoch), str(found.bill_epoch or "none")))
    key = (*item, found.account_plan_id)
    return [Difference("different", what, key, ours, theirs) for what, ours, theirs in pairs if ours != theirs]


def _span(plan: WantedPlan | StandingPlan) -> str:
    return f"plan {plan.plan_id} on account {plan.account_id}, {_instant(plan.start)} to {_instant(plan.end)}"


def _instant(instant: datetime | None) -> str:
    return "open" if instant is None else instant.isoformat()


def compare_bills(
    wanted: Iterable[WantedCharge], standing: Iterable[StandingCharge]
) -> tuple[list[Difference], dict[str, Total]]:
    """Compare the money of every portion (bill, subscription), and the totals of every currency.

    Single lines may differ as long as the portion's sum is right. Differences
    come sorted by key, totals by currency.
    """
    ours: Counter[tuple[str, str, str]] = Counter()
    theirs: Counter[tuple[str, str, str]] = Counter()
    places = defaultdict(set)
    for want in wanted:
        ours[want.bill_id, want.subscription_id, want.currency] += want.amount
    for stand in standing:
        portion = (stand.bill_id, stand.subscription_id, stand.currency)
        theirs[portion] += stand.amount
        places[portion].add(f"invoice {stand.invoice_id}" if stand.invoice_id else "no invoice: settled by hand")
    differences = []
    for portion in sorted({*ours, *theirs}):
        if ours[portion] == theirs[portion]:
            continue
        bill_id, subscription_id, currency = portion
        where = ", ".join(sorted(places[portion]))
        differences.append(
            Difference(
                "different" if portion in ours and portion in theirs else "missing" if portion in ours else "extra",
                "amount" if portion in ours and portion in theirs else "charge",
                (bill_id, subscription_id),
                str(ours[portion]) if portion in ours else None,
                f"{theirs[portion]} on {where}" if portion in theirs else None,
                theirs[portion] - ours[portion],
                currency,
            )
        )
    currencies = sorted({currency for _, _, currency in (*ours, *theirs)})
    return differences, {currency: Total(_sum(ours, currency), _sum(theirs, currency)) for currency in currencies}


def _sum(amounts: Counter[tuple[str, str, str]], currency: str) -> int:
    return sum(amount for portion, amount in amounts.items() if portion[2] == currency)
