"""When drafts close by themselves, what still has to go on them, and in which order it is sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from meterbridge.rules.bill_lines import in_arrears, service_period
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.invoices import Ambiguous, Chosen, Demand, candidates, choose_invoice, tolerance
from meterbridge.rules.placing import place_lines
from meterbridge.rules.records import BillCase, BillLine, Decision, Intent, Invoice, SubscriptionFacts
from meterbridge.rules.standing import take_stock

NEVER = datetime.max.replace(tzinfo=UTC)

BOOKED = ("charge", "charge_set")


@dataclass(frozen=True, slots=True)
class Deadline:
    """The draft that a portion goes on, the first to close of those it could go on equally, and when it does."""

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


def deadlines(case: BillCase, policy: BillPolicy) -> list[Deadline]:
    """The deadline of each subscription that the bill may concern, whose draft closes by itself.

    Known whether the bill can be charged or not: who set it aside must learn until when to decide.
    """
    if policy.auto_close_days is None:
        return []
    found = []
    lines = _lines(case, policy)
    for subscription in case.subscriptions.values():
        closings = [
            (at, one.id)
            for one in _takers(case, policy, subscription, lines.get(subscription.id, case.bill.lines))
            if (at := closing(one, subscription, policy.auto_close_days)) is not None
        ]
        if closings:
            at, invoice_id = min(closings)
            found.append(Deadline(case.bill.id, subscription.id, invoice_id, at))
    return found


def _lines(case: BillCase, policy: BillPolicy) -> Mapping[str, Sequence[BillLine]]:
    """The bill's lines by subscription, as far as they can be placed; not asked for where no draft has a rival."""
    able = (candidates(case.invoices, _anything(case, one)) for one in case.subscriptions.values())
    found: dict[str, list[BillLine]] = defaultdict(list)
    if any(len(drafts) > 1 for drafts in able):
        # Shares of a line of the bill change no date, so the decimals do not matter.
        for placed in place_lines(case, policy, 2)[0]:
            found[placed.subscription_id].append(placed.line)
    return found


def _anything(case: BillCase, subscription: SubscriptionFacts) -> Demand:
    return Demand(subscription, case.bill.currency, None, timedelta(0), payers=case.payers)


def _takers(
    case: BillCase, policy: BillPolicy, subscription: SubscriptionFacts, lines: Sequence[BillLine]
) -> Sequence[Invoice]:
    """The draft that a portion of these lines goes on; several where nothing decides between them."""
    due, longest = _due(case, lines)
    standing_on = take_stock(case, subscription.id).invoices
    enough = tolerance(longest, policy.term_tolerance_hours)
    demand = Demand(subscription, case.bill.currency, due, enough, standing_on, case.payers)
    match choose_invoice(case.invoices, demand):
        case Chosen(invoice):
            return (invoice,)
        case Ambiguous(invoices):
            return invoices
    return ()


def _due(case: BillCase, lines: Sequence[BillLine]) -> tuple[datetime | None, timedelta]:
    """When the latest service ends that was served already, else when what is paid ahead starts; and its length."""
    served = list(_periods(case, [line for line in lines if in_arrears(line, case.bill)]))
    dated = [(end, end - start) for start, end in served]
    dated = dated or [(start, end - start) for start, end in _periods(case, lines)]
    due = max((instant for instant, _ in dated), default=None)
    return due, max((length for instant, length in dated if instant == due), default=timedelta(0))


def _periods(case: BillCase, lines: Sequence[BillLine]) -> Iterator[tuple[datetime, datetime]]:
    return (period for line in lines if (period := service_period(line, case.bill)) is not None)


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
