"""What should stand and what does, for the comparison of both sides: made of the syncs' own decisions.

No rule lives here twice: intervals, placements and rounding are those that the
syncs decide with; this module only reads their outcome the other way round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from meterbridge.rules.adoption import booked_dates
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.bills import places_wanted
from meterbridge.rules.booked import Wish, is_alike
from meterbridge.rules.keys import REFERENCE, reference
from meterbridge.rules.reconcile import StandingCharge, WantedCharge, WantedPlan
from meterbridge.rules.records import BillCase, Decision, Intent, Invoice, InvoiceLine, Key, KnownPlan, Quarantined
from meterbridge.rules.standing import GONE

UNKNOWN_BILL = "unknown"
"""The bill of a line that carries a reference of ours which no known bill makes."""


def desired_plans(known: Iterable[KnownPlan], decisions: Iterable[Decision]) -> list[WantedPlan]:
    """The account plans that stand once everything decided is applied to what the ledger knows.

    Whatever the decisions leave alone is wanted as the ledger has it, ended periods included.
    """
    wanted: dict[Key, WantedPlan] = {}
    for plan in known:
        key = (plan.subscription_id, plan.item_price_id, str(plan.period))
        wanted[key] = WantedPlan(
            plan.subscription_id, plan.item_price_id, plan.account_id, plan.plan_id, plan.start, plan.end
        )
    for decision in decisions:
        if isinstance(decision, Intent) and decision.kind == "account_plan":
            _apply(wanted, decision)
    return [wanted[key] for key in sorted(wanted)]


def _apply(wanted: dict[Key, WantedPlan], intent: Intent) -> None:
    if intent.action == "delete":
        wanted.pop(intent.key, None)
        return
    new = replace(_wanted(intent.state), bill_epoch=_day(intent.payload.get("billEpoch")))
    for replaced in intent.state.get("replaces", ()):
        before = wanted.pop(tuple(replaced), None)
        if before is not None and intent.action == "replace":
            wanted[tuple(replaced)] = replace(before, end=new.start)
    wanted[intent.key] = new


def _wanted(state: Mapping[str, Any]) -> WantedPlan:
    account = state["account_id"]
    return WantedPlan(
        subscription_id=state["subscription_id"],
        item_price_id=state["item_price_id"],
        account_id=account if isinstance(account, str) else f"the new account of {state['customer_id']}",
        plan_id=state["plan_id"],
        start=_moment(state["start"]),
        end=None if state["end"] is None else _moment(state["end"]),
    )


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# --- charges ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expected:
    """A charge that a bill wants, by what its invoice line is recognised by; both dates as booked."""

    bill_id: str
    subscription_id: str
    reference: str
    item_price_id: str | None
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """An invoice line that the ledger, or an adoption just decided, holds for a portion's charge."""

    bill_id: str
    subscription_id: str
    line_id: str
    wish: Wish


def wanted_charges(
    case: BillCase, policy: BillPolicy, decisions: Sequence[Decision]
) -> tuple[list[WantedCharge], list[Expected]]:
    """What an approved bill wants, portion by portion; of a bill that cannot be placed its whole total.

    ``decisions`` are the bill's own: they say whether it is to be charged at all.
    """
    bill = case.bill
    if bill.status != "APPROVED":
        return [], []
    for one in decisions:
        if one.key == (bill.id,) and isinstance(one, Quarantined):
            whole = [] if one.amount is None else [WantedCharge(bill.id, "", one.amount, bill.currency)]
            return whole, []
        if one.key == (bill.id,):
            return [], []
    portions = places_wanted(case, policy)
    wanted = [WantedCharge(bill.id, one.subscription_id, amount, bill.currency) for one, amount in portions]
    expected = [
        Expected(
            bill.id, portion.subscription_id, reference(one.key), one.charge.item_price_id, *booked_dates(one.charge)
        )
        for portion, _ in portions
        for one in portion.wanted
        if one.amount > 0
    ]
    return wanted, expected


def standing_charges(
    claims: Sequence[Claim], expected: Sequence[Expected], invoices: Iterable[Invoice], closed_by_hand: Collection[Key]
) -> list[StandingCharge]:
    """The invoice lines that stand for bills, by what Chargebee shows now; a voided or deleted invoice's count nothing.

    A claimed line counts at the amount it has now. One that is gone may have a new
    id since its draft closed: then the line alike takes its place. What is left
    over is ours by our reference, or by charge item price, subscription and an
    overlapping period.

    Args:
        claims: Lines known to be ours.
        expected: Charges that the bills want.
        invoices: Every invoice that could hold one, once.
        closed_by_hand: Portions (bill, subscription) that a person settled: lines without
            a claim are that person's business there.
    """
    lines = [(invoice, line) for invoice in invoices if invoice.status not in GONE for line in invoice.lines]
    by_id = {line.id: (invoice, line) for invoice, line in lines}
    found = [(claim, by_id[claim.line_id]) for claim in claims if claim.line_id in by_id]
    owned = {line.id for _, (_, line) in found}
    for claim in claims:
        if claim.line_id not in by_id:
            moved = _moved(claim.wish, lines, owned)
            if moved is not None:
                owned.add(moved[1].id)
                found.append((claim, moved))
    standing = [_standing(claim.bill_id, claim.subscription_id, *place) for claim, place in found]
    rest = ((invoice, line) for invoice, line in lines if line.id not in owned)
    return [*standing, *_unclaimed(rest, expected, closed_by_hand)]


def _moved(
    wish: Wish, lines: Sequence[tuple[Invoice, InvoiceLine]], owned: Collection[str]
) -> tuple[Invoice, InvoiceLine] | None:
    alike = [(i, line) for i, line in lines if line.id not in owned and is_alike(wish, line)]
    return min(alike, key=lambda one: (one[1].amount != wish.amount, one[1].id), default=None)


def _standing(bill_id: str, subscription_id: str, invoice: Invoice, line: InvoiceLine) -> StandingCharge:
    return StandingCharge(bill_id, subscription_id, line.amount, invoice.currency, invoice.id)


def _unclaimed(
    lines: Iterable[tuple[Invoice, InvoiceLine]], expected: Sequence[Expected], closed_by_hand: Collection[Key]
) -> Iterator[StandingCharge]:
    by_reference = {one.reference: one for one in expected}
    by_price: dict[tuple[str, str], list[Expected]] = defaultdict(list)
    for one in expected:
        if one.item_price_id is not None:
            by_price[one.item_price_id, one.subscription_id].append(one)
    for invoice, line in lines:
        subscription_id = line.subscription_id or invoice.subscription_id or ""
        marked = REFERENCE.search(line.description) if line.entity_type == "adhoc" else None
        if marked is not None:
            wanted = by_reference.get(marked[1])
            portion = (wanted.bill_id, wanted.subscription_id) if wanted else (UNKNOWN_BILL, subscription_id)
        elif line.entity_type == "charge_item_price":
            wanted = _overlapping(line, by_price.get((line.entity_id or "", subscription_id), ()))
            if wanted is None:
                continue
            portion = (wanted.bill_id, wanted.subscription_id)
        else:
            continue
        if portion not in closed_by_hand:
            yield _standing(*portion, invoice, line)


def _overlapping(line: InvoiceLine, candidates: Sequence[Expected]) -> Expected | None:
    if line.date_from is None or line.date_to is None:
        return None
    sharing = [one for one in candidates if one.first <= line.date_to and line.date_from <= one.last]
    same = [one for one in sharing if (one.first, one.last) == (line.date_from, line.date_to)]
    return next(iter(same or sharing), None)
