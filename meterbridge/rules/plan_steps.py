"""One subscription item: what stands, what is wanted, and the steps between the two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime

from meterbridge.rules.intervals import ENDED, change_instant, instant_text, status_of
from meterbridge.rules.keys import account_plan_code, coded
from meterbridge.rules.plan_policy import PlanPolicy
from meterbridge.rules.records import (
    Action,
    FoundPlan,
    Interval,
    Key,
    KnownPlan,
    PlanTarget,
    Quarantined,
    Ref,
    Subscription,
    SubscriptionItem,
)

Span = tuple[datetime, datetime | None]


@dataclass(frozen=True, slots=True)
class Place:
    """The account that an account plan belongs to; ``account_id`` None where it is still to be created."""

    key: Key
    account_id: str | None

    @property
    def ref(self) -> Ref | str:
        """The account's id, or the reference to the intent that brings it."""
        return self.account_id or Ref("account", self.key)


@dataclass(frozen=True, slots=True)
class Standing:
    """An account plan at m3ter; ``found`` is set while the ledger does not know it yet."""

    plan: KnownPlan
    found: FoundPlan | None = None

    @property
    def key(self) -> Key:
        """The account plan's natural key."""
        return (self.plan.subscription_id, self.plan.item_price_id, str(self.plan.period))

    @property
    def interval(self) -> Interval:
        """As it stands at m3ter."""
        return Interval(self.plan.start, self.plan.end)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a subscription item wants: its plan, on which account, under which terms."""

    item: SubscriptionItem
    target: PlanTarget
    plan_id: str
    product_id: str
    place: Place
    terms: str


@dataclass(frozen=True, slots=True)
class Step:
    """One account plan as it shall stand; ``interval`` None deletes it.

    ``before`` is the account plan written to: the one updated, deleted or
    adopted, for ``replace`` the one that ends. ``whole`` steps write every
    field, others the interval alone. ``renamed`` says that ``before`` goes on
    under another key. ``epoch`` is the billing epoch to write. ``after`` must be applied first. ``items`` as in
    :class:`~meterbridge.rules.records.KnownPlan`.
    """

    action: Action
    key: Key
    subscription: Subscription
    place: Place
    plan_id: str
    product_id: str
    interval: Interval | None
    terms: str
    reason: str
    before: Standing | None = None
    whole: bool = False
    items: tuple[str, ...] = ()
    renamed: bool = False
    after: tuple[Ref, ...] = ()
    warnings: tuple[str, ...] = ()
    epoch: date | None = None

    @property
    def paused(self) -> bool:
        """True if it is the subscription's pause that ends the account plan."""
        end = None if self.interval is None else self.interval.end
        before = self.before is not None and self.before.plan.paused and end == self.before.plan.end
        return before or (status_of(self.subscription) == "paused" and end == self.subscription.pause_date)

    @property
    def ref(self) -> Ref:
        """How others depend on this step."""
        return Ref("account_plan", self.key)


Outcome = Step | Quarantined


@dataclass(frozen=True, slots=True)
class ItemView:
    """All that decides one (subscription, item price).

    ``standing`` in order of start; ``span`` is the subscription's interval, its
    ends kept where it is empty; ``begun`` is when the subscription's account plans started;
    ``joined`` is when the item came to a subscription that stands at m3ter already, else None;
    ``due_start`` is when an account plan of it that is set aside should have started; ``codes`` are account plan codes
    that m3ter holds, ``prefix`` stands before ours; ``unmapped`` items are on the subscription, not in the catalog;
    ``after`` is when what somebody had attached by hand in its place ended.
    """

    subscription: Subscription
    item_price_id: str
    wish: Wish | None
    standing: tuple[Standing, ...]
    span: Span
    changed_at: datetime | None
    joined: datetime | None
    policy: PlanPolicy
    codes: frozenset[str] = frozenset()
    prefix: str = ""
    unmapped: bool = False
    begun: tuple[datetime, ...] = ()
    after: datetime | None = None
    due_start: datetime | None = None

    @property
    def at(self) -> datetime:
        """When the subscription's last change took effect."""
        return change_instant(self.subscription, self.changed_at, self.policy.now, begun=self.begun)

    def not_later(self, at: datetime) -> datetime:
        """An instant, or the earlier one at which the item should have gone on already."""
        return at if self.due_start is None else min(at, self.due_start)

    @property
    def next_key(self) -> Key:
        """The key of a further period, whose code m3ter does not hold."""
        period = max((standing.plan.period for standing in self.standing), default=0) + 1
        while coded(self.prefix, account_plan_code(self.subscription.id, self.item_price_id, period)) in self.codes:
            period += 1
        return (self.subscription.id, self.item_price_id, str(period))


