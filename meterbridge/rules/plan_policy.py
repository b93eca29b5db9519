"""The settings that the account plan rules obey, and what counts as a change of terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from meterbridge.rules.accounts import Hierarchy
from meterbridge.rules.intervals import Trial
from meterbridge.rules.keys import fingerprint
from meterbridge.rules.records import KnownPlan, PlanTarget, Subscription, SubscriptionItem

ReplaceOn = Literal["mapped_plan", "material", "any_change"]

JUST_NOW = timedelta(seconds=5)
"""An end so little ahead is another run's present: clocks follow a header of whole seconds, the next may be behind."""


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """How subscription items become account plans; the settings of the same names, and the run's clock (UTC).

    ``zone`` is the organisation's. ``corrects_older``: billing epochs that an earlier version wrote are corrected, too.
    """

    trial: Trial
    replace_on: ReplaceOn
    on_product_overlap: Literal["quarantine", "child_account"]
    allow_overlapping_plans: bool
    hierarchy: Hierarchy
    now: datetime
    zone: tzinfo = UTC
    corrects_older: bool = True

    def not_before(self, plans: Iterable[KnownPlan]) -> PlanPolicy:
        """Return the same with its clock moved to an end that another run wrote as its own present a moment ago."""
        ends = (plan.end for plan in plans if plan.end is not None)
        return replace(self, now=max([self.now, *(end for end in ends if end < self.now + JUST_NOW)]))

    @property
    def child_billing_mode(self) -> str:
        """m3ter's childBillingMode, always sent: its default may move a child's bill to its parent."""
        return "CHILD" if self.hierarchy == "all_with_child_billing" else "PARENT_BREAKDOWN"


def plan_terms(subscription: Subscription, item: SubscriptionItem, target: PlanTarget, policy: PlanPolicy) -> str:
    """What a change is measured against: ``plan``, ``plan/material`` or ``plan/material/version`` by ``replace_on``.

    The parts stay readable so that another ``replace_on`` compares what both
    texts hold instead of replacing every account plan.
    """
    parts = [target.plan_id or target.plan_code]
    replace_on = target.replace_on or policy.replace_on
    if replace_on != "mapped_plan":
        material = [
            item.item_price_id,
            item.quantity,
            item.unit_price,
            item.terms,
            subscription.billing_period,
            subscription.billing_period_unit,
            subscription.currency,
            subscription.customer_id,
        ]
        parts.append(fingerprint(material)[:16])
    if replace_on == "any_change":
        parts.append(str(subscription.resource_version))
    return "/".join(parts)


def terms_differ(known: str, wanted: str) -> bool:
    """True if two terms differ in a part that both have."""
    return any(one != other for one, other in zip(known.split("/"), wanted.split("/"), strict=False))


def material_differs(known: str, wanted: str) -> bool:
    """True if the subscription itself changed, not only what the catalog maps it to."""
    return any(one != other for one, other in zip(known.split("/")[1:], wanted.split("/")[1:], strict=False))
