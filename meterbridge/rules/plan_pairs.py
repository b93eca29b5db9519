"""An item that left a subscription and one that came in its place: one change, not an end and a start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from meterbridge.rules.intervals import instant_text
from meterbridge.rules.plan_items import item_steps
from meterbridge.rules.plan_steps import ItemView, Outcome, Standing, Step, Wish, replaced
from meterbridge.rules.records import Interval


def subscription_steps(views: Sequence[ItemView]) -> list[Outcome]:
    """The steps of one subscription's items; swapped items of one product and account become one step."""
    leaving = [(view, live) for view in views if (live := _leaving(view)) is not None]
    outcomes: list[Outcome] = []
    settled: set[str] = set()
    for view in views:
        if view.wish is None:
            continue
        for outcome in item_steps(view):
            swap = _swap(outcome, view, leaving, settled)
            if swap is None:
                outcomes.append(outcome)
                continue
            settled.add(swap[1].plan.account_plan_id)
            outcomes.append(_swapped(view, view.wish, *swap))
    for view in views:
        if view.wish is None:
            outcomes += [outcome for outcome in item_steps(view) if not _is_settled(outcome, view, settled)]
    return outcomes


def _leaving(view: ItemView) -> Standing | None:
    """The period that ends because its item is gone, not because the subscription is."""
    if view.wish is not None or view.unmapped or not view.standing:
        return None
    live, end = view.standing[-1], view.span[1]
    if live.plan.due is not None and live.plan.due <= view.at:
        return None  # it left before, and could not be ended then
    goes_on = live.plan.end is None or live.plan.end > view.at
    return live if goes_on and (end is None or end > view.at) else None


def _swap(
    outcome: Outcome, coming: ItemView, leaving: Sequence[tuple[ItemView, Standing]], settled: set[str]
) -> tuple[Step, Standing] | None:
    wish = coming.wish
    if wish is None or not isinstance(outcome, Step) or outcome.action != "create" or outcome.interval is None:
        return None
    for view, live in leaving:
        plan = live.plan
        same = plan.account_id == wish.place.account_id and plan.product_id == wish.product_id
        starts_in_time = outcome.interval.start in (view.at, coming.due_start)
        not_pending = plan.start < outcome.interval.start or plan.start <= view.policy.now
        over_before = outcome.interval.end is not None and outcome.interval.end <= plan.start
        if same and starts_in_time and not_pending and not over_before and plan.account_plan_id not in settled:
            return outcome, live
    return None


def _swapped(view: ItemView, wish: Wish, step: Step, old: Standing) -> Step:
    """Replace the leaving account plan, or write over it where nothing of it would be left."""
    interval = step.interval
    assert interval is not None
    names = f"{old.plan.item_price_id} became {view.item_price_id}"
    reason = f"subscription {view.subscription.id}: {names} at {instant_text(interval.start)}"
    if old.plan.start < interval.start:
        return replaced(view, wish, old, interval, key=step.key, reason=reason)
    kept = Interval(old.plan.start, interval.end)
    return replace(step, action="update", interval=kept, before=old, renamed=True, reason=reason)


def _is_settled(outcome: Outcome, view: ItemView, settled: set[str]) -> bool:
    return any(one.key == outcome.key and one.plan.account_plan_id in settled for one in view.standing)