# --- the single writes ------------------------------------------------------------------


def cut(view: ItemView, standing: Standing, end: datetime, why: str) -> Outcome:
    """End an account plan; one that would be empty is deleted, or set aside once it may have metered."""
    if standing.plan.start < end:
        return ended(view, standing, end, f"subscription {view.subscription.id}, {view.item_price_id} {why}")
    if standing.plan.unwritten or standing.plan.start > view.policy.now:
        step = ended(
            view, standing, end, f"subscription {view.subscription.id}, {view.item_price_id} {why}, not started"
        )
        return replace(step, action="delete", interval=None)
    message = (
        f"account plan {standing.plan.account_plan_id} of subscription {view.subscription.id}, {view.item_price_id}, "
        f"started at {instant_text(standing.plan.start)}, but should end at {instant_text(end)}"
    )
    last = standing.plan.end or view.policy.now
    if status_of(view.subscription) in ENDED and last > standing.plan.start:
        until = min(last, view.policy.now)
        message += f": what it metered from {instant_text(standing.plan.start)} to {instant_text(until)} is nobody's"
    version = standing.plan.due_by if standing.plan.due == end else view.subscription.resource_version
    return Quarantined("account_plan", standing.key, "MB-PLAN-BILLED", message, source_version=version, due=end)


def ended(view: ItemView, standing: Standing, end: datetime, reason: str) -> Step:
    """The account plan ends at ``end``, all else stays."""
    return _touched(view, standing, Interval(standing.plan.start, end), reason)


def adjusted(view: ItemView, standing: Standing, interval: Interval) -> Step:
    end = "open" if interval.end is None else f"to {instant_text(interval.end)}"
    why = why_ended(view)
    reason = (
        f"subscription {view.subscription.id}, {view.item_price_id} {why}: from {instant_text(interval.start)}, {end}"
    )
    return _touched(view, standing, interval, reason)


def _touched(view: ItemView, standing: Standing, interval: Interval, reason: str) -> Step:
    return replace(kept(view.subscription, standing, reason), interval=interval)


def kept(subscription: Subscription, standing: Standing, reason: str) -> Step:
    """The account plan as it stands, for a step that says only of one thing what it shall be."""
    plan = standing.plan
    return Step(
        action="update",
        key=standing.key,
        subscription=subscription,
        place=Place((plan.customer_id,), plan.account_id),
        plan_id=plan.plan_id,
        product_id=plan.product_id,
        interval=standing.interval,
        terms=plan.terms,
        reason=reason,
        before=standing,
        items=plan.items,
    )


def begun(view: ItemView, wish: Wish, interval: Interval, reason: str, after: tuple[Ref, ...] = ()) -> Step:
    return Step(
        action="create",
        key=view.next_key,
        subscription=view.subscription,
        place=wish.place,
        plan_id=wish.plan_id,
        product_id=wish.product_id,
        interval=interval,
        terms=wish.terms,
        reason=reason,
        whole=True,
        items=tuple(sorted(item.item_price_id for item in view.subscription.items)),
        after=after,
    )


def in_place(view: ItemView, wish: Wish, standing: Standing, interval: Interval, reason: str) -> Step:
    return replace(begun(view, wish, interval, reason), action="update", key=standing.key, before=standing)


def replaced(view: ItemView, wish: Wish, old: Standing, interval: Interval, *, key: Key, reason: str) -> Step:
    """One call that ends ``old`` and starts ``key`` at the same instant."""
    warning = f"tiers and minimum spend start anew at {instant_text(interval.start)}"
    step = begun(view, wish, interval, reason)
    return replace(step, action="replace", key=key, before=old, warnings=(warning,))


def why_ended(view: ItemView) -> str:
    return {"non_renewing": "will not renew", "paused": "is paused"}.get(
        status_of(view.subscription), f"is {status_of(view.subscription)}"
    )
