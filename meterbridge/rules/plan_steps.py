"""One subscription item: what stands, what is wanted, and the steps between the two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from meterbridge.rules.intervals import ENDED, change_instant, instant_text, status_of
from meterbridge.rules.keys import account_plan_code
from meterbridge.rules.plan_policy import PlanPolicy, material_differs, terms_differ
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
    under another key. ``after`` must be applied first. ``items`` as in
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
    that m3ter holds; ``unmapped`` items are on the subscription, not in the catalog.
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
    unmapped: bool = False
    begun: tuple[datetime, ...] = ()
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
        while account_plan_code(self.subscription.id, self.item_price_id, period) in self.codes:
            period += 1
        return (self.subscription.id, self.item_price_id, str(period))


def item_steps(view: ItemView) -> list[Outcome]:
    """The steps of one subscription item, those that end or shorten before those that start."""
    if view.wish is None:
        return list(_removed(view))
    end = view.span[1]
    if not view.standing:
        return list(_first(view, view.wish))
    *former, live = view.standing
    steps: list[Outcome] = []
    for standing in former:
        if end is not None and (standing.plan.end is None or standing.plan.end > end):
            steps.append(cut(view, standing, end, _why_ended(view)))
    return [*steps, *_living(view, view.wish, live)]


def _first(view: ItemView, wish: Wish) -> Iterator[Outcome]:
    start, end = view.span
    begin = max(start, view.not_later(view.joined) if view.joined else start)
    if end is None or begin < end or end <= start or status_of(view.subscription) == "deleted":
        yield from _created(view, wish, begin, "is new")
        return
    named = f"subscription {view.subscription.id}, {view.item_price_id}"
    message = f"{named} has no account plan, and when it joined the ended subscription is not known"
    version = view.subscription.resource_version
    yield Quarantined("account_plan", view.next_key, "MB-RECORD", message, source_version=version)


def _living(view: ItemView, wish: Wish, live: Standing) -> Iterator[Outcome]:
    """The latest period against what is wanted."""
    start, end = view.span
    plan = live.plan
    if plan.end is not None and plan.end <= start:
        yield from _created(view, wish, start, "is active again")
        return
    movable = plan.start > view.policy.now and (end is None or start < end)
    if end is not None and end <= plan.start and not movable:
        yield cut(view, live, end, _why_ended(view))
        return
    at = view.at if material_differs(plan.terms, wish.terms) or _moved(plan, wish) else view.policy.now
    at = view.not_later(at)
    if plan.due is not None and not _same_place(plan, wish):
        at = min(at, plan.due)
    changed = terms_differ(plan.terms, wish.terms) or _moved(plan, wish) or plan.plan_id != wish.plan_id
    if changed and (plan.end is None or plan.end > at) and (end is None or end > at):
        yield from _changed(view, wish, live, at)
    else:
        yield from _fitted(view, wish, live)


def _moved(plan: KnownPlan, wish: Wish) -> bool:
    return plan.account_id != wish.place.account_id


def _same_place(plan: KnownPlan, wish: Wish) -> bool:
    return not _moved(plan, wish) and plan.product_id == wish.product_id


def _changed(view: ItemView, wish: Wish, live: Standing, at: datetime) -> Iterator[Outcome]:
    """New terms from ``at`` on."""
    start, end = view.span
    plan = live.plan
    same = _same_place(plan, wish)
    what = "moved to another account" if _moved(plan, wish) else _what_changed(plan, wish)
    reason = f"subscription {view.subscription.id}, {view.item_price_id}: {what} at {instant_text(at)}"
    if same and plan.start < at:
        yield replaced(view, wish, live, Interval(at, end), key=view.next_key, reason=reason)
    elif same:
        begin = start if plan.start > view.policy.now else plan.start
        yield _in_place(view, wish, live, Interval(begin, end), reason)
    elif plan.start < at:
        ending = ended(view, live, at, reason)
        yield ending
        yield _new(view, wish, Interval(at, end), reason, after=(ending.ref,))
    else:
        gone = cut(view, live, plan.start, reason)
        yield gone
        if isinstance(gone, Step):
            yield _new(view, wish, Interval(start, end), reason, after=(gone.ref,))


def _what_changed(plan: KnownPlan, wish: Wish) -> str:
    if not material_differs(plan.terms, wish.terms):
        return "the catalog maps another plan"
    return "quantity, price, period, currency or customer changed"


def _fitted(view: ItemView, wish: Wish, live: Standing) -> Iterator[Outcome]:
    """Same terms: only the ends may differ."""
    start, end = view.span
    plan, now = live.plan, view.policy.now
    if plan.end is not None and plan.end <= now and (end is None or end > plan.end):
        yield from _resumed(view, wish, live)
        return
    begin = plan.start
    if plan.start > now and start != plan.start:
        earlier = [standing.plan.end for standing in view.standing[:-1] if standing.plan.end is not None]
        begin = max([start, *earlier])
    if (begin, end) != (plan.start, plan.end):
        yield _adjusted(view, live, Interval(begin, end))


def _resumed(view: ItemView, wish: Wish, live: Standing) -> Iterator[Outcome]:
    """The period has ended, but more is wanted: a new period, or an end that was never meant."""
    end = view.span[1]
    last = live.plan.end or view.policy.now
    status = status_of(view.subscription)
    again = _instant_after(view, last)
    if status in ENDED and live.plan.paused:
        return
    if status in ENDED or again is None:
        yield _adjusted(view, live, Interval(live.plan.start, end))
    elif end is None or again < end:
        yield from _created(view, wish, again, "is active again")


def _instant_after(view: ItemView, last: datetime) -> datetime | None:
    """When service began again after ``last``; None where no fact says that it stopped."""
    resumed = view.subscription.resume_date
    candidates = (
        view.due_start,
        view.changed_at,
        resumed if status_of(view.subscription) != "paused" else None,
        change_instant(view.subscription, None, view.policy.now),
    )
    return next((at for at in candidates if at is not None and last < at <= view.policy.now), None)


def _created(view: ItemView, wish: Wish, begin: datetime, what: str) -> Iterator[Outcome]:
    end = view.span[1]
    if end is not None and end <= begin:
        return
    if status_of(view.subscription) == "deleted":
        return
    reason = f"subscription {view.subscription.id}, {view.item_price_id}: {what}, from {instant_text(begin)}"
    yield _new(view, wish, Interval(begin, end), reason)


def _removed(view: ItemView) -> Iterator[Outcome]:
    """No longer wanted: what stands beyond the change ends with it."""
    end = view.span[1]
    at = view.policy.now if view.unmapped else view.at
    at = at if end is None else min(at, end)
    reason = "is no longer in the catalog" if view.unmapped else "was removed"
    if status_of(view.subscription) in ENDED:
        reason = _why_ended(view)
    for standing in view.standing:
        left = min(at, standing.plan.due or at)
        if standing.plan.end is None or standing.plan.end > left:
            yield cut(view, standing, left, reason)


def _why_ended(view: ItemView) -> str:
    return {"non_renewing": "will not renew", "paused": "is paused"}.get(
        status_of(view.subscription), f"is {status_of(view.subscription)}"
    )


# --- the single writes ------------------------------------------------------------------


def cut(view: ItemView, standing: Standing, end: datetime, why: str) -> Outcome:
    """End an account plan; one that would be empty is deleted, or set aside once it has started."""
    if standing.plan.start < end:
        return ended(view, standing, end, f"subscription {view.subscription.id}, {view.item_price_id} {why}")
    if standing.plan.start > view.policy.now:
        step = ended(
            view, standing, end, f"subscription {view.subscription.id}, {view.item_price_id} {why}, not started"
        )
        return replace(step, action="delete", interval=None)
    message = (
        f"account plan {standing.plan.account_plan_id} of subscription {view.subscription.id}, {view.item_price_id}, "
        f"started at {instant_text(standing.plan.start)}, but should end at {instant_text(end)}"
    )
    version = standing.plan.due_by if standing.plan.due == end else view.subscription.resource_version
    return Quarantined("account_plan", standing.key, "MB-PLAN-BILLED", message, source_version=version, due=end)


def ended(view: ItemView, standing: Standing, end: datetime, reason: str) -> Step:
    """The account plan ends at ``end``, all else stays."""
    return _touched(view, standing, Interval(standing.plan.start, end), reason)


def _adjusted(view: ItemView, standing: Standing, interval: Interval) -> Step:
    end = "open" if interval.end is None else f"to {instant_text(interval.end)}"
    why = _why_ended(view)
    reason = (
        f"subscription {view.subscription.id}, {view.item_price_id} {why}: from {instant_text(interval.start)}, {end}"
    )
    return _touched(view, standing, interval, reason)


def _touched(view: ItemView, standing: Standing, interval: Interval, reason: str) -> Step:
    plan = standing.plan
    return Step(
        action="update",
        key=standing.key,
        subscription=view.subscription,
        place=Place((plan.customer_id,), plan.account_id),
        plan_id=plan.plan_id,
        product_id=plan.product_id,
        interval=interval,
        terms=plan.terms,
        reason=reason,
        before=standing,
        items=plan.items,
    )


def _new(view: ItemView, wish: Wish, interval: Interval, reason: str, after: tuple[Ref, ...] = ()) -> Step:
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


def _in_place(view: ItemView, wish: Wish, standing: Standing, interval: Interval, reason: str) -> Step:
    return replace(_new(view, wish, interval, reason), action="update", key=standing.key, before=standing)


def replaced(view: ItemView, wish: Wish, old: Standing, interval: Interval, *, key: Key, reason: str) -> Step:
    """One call that ends ``old`` and starts ``key`` at the same instant."""
    warning = f"tiers and minimum spend start anew at {instant_text(interval.start)}"
    step = _new(view, wish, interval, reason)
    return replace(step, action="replace", key=key, before=old, warnings=(warning,))
