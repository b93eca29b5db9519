"""One active account plan per product and account: who stands in whose way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from meterbridge.rules.intervals import instant_text, overlap
from meterbridge.rules.plan_steps import Place, Standing, Step
from meterbridge.rules.records import FoundPlan, Interval, Quarantined, Ref

ATTACHED_BY_HAND = (
    "; it was attached by hand: end it where ours shall begin or, if it is the catalog's plan, take its end away, "
    "so that it is adopted"
)


@dataclass(frozen=True, slots=True)
class Occupant:
    """An account plan that stands or will: ``freed_by`` shortens it from ``before`` to ``interval``."""

    id: str | Ref
    name: str
    account: str
    product_id: str
    interval: Interval | None
    before: Interval | None = None
    freed_by: Ref | None = None
    advice: str = ""


@dataclass(slots=True)
class Occupancy:
    """All intervals of a customer's accounts, kept free of overlap."""

    occupants: list[Occupant] = field(default_factory=list)

    def stand(self, standing: Iterable[Standing], foreign: Iterable[FoundPlan]) -> None:
        """Enter what stands at m3ter."""
        for one in standing:
            plan = one.plan
            name = f"subscription {plan.subscription_id}, {plan.item_price_id}"
            self._enter(Occupant(plan.account_plan_id, name, plan.account_id, plan.product_id, one.interval))
        for found in foreign:
            interval = Interval(found.start, found.end)
            name = f"account plan {found.id}, which no subscription item claims,"
            occupant = Occupant(found.id, name, found.account_id, found.product_id, interval)
            self._enter(replace(occupant, advice="" if found.external_ids else ATTACHED_BY_HAND))

    def free(self, step: Step) -> None:
        """Enter what a step leaves of the account plan it shortens, ends, replaces or deletes."""
        before = step.before
        if before is None:
            return
        left = _left(step, before)
        if left is not None and not _within(left, before.interval):
            return
        for index, occupant in enumerate(self.occupants):
            if occupant.id == before.plan.account_plan_id:
                self.occupants[index] = replace(occupant, interval=left, before=before.interval, freed_by=step.ref)
        if step.action == "replace" and not grows(step):
            self._enter(self._occupant(step))

    def rival(self, step: Step) -> Occupant | None:
        """Who stands where the step wants to, on its product and account."""
        if step.interval is None:
            return None
        for occupant in self._others(step):
            if occupant.interval is not None and overlap(occupant.interval, step.interval):
                return occupant
        return None

    def take(self, step: Step) -> Step:
        """Enter the step's interval; returns it made to wait for those that free its room."""
        if step.interval is None:
            return step
        freed = {
            occupant.freed_by
            for occupant in self._others(step)
            if occupant.freed_by is not None
            and occupant.freed_by != step.ref
            and occupant.before is not None
            and overlap(occupant.before, step.interval)
        }
        if step.before is not None and step.action != "replace":
            self.occupants = [one for one in self.occupants if one.id != step.before.plan.account_plan_id]
        self._enter(self._occupant(step))
        after = tuple(dict.fromkeys([*step.after, *sorted(freed, key=lambda ref: ref.key)]))
        return replace(step, after=after)

    def _others(self, step: Step) -> list[Occupant]:
        own = {step.ref, step.before.plan.account_plan_id if step.before is not None else None}
        account = _account(step.place)
        return [
            one
            for one in self.occupants
            if one.id not in own and one.account == account and one.product_id == step.product_id
        ]

    def _occupant(self, step: Step) -> Occupant:
        name = f"subscription {step.key[0]}, {step.key[1]}"
        return Occupant(step.ref, name, _account(step.place), step.product_id, step.interval)

    def _enter(self, occupant: Occupant) -> None:
        self.occupants.append(occupant)


def _left(step: Step, before: Standing) -> Interval | None:
    if step.action == "replace" and step.interval is not None:
        return Interval(before.plan.start, step.interval.start)
    return step.interval


def _account(place: Place) -> str:
    return place.account_id or "~".join(place.key)


def grows(step: Step) -> bool:
    """True if the step takes room that its account plan does not hold already."""
    if step.interval is None:
        return False
    if step.before is None or step.before.plan.product_id != step.product_id:
        return True
    return not _within(step.interval, step.before.interval)


def _within(inner: Interval, outer: Interval) -> bool:
    return inner.start >= outer.start and (outer.end is None or (inner.end is not None and inner.end <= outer.end))


def refused(step: Step, rival: Occupant) -> Quarantined:
    """The later one is set aside, the other named."""
    interval = step.interval
    when = instant_text(interval.start) if interval is not None else ""
    message = (
        f"subscription {step.key[0]}, {step.key[1]} from {when} would overlap {rival.name} "
        f"on product {step.product_id} of one account{rival.advice}"
    )
    version = step.subscription.resource_version
    return Quarantined("account_plan", step.key, "MB-PLAN-OVERLAP", message, source_version=version)
