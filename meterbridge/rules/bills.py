"""Approved bills become charges on pending invoices: the decision, one bill at a time.

The portion (bill, subscription) is the unit: it finds its invoice, waits or is
quarantined alone. What is decided is one number per portion, wanted less
standing, so that a bill is never charged twice in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from meterbridge.errors import RecordRefused
from meterbridge.rules.accounts import excluded
from meterbridge.rules.bill_lines import match_charge
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.charge_intents import remove_charge
from meterbridge.rules.foreign_notes import with_surplus
from meterbridge.rules.law import Account, keep
from meterbridge.rules.money import exact_sum, exponent, plain, to_minor
from meterbridge.rules.offsets import offsets, say_offsets, with_offsets
from meterbridge.rules.payers import with_successors
from meterbridge.rules.portion_desk import Desk
from meterbridge.rules.portions import Portion, reckon, unproven_owners
from meterbridge.rules.records import BillCase, Decision, Intent, OutOfScope, Quarantined, Unchanged, Waiting
from meterbridge.rules.standing import take_stock

__all__ = ["BillPolicy", "decide_bill", "decide_vanished", "match_charge"]


def decide_bill(case: BillCase, policy: BillPolicy) -> list[Decision]:
    """Decide one bill; what nothing is to be done about is said, too.

    Raises:
        SetupError: MB-SETTING, when the description template cannot be filled in.
    """
    case, bill = with_successors(case), case.bill
    if left_out := _left_out(case, policy):
        return [left_out]
    if bill.bill_date < policy.since and not case.standing and not case.settled:
        return [OutOfScope("charge", (bill.id,), _too_early(case, policy))]
    if bill.status != "APPROVED":
        if case.standing or case.unproven_sets or case.unproven_charges or _by_hand(case):
            return list(_withdrawn(case, "MB-BILL-UNAPPROVED", remove=policy.on_unapproved == "remove"))
        return [OutOfScope("charge", (bill.id,), f"bill {bill.id} is {bill.status}, only approved ones are charged")]
    if case.not_ours:
        return [_not_ours(case, policy)]
    amount = None
    try:
        places = exponent(bill.currency, three_decimal=policy.three_decimal)
        amount = to_minor(exact_sum([line.amount for line in bill.lines]), places, policy.rounding)
        portions = reckon(case, policy, places)
    except RecordRefused as refusal:
        message = f"bill {bill.id}: {refusal.message}"
        return [Quarantined("charge", (bill.id,), refusal.code, message, amount, bill.currency, bill.version)]
    desk = Desk(case, policy, places)
    views = [desk.view(portion) for portion in portions]
    found = offsets(case, policy, views)
    decisions: list[Decision] = []
    for view in (with_offsets(view, found) for view in views):
        booked = Counter(one.scope for one in decisions if isinstance(one, Intent) and one.action == "create")
        decisions += say_offsets(case, view, found, desk.decide(view, booked))
    return keep(Account(case, views), decisions) or [Unchanged("charge", (bill.id,))]


def places_wanted(case: BillCase, policy: BillPolicy) -> list[tuple[Portion, int]]:
    """Return each portion of an approved bill with the amount (minor units) that is to stand for its subscription.

    It differs from the portion's total where another subscription's lines stand for it.

    Raises:
        RecordRefused: As :func:`~meterbridge.rules.portions.reckon` does.
    """
    case, places = with_successors(case), exponent(case.bill.currency, three_decimal=policy.three_decimal)
    desk = Desk(case, policy, places)
    views = [desk.view(portion) for portion in reckon(case, policy, places)]
    settled = [one for one in offsets(case, policy, views) if one.why != "overdrawn"]
    return [(view.portion, view.portion.total - with_offsets(view, settled).stand.elsewhere) for view in views]


def decide_vanished(case: BillCase, policy: BillPolicy | None = None) -> list[Decision]:
    """Decide a bill that m3ter no longer has: its total is 0, what stands for it is wanted no more."""
    if policy is not None and (left_out := _left_out(case, policy)):
        return [left_out]
    return list(_withdrawn(case, "MB-BILL-DELETED", remove=True))


def _by_hand(case: BillCase) -> list[str]:
    """Subscriptions for which a person settled something: that stands, too, though on no invoice of ours."""
    return [subscription_id for subscription_id, amount in case.settled.items() if amount > 0]


def _left_out(case: BillCase, policy: BillPolicy) -> OutOfScope | None:
    """A bill of a customer whom the settings leave out: whatever stands for it is left alone, too."""
    why = excluded(customer_of(case), policy)
    return None if why is None else OutOfScope("charge", (case.bill.id,), f"bill {case.bill.id}: {why}")


def _not_ours(case: BillCase, policy: BillPolicy) -> OutOfScope:
    """A bill of an account that nobody here knows, with its sum; that is shown alone, so no scale need be proven."""
    bill = case.bill
    try:
        places = exponent(bill.currency, three_decimal=policy.three_decimal or 2)
    except RecordRefused:
        places = 2
    amount = to_minor(exact_sum([line.amount for line in bill.lines]), places, policy.rounding)
    why = f"bill {bill.id}: its account {bill.account_id} is neither a customer's of this site nor mapped to one"
    return OutOfScope("charge", (bill.id,), why, amount, bill.currency)


def customer_of(case: BillCase) -> str:
    """The Chargebee customer whose account is billed, by its subscriptions: an account's code need not be its id."""
    own = (plan.subscription_id for plan in case.plans if plan.account_id == case.bill.account_id)
    known = (case.subscriptions[name].customer_id for name in own if name in case.subscriptions)
    return next(known, case.bill.customer_id)


def _too_early(case: BillCase, policy: BillPolicy) -> str:
    bill = case.bill
    try:
        total = plain(exact_sum([line.amount for line in bill.lines]))
    except RecordRefused:
        total = "an unreadable amount of"
    return f"bill {bill.id} of {bill.bill_date}, {total} {bill.currency}, is older than bills_since {policy.since}"


def _withdrawn(case: BillCase, code: str, *, remove: bool) -> Iterator[Decision]:
    """Take a bill's lines off its pending invoices, and say what stands where nothing can be taken off."""
    bill = case.bill
    what = "was deleted in m3ter" if code == "MB-BILL-DELETED" else f"is {bill.status}"
    unproven = case.unproven_sets.union(unproven_owners(case))
    for subscription_id in sorted(unproven):
        why = f"bill {bill.id} {what}; what became of a call for subscription {subscription_id} is found out first"
        yield Waiting("charge", (bill.id, subscription_id), why, 0, bill.currency)
    for subscription_id in dict.fromkeys([*(line.subscription_id for line in case.standing), *_by_hand(case)]):
        if subscription_id in unproven:
            continue
        key = (bill.id, subscription_id)
        stand = take_stock(case, subscription_id)
        own = (line.currency for line in case.standing if line.subscription_id == subscription_id)
        currency = next(own, bill.currency)
        removable = stand.open if remove else ()
        yield from (remove_charge(bill, line, f"bill {bill.id} {what}") for line in removable)
        left = stand.total - sum(line.amount for line in removable)
        if left:
            where = ", ".join(sorted(stand.invoices)) or "none"
            by_hand = f", {stand.settled} settled by hand" if stand.settled else ""
            message = f"bill {bill.id} {what}, but {left} {currency} (minor units) stand on invoice {where}{by_hand}"
            message = f"{message} for subscription {subscription_id}"
            aside = Quarantined("charge", key, code, message, left, currency)
            yield with_surplus(aside, left, stand, case=case) if code == "MB-BILL-DELETED" else aside
        elif not removable:
            yield Unchanged("charge", key)
