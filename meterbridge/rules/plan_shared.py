"""Several item prices of one subscription on one m3ter plan: they have one account plan.

The account plan is that of one of them, and stands from when the first of them came to when the last of them leaves:
its interval is the union of theirs. It is mapped to each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from meterbridge.rules.plan_found import Pair, Stock
from meterbridge.rules.plan_steps import Standing, Wish
from meterbridge.rules.records import Subscription

Placed = dict[Pair, tuple[Subscription, Wish]]


def share(placed: Placed, stock: Stock) -> tuple[Placed, dict[Pair, Pair]]:
    """Leave one wish for each m3ter plan of a subscription.

    The one whose account plan goes on keeps it, also after its own item has left, as long as one stays that was beside
    it then; else the first in the order of the subscription's items leads.

    Returns:
        The wishes that are left, and for each other one that stands in the same account plan the pair that leads it.
    """
    groups: dict[tuple[str, str, str | None], list[Pair]] = defaultdict(list)
    for pair, (_, wish) in placed.items():
        groups[pair[0], wish.plan_id, wish.place.account_id].append(pair)
    left, led = dict(placed), {}
    for (_, plan_id, _), pairs in groups.items():
        leader = _leader(pairs, plan_id, placed, stock.standing)
        if leader not in placed:
            subscription, wish = placed[pairs[0]]
            live = stock.standing[leader][-1].plan
            left[leader] = (subscription, replace(wish, terms=live.terms))
        for pair in pairs:
            if pair != leader and not _stands_alone(pair, stock.standing):
                del left[pair]
                led[pair] = leader
    return left, led


def _leader(pairs: list[Pair], plan_id: str, placed: Placed, standing: Mapping[Pair, tuple[Standing, ...]]) -> Pair:
    for pair in pairs:
        if _stands_alone(pair, standing) and standing[pair][-1].plan.plan_id == plan_id:
            return pair
    if standing.keys() & set(pairs):
        return pairs[0]
    prices = {pair[1] for pair in pairs}
    for pair, plans in standing.items():
        live = plans[-1].plan
        gone = pair not in placed and pair[0] == pairs[0][0] and live.plan_id == plan_id and live.end is None
        if gone and prices & set(live.items):
            return pair
    return pairs[0]


def _stands_alone(pair: Pair, standing: Mapping[Pair, tuple[Standing, ...]]) -> bool:
    """True if an item has an account plan of its own that goes on."""
    return pair in standing and standing[pair][-1].plan.end is None
