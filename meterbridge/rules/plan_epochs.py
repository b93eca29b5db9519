"""Account plans whose billing periods should follow their subscription's full terms: which to write, which are left."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime

from meterbridge.rules.bill_epochs import FullTerms, billing_epoch, full_terms
from meterbridge.rules.intervals import ENDED, status_of
from meterbridge.rules.plan_policy import PlanPolicy
from meterbridge.rules.plan_steps import Standing, Step, kept
from meterbridge.rules.plan_views import Wishes
from meterbridge.rules.records import Key, Subscription, Unchanged

BY_HAND = "attached by hand: keep their own billing periods until they are replaced"
UNCHANGED_BY_M3TER = "whose new billing epoch m3ter did not take: keep their billing periods until they are replaced"
OLDER = "written by an earlier version: keep their billing periods until their subscription changes, or --repair"


def set_epochs(
    steps: list[Step], settled: Collection[Key], wishes: Wishes, policy: PlanPolicy
) -> tuple[list[Step], list[Unchanged]]:
    """Give each step the billing epoch that it has to write, and add steps for account plans that lack nothing else.

    Args:
        steps: All that shall be written.
        settled: Account plans that something else was decided about, so that nothing is written to them.
        wishes: What stands, by subscription.
        policy: The settings, and the organisation's zone.

    Returns:
        The steps, and account plans out of step that are left so, with why.
    """
    changed = list(steps)
    left: list[Unchanged] = []
    for views in wishes.views:
        if not views:
            continue
        pairs = {(view.subscription.id, view.item_price_id) for view in views}
        own = [one for pair, plans in wishes.stock.standing.items() if pair in pairs for one in plans]
        one = _Epochs(views[0].subscription, tuple(own), policy)
        changed = [one.written(step) if step.subscription.id == one.subscription.id else step for step in changed]
        written = {step.before.key for step in changed if step.before is not None}
        for plan in own:
            if plan.key in written or plan.key in settled:
                continue
            why = one.fault(plan)
            if why == "":
                changed.append(one.correction(plan))
            elif why is not None:
                left.append(Unchanged("account_plan", plan.key, why))
    return changed, left


@dataclass(frozen=True, slots=True)
class _Epochs:
    """The billing epochs of one subscription's account plans."""

    subscription: Subscription
    standing: tuple[Standing, ...]
    policy: PlanPolicy

    def written(self, step: Step) -> Step:
        """The step with its epoch, where it makes an account plan or may correct one on the way."""
        if step.interval is None:
            return step
        if step.whole:
            return replace(step, epoch=self._epoch(step.interval.start))
        goes_on = step.interval.end is None or step.interval.end > self.policy.now
        return self._corrected(step) if goes_on else step

    def correction(self, one: Standing) -> Step:
        """The step for an account plan that lacks nothing but the epoch."""
        return self._corrected(kept(self.subscription, one, ""))

    def _corrected(self, step: Step) -> Step:
        before = step.before
        if before is None or self.fault(before) != "":
            return step
        epoch = self._epoch(before.plan.start)
        stands = before.plan.epoch.stands or "a day of the organisation"
        words = f"billing periods are counted from {epoch}, not from {stands}"
        reason = step.reason or f"subscription {step.key[0]}, {step.key[1]}: full terms begin on {epoch}"
        return replace(step, epoch=epoch, reason=reason, warnings=(*step.warnings, words))

    def _epoch(self, start: datetime) -> date:
        days = [one.plan.epoch.stands for one in self.standing if self._goes_on(one)]
        return billing_epoch(self._terms(start), [day for day in days if day is not None], exact=not self._has_begun)

    def fault(self, one: Standing) -> str | None:
        """None where the epoch is right, empty where it has to be corrected, else why it is left as it is."""
        epoch = one.plan.epoch
        if not epoch.seen or not self._goes_on(one) or status_of(self.subscription) in ENDED:
            return None
        if self._is_right(one, epoch.stands):
            return None
        if epoch.by_hand:
            return BY_HAND
        if self._is_right(one, epoch.asked):
            return UNCHANGED_BY_M3TER
        return OLDER if epoch.left is None and not self.policy.corrects_older else ""

    def _is_right(self, one: Standing, day: date | None) -> bool:
        terms = self._terms(one.plan.start)
        return day is not None and (terms.fit(day) if self._has_begun else day == terms.epoch)

    def _terms(self, start: datetime) -> FullTerms:
        return full_terms(self.subscription, self.policy.zone, start)

    @property
    def _has_begun(self) -> bool:
        """True if an account plan of the subscription has started, so that something of it may be billed."""
        return any(one.plan.start <= self.policy.now for one in self.standing)

    def _goes_on(self, one: Standing) -> bool:
        return one.plan.end is None or one.plan.end > self.policy.now
