"""Account plans that stand at m3ter: known to the ledger, or found there and recognised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from meterbridge.rules.intervals import overlap
from meterbridge.rules.keys import account_plan_code, code_head, coded, external_id
from meterbridge.rules.plan_steps import Standing, Wish
from meterbridge.rules.records import (
    CustomerCase,
    FoundPlan,
    Interval,
    KnownEpoch,
    KnownPlan,
    Quarantined,
    Subscription,
)

Pair = tuple[str, str]
"""(subscription id, item price id)"""


@dataclass(slots=True)
class Stock:
    """What stands, by (subscription, item price) in order of start; ``foreign`` is what nobody claims.

    ``prefix`` stands before codes of ours.
    """

    standing: dict[Pair, tuple[Standing, ...]]
    foreign: list[FoundPlan] = field(default_factory=list)
    ambiguous: dict[Pair, Quarantined] = field(default_factory=dict)
    prefix: str = ""

    def claimed(self, found: FoundPlan, pair: Pair, period: int, customer_id: str, terms: str = "") -> Standing:
        """A found account plan as one of the item's."""
        is_own = is_ours(found.code, pair, self.prefix)
        plan = KnownPlan(
            subscription_id=pair[0],
            item_price_id=pair[1],
            period=period,
            account_plan_id=found.id,
            account_id=found.account_id,
            customer_id=customer_id,
            plan_id=found.plan_id,
            product_id=found.product_id,
            start=found.start,
            end=found.end,
            terms=terms or found.plan_id,
            epoch=KnownEpoch(found.bill_epoch, found.bill_epoch, seen=True, by_hand=not is_own),
        )
        return Standing(plan, found)


def known_stock(case: CustomerCase) -> Stock:
    """What the ledger knows, and as yet unclaimed what was found besides."""
    by_pair: dict[Pair, list[Standing]] = defaultdict(list)
    for plan in case.known_plans:
        by_pair[plan.subscription_id, plan.item_price_id].append(Standing(plan))
    known = {plan.account_plan_id for plan in case.known_plans}
    foreign = [found for found in case.found_plans if found.id not in known]
    return Stock({pair: _ordered(standing) for pair, standing in by_pair.items()}, foreign, prefix=case.prefix)


def _ordered(standing: Iterable[Standing]) -> tuple[Standing, ...]:
    return tuple(sorted(standing, key=lambda s: (s.plan.start, s.plan.period)))


def claim_mapped(stock: Stock, case: CustomerCase) -> None:
    """Give found account plans to their items: those with our external id, or with the code that only we give."""
    claims: dict[Pair, list[FoundPlan]] = defaultdict(list)
    for found in list(stock.foreign):
        pair = _recognised(found, case.subscriptions, case.prefix) or _by_subscription(found, case)
        if pair is not None and pair not in stock.standing:
            claims[pair].append(found)
            stock.foreign.remove(found)
    subscriptions = {subscription.id: subscription for subscription in case.subscriptions}
    for pair, founds in claims.items():
        in_order = sorted(founds, key=lambda found: (found.start, found.id))
        numbered = enumerate(in_order, start=1)
        customer_id = subscriptions[pair[0]].customer_id
        stock.standing[pair] = tuple(stock.claimed(found, pair, period, customer_id) for period, found in numbered)


def _recognised(found: FoundPlan, subscriptions: Iterable[Subscription], prefix: str) -> Pair | None:
    """Whose account plan this is: an item of the subscription first, else one that has left it."""
    by_length = sorted(subscriptions, key=lambda subscription: len(subscription.id), reverse=True)
    for subscription in by_length:
        for item in subscription.items:
            if external_id(subscription.id, item.item_price_id) in found.external_ids:
                return subscription.id, item.item_price_id
            if is_ours(found.code, (subscription.id, item.item_price_id), prefix):
                return subscription.id, item.item_price_id
    for subscription in by_length:
        for external in found.external_ids:
            rest = external.removeprefix(f"{subscription.id}-")
            if rest and rest != external:
                return subscription.id, rest
    return None


def _by_subscription(found: FoundPlan, case: CustomerCase) -> Pair | None:
    """The item of a plan that somebody else mapped to its subscription alone: the one whose m3ter plan it has."""
    for subscription in case.subscriptions:
        if subscription.id in found.external_ids:
            prices = [item.item_price_id for item in subscription.items]
            fitting = [one for one in prices if one in case.targets and case.targets[one].plan_id == found.plan_id]
            return (subscription.id, fitting[0]) if len(fitting) == 1 else None
    return None


def is_ours(code: str | None, pair: Pair, prefix: str) -> bool:
    """True if an account plan has a code that only we give to those of this item, with the site's prefix or without.

    Codes from before ``site_in_ids`` was set have none.
    """
    own = external_id(*pair)
    if code is None or not code.startswith((code_head(own), code_head(prefix + own))):
        return False
    codes = (account_plan_code(*pair, period) for period in range(1, 100))
    return any(code in (one, coded(prefix, one)) for one in codes)


def claim_unmapped(stock: Stock, wishes: Mapping[Pair, Wish], spans: Mapping[Pair, Interval], now: datetime) -> None:
    """Give each item without an account plan the unmapped plan that fits; candidates that overlap → nobody's.

    A fit is on the same account and plan, and goes on or is of the item's own start. Several that follow one another
    are one contract after the other.
    Goes through ``spans`` in order: an older subscription claims first.
    """
    for pair, span in spans.items():
        wish = wishes[pair]
        if pair in stock.standing:
            continue
        fitting = sorted((f for f in stock.foreign if _fits(f, wish, span, now)), key=lambda f: (f.start, f.id))
        if any(overlap(_interval(one), _interval(two)) for one, two in pairwise(fitting)):
            ids = ", ".join(sorted(found.id for found in fitting))
            message = f"subscription {pair[0]}, {pair[1]}: account plans {ids} could all be its own"
            key = (*pair, "1")
            stock.ambiguous[pair] = Quarantined("account_plan", key, "MB-PLAN-AMBIGUOUS", message)
        elif fitting:
            stock.foreign = [found for found in stock.foreign if found not in fitting]
            numbered = enumerate(fitting, start=1)
            owner = wish.place.key[0]
            stock.standing[pair] = tuple(stock.claimed(one, pair, n, owner, wish.terms) for n, one in numbered)


def ended_before(stock: Stock, wish: Wish, now: datetime) -> datetime | None:
    """When the last account plan ended that somebody had attached by hand on the wish's product and account."""
    ends = (
        found.end
        for found in stock.foreign
        if not found.external_ids
        and (found.account_id, found.product_id) == (wish.place.account_id, wish.product_id)
        and found.end is not None
        and found.end <= now
    )
    return max(ends, default=None)


def _interval(found: FoundPlan) -> Interval:
    return Interval(found.start, found.end)


def _fits(found: FoundPlan, wish: Wish, span: Interval, now: datetime) -> bool:
    return (
        not found.external_ids
        and found.account_id == wish.place.account_id
        and found.plan_id == wish.plan_id
        and (found.end is None or found.end > now or found.start == span.start)
    )
