"""A customer's case → what each of its subscription items wants and has, or why it cannot be placed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from meterbridge.errors import RecordRefused
from meterbridge.rules.accounts import account_currency, age, child_code, child_key
from meterbridge.rules.intervals import change_instant, desired_interval, desired_span, status_of
from meterbridge.rules.keys import external_id
from meterbridge.rules.plan_found import Pair, Stock, claim_mapped, claim_unmapped, ended_before, known_stock
from meterbridge.rules.plan_policy import PlanPolicy, plan_terms
from meterbridge.rules.plan_shared import share
from meterbridge.rules.plan_steps import ItemView, Outcome, Place, Span, Standing, Wish, cut
from meterbridge.rules.records import (
    CustomerCase,
    Decision,
    Interval,
    OutOfScope,
    PlanTarget,
    Quarantined,
    Subscription,
    SubscriptionItem,
    Unchanged,
)


@dataclass(slots=True)
class Wishes:
    """A customer's items once they are sorted: views by subscription in order of age, and verdicts on the others.

    ``led`` items stand in the account plan of another one.
    """

    stock: Stock
    views: list[list[ItemView]] = field(default_factory=list)
    verdicts: list[Decision] = field(default_factory=list)
    steps: list[Outcome] = field(default_factory=list)
    judged: set[Pair] = field(default_factory=set)
    led: dict[Pair, Pair] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sorter:
    """Makes :class:`Wishes` of one case; ``account_id`` None while the account is to be created."""

    case: CustomerCase
    policy: PlanPolicy
    account_id: str | None

    def sort(self) -> Wishes:
        """Sort every item of every subscription of this run."""
        stock = known_stock(self.case)
        claim_mapped(stock, self.case)
        sorted_ = Wishes(stock)
        placed, sorted_.led = share(dict(self._wished(sorted_)), stock)
        sorted_.judged |= sorted_.led.keys()
        sorted_.verdicts += [Unchanged("account_plan", (*pair, "1")) for pair in sorted_.led]
        wishes = {pair: wish for pair, (_, wish) in placed.items()}
        claim_unmapped(stock, wishes, dict(self._spans(placed, stock)), self.policy.now)
        for pair, verdict in stock.ambiguous.items():
            sorted_.verdicts.append(verdict)
            sorted_.judged.add(pair)
        for subscription in sorted(self.case.subscriptions, key=age):
            self._view(sorted_, subscription, wishes)
        return sorted_

    def _wished(self, sorted_: Wishes) -> Iterator[tuple[Pair, tuple[Subscription, Wish]]]:
        """Items with a usable target; all others get their verdict here."""
        clashing = self._clashing(sorted_.stock)
        for subscription in sorted(self.case.subscriptions, key=age):
            for item in {item.item_price_id: item for item in subscription.items}.values():
                pair = (subscription.id, item.item_price_id)
                target = self.case.targets.get(item.item_price_id)
                if target is None:
                    reason = f"item price {item.item_price_id} is not in the catalog"
                    sorted_.verdicts.append(OutOfScope("account_plan", (*pair, "1"), reason))
                    continue
                wish = self._wish(subscription, item, target, sorted_.stock.standing.get(pair, ()))
                if pair in clashing and isinstance(wish, Wish):
                    text = external_id(*pair)
                    wish = (f"subscription {pair[0]}, {pair[1]}: another item makes {text!r} too", "MB-ID-CLASH")
                if isinstance(wish, Wish):
                    yield pair, (subscription, wish)
                else:
                    self._block(sorted_, subscription, pair, *wish)

    def _clashing(self, stock: Stock) -> set[Pair]:
        """Pairs with another pair's external id, but for those that stand at m3ter already."""
        pairs = {(s.id, item.item_price_id) for s in self.case.subscriptions for item in s.items}
        mapped = {pair for pair in pairs if pair[1] in self.case.targets} | set(stock.standing)
        texts = Counter(external_id(*pair) for pair in mapped)
        return {pair for pair in mapped if texts[external_id(*pair)] > 1 and pair not in stock.standing}

    def _wish(
        self, subscription: Subscription, item: SubscriptionItem, target: PlanTarget, standing: tuple[Standing, ...]
    ) -> Wish | tuple[str, str]:
        """The item's wish, or message and code of what forbids it."""
        named = f"subscription {subscription.id}, {item.item_price_id}"
        if target.plan_id is None or target.product_id is None:
            return f"{named}: m3ter has no plan {target.plan_code!r}", "MB-PLAN-UNKNOWN"
        if target.currency is not None and target.currency != subscription.currency:
            message = f"{named} is in {subscription.currency}, plan {target.plan_code!r} in {target.currency}"
            return message, "MB-PLAN-CURRENCY"
        place = self._place(subscription, standing)
        if place is None:
            message = f"{named} is in {subscription.currency}, the customer's account in {account_currency(self.case)}"
            return message, "MB-ACCOUNT-CURRENCY"
        terms = plan_terms(subscription, item, target, self.policy)
        return Wish(item, target, target.plan_id, target.product_id, place, terms)

    def _place(self, subscription: Subscription, standing: tuple[Standing, ...]) -> Place | None:
        child = self.child_place(subscription)
        if standing and child.account_id is not None and standing[-1].plan.account_id == child.account_id:
            return child
        if account_currency(self.case) not in (None, subscription.currency):
            return child if self.policy.on_product_overlap == "child_account" else None
        return Place((self.case.customer.id,), self.account_id)

    def child_place(self, subscription: Subscription) -> Place:
        """The account under the customer's that holds this subscription, or would."""
        key = child_key(self.case.customer.id, subscription.id)
        known = (child.account_id for child in self.case.known_children if child.customer_id == key[0])
        found = (
            account.id for account in self.case.found_accounts if account.code == child_code(key, self.case.prefix)
        )
        return Place(key, next(known, None) or next(found, None))

    def _block(self, sorted_: Wishes, subscription: Subscription, pair: Pair, message: str, code: str) -> None:
        """Set an item aside; an account plan of it that must end still ends, and is fine once it has its end."""
        sorted_.judged.add(pair)
        standing = sorted_.stock.standing.get(pair, ())
        key = (*pair, str(standing[-1].plan.period if standing else 1))
        try:
            span = self._span(subscription, standing)
        except RecordRefused:
            span = None
        end = None if span is None else span[1]
        if span is not None and not standing and (subscription.deleted or (end is not None and end <= span[0])):
            reason = f"subscription {subscription.id} has no time to meter"
            sorted_.verdicts.append(OutOfScope("account_plan", key, reason))
            return
        if span is not None and end is not None and standing:
            view = ItemView(subscription, pair[1], None, standing, span, None, None, self.policy)
            late = [one for one in standing if one.plan.end is None or one.plan.end > end]
            if late and not (span[0] < end <= late[-1].plan.start):
                sorted_.steps += [cut(view, one, end, f"is {status_of(subscription)}") for one in late]
                return
            if standing[-1].plan.end == end:
                sorted_.verdicts.append(Unchanged("account_plan", key))
                return
        version = subscription.resource_version
        sorted_.verdicts.append(Quarantined("account_plan", key, code, message, source_version=version))

    def _span(self, subscription: Subscription, standing: tuple[Standing, ...]) -> Span:
        known_end = standing[-1].plan.end if standing else None
        return desired_span(subscription, trial=self.policy.trial, known_end=known_end)

    def _spans(self, wishes: dict[Pair, tuple[Subscription, Wish]], stock: Stock) -> Iterator[tuple[Pair, Interval]]:
        """The intervals of items that have no account plan yet."""
        for pair, (subscription, _) in wishes.items():
            if pair in stock.standing:
                continue
            try:
                interval = desired_interval(subscription, trial=self.policy.trial)
            except RecordRefused:
                continue
            if interval is not None and not subscription.deleted:
                yield pair, interval

    def _view(self, sorted_: Wishes, subscription: Subscription, wishes: dict[Pair, Wish]) -> None:
        standing = sorted_.stock.standing
        pairs = [pair for pair in wishes if pair[0] == subscription.id]
        gone = [pair for pair in standing if pair[0] == subscription.id and pair not in pairs]
        views = []
        begun = tuple(one.plan.start for pair in standing if pair[0] == subscription.id for one in standing[pair])
        for pair in [*pairs, *gone]:
            if pair in sorted_.judged:
                continue
            sorted_.judged.add(pair)
            own = standing.get(pair, ())
            try:
                span = self._span(subscription, own)
            except RecordRefused as refusal:
                key = (*pair, str(own[-1].plan.period if own else 1))
                version = subscription.resource_version
                sorted_.verdicts.append(
                    Quarantined("account_plan", key, refusal.code, refusal.message, source_version=version)
                )
                continue
            views.append(
                ItemView(
                    subscription=subscription,
                    item_price_id=pair[1],
                    wish=wishes.get(pair),
                    standing=_with_terms(own, wishes.get(pair)),
                    span=span,
                    changed_at=self.case.changed_at.get(subscription.id),
                    joined=self._joined(subscription, pair, standing, span),
                    policy=self.policy,
                    codes=frozenset(found.code for found in self.case.found_plans if found.code),
                    prefix=self.case.prefix,
                    unmapped=pair[1] in {item.item_price_id for item in subscription.items},
                    begun=begun,
                    after=ended_before(sorted_.stock, wishes[pair], self.policy.now) if pair in wishes else None,
                    due_start=self.case.due_starts.get(pair),
                )
            )
        sorted_.views.append(views)

    def _joined(
        self, subscription: Subscription, pair: Pair, standing: dict[Pair, tuple[Standing, ...]], span: Span
    ) -> datetime | None:
        """When an item came to a subscription that has account plans in its present life; None where none runs.

        An item that was there when one of them was written joined with it at the
        latest; any other came with the last change.
        """
        plans = [one.plan for other, own in standing.items() if other[0] == subscription.id for one in own]
        now = self.policy.now
        present = [plan for plan in plans if plan.start <= now and (plan.end is None or plan.end > span[0])]
        beside = [plan.start for plan in present if pair[1] in plan.items]
        if not present:
            return None
        changed_at = self.case.changed_at.get(subscription.id)
        begun = [plan.start for plan in plans]
        return min(beside, default=change_instant(subscription, changed_at, now, begun=begun))


def _with_terms(standing: tuple[Standing, ...], wish: Wish | None) -> tuple[Standing, ...]:
    """An adopted account plan on the right plan is taken to have the present terms: m3ter does not keep them."""
    if wish is None or not standing or standing[-1].found is None or standing[-1].plan.plan_id != wish.plan_id:
        return standing
    live = standing[-1]
    return (*standing[:-1], replace(live, plan=replace(live.plan, terms=wish.terms)))
