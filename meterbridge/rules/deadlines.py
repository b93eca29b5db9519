"""When drafts close by themselves, what still has to go on them, and in which order it is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from meterbridge.rules.invoices import Demand, candidates
from meterbridge.rules.records import BillCase, Decision, Intent, Invoice, SubscriptionFacts

NEVER = datetime.max.replace(tzinfo=UTC)

BOOKED = ("charge", "charge_set")


@dataclass(frozen=True, slots=True)
class Deadline:
    """The draft that a portion is meant for, the first to close of those that could take it, and when it does."""

    bill_id: str
    subscription_id: str
    invoice_id: str
    closes_at: datetime


def closing(invoice: Invoice, subscription: SubscriptionFacts | None, days: int | None) -> datetime | None:
    """When the site closes a pending invoice by itself; None when a person does.

    The subscription's ``auto_close_invoices`` beats its customer's, which beats the
    site's rule; a consolidated invoice is its customer's.

    Args:
        subscription: The one whose portion the invoice is to take.
        days: The site's wait, None where drafts are closed by hand.
    """
    if days is None or invoice.status != "pending" or invoice.date is None:
        return None
    if subscription is not None:
        own = subscription.auto_close if invoice.subscription_id == subscription.id else None
        if (own if own is not None else subscription.customer_auto_close) is False:
            return None
    return invoice.date + timedelta(days=days)


def deadlines(case: BillCase, days: int | None) -> list[Deadline]:
    """The deadline of each subscription that the bill may concern, where one of its drafts closes by itself."""
    found = []
    for subscription in case.subscriptions.values():
        demand = Demand(subscription, case.bill.currency, None, timedelta(0), payers=case.payers)
        closings = [
            (at, one.id)
            for one in candidates(case.invoices, demand)
            if (at := closing(one, subscription, days)) is not None
        ]
        if closings:
            at, invoice_id = min(closings)
            found.append(Deadline(case.bill.id, subscription.id, invoice_id, at))
    return found


def by_risk(decisions: Sequence[Decision], closings: Mapping[str, datetime]) -> list[Decision]:
    """Put charges in the order in which they should leave: drafts that close soonest first, then the most money.

    What goes on one invoice stays together and in its order; everything else comes first, as it was.

    Args:
        closings: When each draft closes, by invoice id.
    """
    money: Counter[str] = Counter()
    for one in decisions:
        if isinstance(one, Intent) and one.kind in BOOKED:
            money[one.scope] += one.amount or 0

    def rank(one: Decision) -> tuple[bool, datetime, int, str]:
        if not (isinstance(one, Intent) and one.kind in BOOKED):
            return (False, NEVER, 0, "")
        at = closings.get(str(one.payload.get("invoice_id", "")), NEVER)
        return (True, at, -money[one.scope], one.scope)

    return sorted(decisions, key=rank)
