"""Which pending invoice takes a portion of a bill, and what happens when there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from meterbridge.rules.records import Invoice, SubscriptionFacts

LIVING = frozenset({"future", "in_trial", "active", "non_renewing", "paused"})
"""Subscription states after which another invoice may come."""

DELETED = "deleted"
"""What the status of a deleted subscription is read as."""

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a portion asks of an invoice.

    ``due`` is the latest arrears service end, ``tolerance`` how much earlier
    the invoice may be dated. ``standing_on`` are the invoices that carry lines
    of this portion already. ``payers`` are the customers whose invoices may take it;
    empty means the subscription's own customer and whoever is invoiced in its place.
    """

    subscription: SubscriptionFacts
    currency: str
    due: datetime | None
    tolerance: timedelta
    standing_on: frozenset[str] = frozenset()
    payers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The pending invoice; ``late`` when none is dated at or after the service end."""

    invoice: Invoice
    late: bool = False


@dataclass(frozen=True, slots=True)
class NoInvoice:
    """No pending invoice could take the portion."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several pending invoices fit equally."""

    invoices: tuple[Invoice, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect without an invoice: one will come (``until``), or none will and why."""

    waits: bool
    reason: str
    until: datetime | None = None


def tolerance(longest_service: timedelta, hours: float) -> timedelta:
    """The configured tolerance, at most half the service period: else a daily bill fits yesterday's invoice."""
    return min(timedelta(hours=hours), longest_service / 2)


def choose_invoice(invoices: Sequence[Invoice], demand: Demand) -> Chosen | NoInvoice | Ambiguous:
    """Pick the pending invoice for a portion.

    An invoice that carries lines of the portion already goes first; else the
    earliest dated at or after the service end (less the tolerance), else the
    newest: a late bill still goes on the open draft. Among invoices of one
    instant, the subscription's own, then one with a line of it, decides.
    """
    able = candidates(invoices, demand)
    if not able:
        return NoInvoice()
    begun = [one for one in able if one.id in demand.standing_on]
    earliest = demand.due - demand.tolerance if demand.due else NEVER
    fitting = [one for one in able if _dated(one) >= earliest]
    late = not fitting
    pool = begun or fitting or able
    wanted = _dated(pool[-1] if late else pool[0])
    rivals = [one for one in pool if _dated(one) == wanted]
    nearest = max(_nearness(one, demand.subscription.id) for one in rivals)
    rivals = [one for one in rivals if _nearness(one, demand.subscription.id) == nearest]
    return Chosen(rivals[0], late) if len(rivals) == 1 else Ambiguous(tuple(rivals))


def candidates(invoices: Sequence[Invoice], demand: Demand) -> list[Invoice]:
    """The pending invoices that could take the portion, the earliest first."""
    return sorted((one for one in invoices if _takes(one, demand)), key=lambda one: (_dated(one), one.id))


def _takes(invoice: Invoice, demand: Demand) -> bool:
    ours = demand.subscription
    # Chargebee answers 404 to a charge that names a deleted subscription, whatever its drafts.
    if ours.status == DELETED:
        return False
    if invoice.status != "pending" or invoice.currency != demand.currency:
        return False
    if invoice.customer_id not in (demand.payers or payers_of(ours)):
        return False
    if ours.business_entity_id and invoice.business_entity_id not in (None, ours.business_entity_id):
        return False
    if invoice.subscription_id is not None:
        return invoice.subscription_id == ours.id
    return ours.consolidated or _nearness(invoice, ours.id) > 0


def payers_of(subscription: SubscriptionFacts) -> frozenset[str]:
    """The subscription's customer, and whoever is invoiced in its place."""
    return frozenset(filter(None, (subscription.customer_id, subscription.invoice_owner_id)))


def _nearness(invoice: Invoice, subscription_id: str) -> int:
    if invoice.subscription_id == subscription_id:
        return 2
    return int(any(line.subscription_id == subscription_id for line in invoice.lines))


def _dated(invoice: Invoice) -> datetime:
    return invoice.date or NEVER


def outlook(
    subscription: SubscriptionFacts, now: datetime, *, max_wait_days: int, waiting_since: datetime | None
) -> Outlook:
    """Tell if a pending invoice is to be expected for a subscription, and when.

    The portion waits while the subscription lives and its next billing is near;
    a non-renewing subscription's last invoice comes at its term end.
    """
    longest = timedelta(days=max_wait_days)
    if subscription.status not in LIVING:
        return Outlook(False, f"subscription {subscription.id} is {subscription.status}: no further invoice will come")
    following = subscription.next_billing_at
    if following is None and subscription.status == "non_renewing":
        following = subscription.current_term_end
    if following is None:
        return Outlook(False, f"subscription {subscription.id} ({subscription.status}) has no next billing date")
    if following - now > longest:
        why = f"subscription {subscription.id} bills next on {following:%Y-%m-%d}, more than {max_wait_days} days away"
        return Outlook(False, why, following)
    first = min(following, waiting_since or following)
    if now - first > longest:
        why = f"no pending invoice of subscription {subscription.id} came in {max_wait_days} days"
        return Outlook(False, why, following)
    return Outlook(True, f"until subscription {subscription.id} is billed on {following:%Y-%m-%d}", following)


def price_type_of(bill_amounts: Literal["net", "gross"]) -> str:
    """The invoice price type that bills with or without tax fit."""
    return "tax_exclusive" if bill_amounts == "net" else "tax_inclusive"
