"""One subscription item: the steps between what stands and what is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from meterbridge.rules.intervals import ENDED, change_instant, instant_text, status_of
from meterbridge.rules.plan_policy import material_differs, terms_differ
from meterbridge.rules.plan_steps import (
    ItemView,
    Outcome,
    Standing,
    Step,
    Wish,
    adjusted,
    begun,
    cut,
    ended,
    in_place,
    replaced,
    why_ended,
)
from meterbridge.rules.records import Interval, KnownPlan, Quarantined


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
            steps += _cut_off(view, standing, end)
    return [*steps, *_living(view, view.wish, live)]


def _first(view: ItemView, wish: Wish) -> Iterator[Outcome]:
    start, end = view.span
    begin = max(start, view.not_later(view.joined) if view.joined else start)
    if end is None or begin < end or end <= start or status_of(view.subscription) == "deleted":
        yield from _created(view, wish, max(begin, view.after or begin), "is new")
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
    if _is_contract(view, plan) and plan.end is not None and (end is None or end > plan.end):
        yield from _created(view, wish, plan.end, "goes on after what was attached by hand")
        return
    movable = plan.start > view.policy.now and (end is None or _begin(view, plan) < end)
    if end is not None and end <= plan.start and not movable:
        yield from _cut_off(view, live, end)
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


def _is_contract(view: ItemView, plan: KnownPlan) -> bool:
    """True if somebody attached the account plan by hand, with an end still to come: it is kept to that end."""
    return plan.epoch.by_hand and plan.end is not None and plan.end > view.policy.now


def _begin(view: ItemView, plan: KnownPlan) -> datetime:
    """When the latest period should start: one that has not started follows the subscription, after those before it."""
    if plan.start <= view.policy.now or plan.start == view.span[0]:
        return plan.start
    earlier = [standing.plan.end for standing in view.standing[:-1] if standing.plan.end is not None]
    return max([view.span[0], *earlier])


def _moved(plan: KnownPlan, wish: Wish) -> bool:
    return plan.account_id != wish.place.account_id


def _same_place(plan: KnownPlan, wish: Wish) -> bool:
    return not _moved(plan, wish) and plan.product_id == wish.product_id


def _changed(view: ItemView, wish: Wish, live: Standing, at: datetime) -> Iterator[Outcome]:
    """New terms from ``at`` on."""
    end = view.span[1]
    plan = live.plan
    same = _same_place(plan, wish)
    what = "moved to another account" if _moved(plan, wish) else _what_changed(plan, wish)
    reason = f"subscription {view.subscription.id}, {view.item_price_id}: {what} at {instant_text(at)}"
    if same and plan.start < at:
        yield replaced(view, wish, live, Interval(at, end), key=view.next_key, reason=reason)
    elif same:
        yield in_place(view, wish, live, Interval(_begin(view, plan), end), reason)
    elif plan.start < at:
        ending = ended(view, live, at, reason)
        yield ending
        yield begun(view, wish, Interval(at, end), reason, after=(ending.ref,))
    else:
        gone = cut(view, live, plan.start, reason)
        yield gone
        if isinstance(gone, Step):
            yield begun(view, wish, Interval(_begin(view, plan), end), reason, after=(gone.ref,))


def _what_changed(plan: KnownPlan, wish: Wish) -> str:
    if not material_differs(plan.terms, wish.terms):
        return "the catalog maps another plan"
    return "quantity, price, period, currency or customer changed"


def _fitted(view: ItemView, wish: Wish, live: Standing) -> Iterator[Outcome]:
    """Same terms: only the ends may differ."""
    end = view.span[1]
    plan, now = live.plan, view.policy.now
    if plan.end is not None and plan.end <= now and (end is None or end > plan.end):
        yield from _resumed(view, wish, live)
        return
    begin = _begin(view, plan)
    if (begin, end) != (plan.start, plan.end):
        yield adjusted(view, live, Interval(begin, end))


def _resumed(view: ItemView, wish: Wish, live: Standing) -> Iterator[Outcome]:
    """The period has ended, but more is wanted: a new period, or an end that was never meant."""
    end = view.span[1]
    last = live.plan.end or view.policy.now
    status = status_of(view.subscription)
    again = _instant_after(view, last)
    if status in ENDED and live.plan.paused:
        return
    if status in ENDED or again is None:
        yield adjusted(view, live, Interval(live.plan.start, end))
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
    yield begun(view, wish, Interval(begin, end), reason)


def _removed(view: ItemView) -> Iterator[Outcome]:
    """No longer wanted: what stands beyond the change ends with it."""
    end = view.span[1]
    at = view.policy.now if view.unmapped else view.at
    at = at if end is None else min(at, end)
    reason = "is no longer in the catalog" if view.unmapped else "was removed"
    if status_of(view.subscription) in ENDED:
        reason = why_ended(view)
    for standing in view.standing:
        left = min(at, standing.plan.due or at)
        if standing.plan.end is None or standing.plan.end > left:
            yield cut(view, standing, left, reason)


def _cut_off(view: ItemView, standing: Standing, end: datetime) -> Iterator[Outcome]:
    """End an account plan with its subscription; one that began later than that at least goes on no more."""
    outcome = cut(view, standing, end, why_ended(view))
    yield outcome
    plan, now = standing.plan, view.policy.now
    goes_on = plan.start < now and (plan.end is None or plan.end > now)
    if isinstance(outcome, Quarantined) and goes_on and status_of(view.subscription) in ENDED:
        named = f"subscription {view.subscription.id}, {view.item_price_id}"
        yield ended(view, standing, now, f"{named} {why_ended(view)} since {instant_text(end)}")
