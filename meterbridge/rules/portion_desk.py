"""Where the portions of one bill are decided, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from meterbridge.rules.bill_lines import in_arrears, service_period
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.charge_intents import create_charge, remove_charge
from meterbridge.rules.charge_sets import Method, create_set
from meterbridge.rules.credits import credit_of
from meterbridge.rules.deadlines import closing
from meterbridge.rules.deltas import Plan, replan
from meterbridge.rules.foreign_notes import with_surplus
from meterbridge.rules.found_again import find_again
from meterbridge.rules.invoices import (
    DELETED,
    LIVING,
    Ambiguous,
    Chosen,
    Demand,
    NoInvoice,
    choose_invoice,
    outlook,
    payers_of,
    price_type_of,
    tolerance,
)
from meterbridge.rules.money import major_text
from meterbridge.rules.offsets import View
from meterbridge.rules.portions import NOBODY, Portion, unproven_owners
from meterbridge.rules.recall import lowered_charge
from meterbridge.rules.records import (
    BillCase,
    Decision,
    Intent,
    Invoice,
    Key,
    Quarantined,
    Ref,
    StandingLine,
    SubscriptionFacts,
    Unchanged,
    Waiting,
)
from meterbridge.rules.standing import Stand, Stood, in_currency, is_unbilled, left_behind, take_stock, taken_off

BEFORE_SETTLED = "sent before settled: the draft closes sooner"
LATE = "a late bill: no draft is dated at or after its service end"
ENDED = "the subscription has ended: nothing but you will invoice its unbilled charges"
APART: dict[str, Method] = {"create": "create_invoice", "unbilled": "unbilled"}
"""What is done without a pending invoice, by the setting ``no_pending_invoice``."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One bill, the settings, and the decimal places that Chargebee counts its currency in."""

    case: BillCase
    policy: BillPolicy
    exponent: int

    def view(self, portion: Portion) -> View:
        """Find what stands for the portion; what a ledger without it takes over stands, too."""
        if portion.subscription_id in self.case.unproven_sets:
            return View(portion, self._stock(self.case, portion), undecided=True)
        found = find_again(self.case, portion, self.exponent, self.policy.mark)
        if found.conflicts:
            messages = "; ".join(conflict.message for conflict in found.conflicts)
            conflict = self._quarantine(portion, found.conflicts[0].code, messages, portion.total)
            return View(portion, self._stock(self.case, portion), conflict=conflict)
        lines = [line for one in found.recalled for line in one.lines]
        return View(portion, self._stock(found.case, portion, lines), tuple(one.intent for one in found.recalled))

    def _stock(self, case: BillCase, portion: Portion, lines: Sequence[StandingLine] = ()) -> Stand:
        stand = in_currency(take_stock(case, portion.subscription_id, lines), self.case.bill.currency)
        return replace(stand, left_behind=left_behind(case, portion.positive))

    def decide(self, view: View, booked: Counter[str]) -> list[Decision]:
        """Adoptions first, then what is to be done about the rest."""
        if view.undecided:
            return [self.unproven(view.portion, view.stand)]
        if view.conflict is not None:
            return [view.conflict]
        if view.portion.subscription_id == NOBODY and view.delta > 0:
            return [self._quarantine(view.portion, "MB-BILL-LINE", view.portion.why, view.delta)]
        decided = self._rest(view.portion, view.stand, booked)
        if self._is_overtaken(view.portion, [*view.taken, *decided]):
            return [self.unproven(view.portion, view.stand)]
        return [*view.taken, *decided]

    def _is_overtaken(self, portion: Portion, decided: Sequence[Decision]) -> bool:
        """True if an unanswered charge is no longer wanted: it may be booked, and no later run would look for it."""
        wanted = {one.key for one in decided if isinstance(one, Intent)}
        return any(key[1] == portion.subscription_id and key not in wanted for key in self.case.unproven_charges)

    def _rest(self, portion: Portion, stand: Stand, booked: Counter[str]) -> list[Decision]:
        delta = portion.total - stand.total
        undone = self.case.undone.get(portion.subscription_id, {})
        if delta == 0 and not undone.keys() & {line.line_id for line in stand.open}:
            return [Unchanged("charge", self._key(portion))]
        if portion.subscription_id in self.case.undone:
            return self._undone(portion, stand, delta)
        if held := self._held(portion, stand, delta):
            return [held]
        plan = replan(portion, stand, self.case.bill.id)
        if not plan.creations and not plan.removals:
            return [self._credited(portion, stand, plan.rest)]
        subscription = self.case.subscriptions.get(portion.subscription_id)
        if plan.creations and (subscription is None or subscription.currency != self.case.bill.currency):
            return [self._foreign(portion, subscription, delta)]
        if subscription is None:
            return self._written(portion, stand, plan, None, ())
        choice = choose_invoice(self.case.invoices, self._demand(portion, subscription, stand))
        settling, remarks = self._settling(portion, choice, delta)
        if settling or not plan.creations:
            return [settling] if settling else self._written(portion, stand, plan, None, remarks)
        match choice:
            case NoInvoice():
                return self._without_invoice(portion, subscription, stand, plan=plan, remarks=remarks)
            case Ambiguous(invoices):
                named = ", ".join(invoice.id for invoice in invoices)
                message = f"{self._money(delta)} of subscription {subscription.id} could go on drafts {named}"
                return [self._quarantine(portion, "MB-INVOICE-AMBIGUOUS", message, delta)]
            case Chosen(invoice, late):
                obstacle = self._obstacle(portion, plan, invoice, booked)
                said = remarks + ((LATE,) if late else ())
                return [obstacle] if obstacle else self._written(portion, stand, plan, invoice, said)
            case _:
                assert_never(choice)

    def _undone(self, portion: Portion, stand: Stand, delta: int) -> list[Decision]:
        """Nothing is charged anew; lines that a stopped `undo` has left on a pending invoice come off."""
        lines = self.case.undone[portion.subscription_id]
        left = [line for line in stand.open if line.line_id in lines]
        removals = [remove_charge(self.case.bill, line, "its run was undone") for line in left]
        amount = delta + sum(line.amount for line in left)
        message = f"lines of subscription {portion.subscription_id} were taken off: {self._money(amount)} not charged"
        return [*removals, self._quarantine(portion, "MB-UNDONE", message, amount)]

    def _held(self, portion: Portion, stand: Stand, delta: int) -> Waiting | Quarantined | None:
        """What keeps the whole portion from being touched: nobody knows, or a person has to say."""
        where = f"of subscription {portion.subscription_id}"
        if other := taken_off(self.case, portion.positive):
            message = f"lines {where} were taken off while they were subscription {other}'s"
            return self._quarantine(portion, "MB-UNDONE", f"{message}: {self._money(delta)} not charged", delta)
        if transit := stand.at("transit"):
            until = max((one.line.transit_until for one in transit if one.line.transit_until), default=None)
            why = f"{_away(transit)} is on its way to its final invoice, which is not in sight yet"
            return Waiting("charge", self._key(portion), why, delta, self.case.bill.currency, until)
        if unclear := stand.at("ambiguous"):
            finals = ", ".join(dict.fromkeys(name for one in unclear for name in one.line.candidates))
            message = f"draft {_invoices(unclear)} with {self._gone(unclear)} {where} may have become {finals}"
            return self._quarantine(portion, "MB-INVOICE-AMBIGUOUS", message, delta)
        if lost := stand.at("lost"):
            message = f"{_away(lost)} with {self._gone(lost)} {where} is gone, no final invoice was found"
            return self._quarantine(portion, "MB-DRAFT-LOST", message, delta)
        hold = self.policy.on_void == "hold"
        if hold and (voided := stand.at("voided")):
            message = f"{self._gone(voided)} {where} stood on invoice {_invoices(voided)}, which was voided or deleted"
            return self._quarantine(portion, "MB-VOIDED", message, delta)
        if hold and (changed := stand.at("changed")):
            lines = ", ".join(one.line.line_id for one in changed)
            message = f"{self._gone(changed)} {where} are missing on invoice {_invoices(changed)} (lines {lines})"
            return self._quarantine(portion, "MB-LINE-CHANGED", message, delta)
        wanted = {one.key: one.amount for one in portion.wanted}
        if any(amount != wanted.get(key) for key, amount in _taken_over(stand).items()):
            return self._left_over(portion, stand, delta)
        return None

    def _written(
        self, portion: Portion, stand: Stand, plan: Plan, invoice: Invoice | None, remarks: tuple[str, ...]
    ) -> list[Decision]:
        """Removals, then the lines that build on them, then what no line can take."""
        bill = self.case.bill
        why = f"bill {bill.id} now wants {self._money(portion.total)} for subscription {portion.subscription_id}"
        removals = [remove_charge(bill, line, why) for line in plan.removals]
        first = tuple(Ref("charge_removal", one.key) for one in removals)
        decisions: list[Decision] = [*removals]
        if invoice is not None:
            unnamed = self._moved_away(self.case.subscriptions[portion.subscription_id])
            decisions += [
                create_charge(
                    bill, one, invoice, self.policy, self.exponent, remarks=remarks, after=first, unnamed=unnamed
                )
                for one in plan.creations
            ]
        return [*decisions, self._surplus(portion, stand, plan.rest)] if plan.rest else decisions

    def _obstacle(self, portion: Portion, plan: Plan, invoice: Invoice, booked: Counter[str]) -> Quarantined | None:
        amount = sum(one.amount for one in plan.creations)
        if invoice.price_type != price_type_of(self.policy.bill_amounts):
            message = f"draft {invoice.id} is {invoice.price_type}, bills hold {self.policy.bill_amounts} amounts"
            return self._quarantine(portion, "MB-PRICE-TYPE", message, amount)
        removed = sum(line.invoice_id == invoice.id for line in plan.removals)
        lines = len(invoice.lines) + booked[f"invoice:{invoice.id}"] - removed
        if lines + len(plan.creations) > self.policy.max_invoice_lines:
            message = f"draft {invoice.id} has {lines} lines and would get {len(plan.creations)} more"
            message = f"{message}; the most is {self.policy.max_invoice_lines}"
            return self._quarantine(portion, "MB-INVOICE-FULL", message, amount)
        return None

    def _demand(self, portion: Portion, subscription: SubscriptionFacts, stand: Stand) -> Demand:
        """The service end that the invoice must follow; prepaid lines alone belong to the invoice of their start."""
        charges = [one.charge for one in portion.wanted]
        served = [one for one in charges if any(in_arrears(line, self.case.bill) for line in one.lines)]
        dated = [(one.end, one.end - one.start) for one in served] or [
            (one.start, one.end - one.start) for one in charges
        ]
        due = max((instant for instant, _ in dated), default=None)
        longest = max((length for instant, length in dated if instant == due), default=timedelta(0))
        return Demand(
            subscription,
            self.case.bill.currency,
            due,
            tolerance(longest, self.policy.term_tolerance_hours),
            stand.invoices,
            self.case.payers,
        )

    def _settled_at(self) -> datetime | None:
        """When no late usage can change the bill any more; None when nothing can already."""
        bill = self.case.bill
        periods = [service_period(line, bill) for line in bill.lines if in_arrears(line, bill)]
        ends = [period[1] for period in periods if period]
        return None if bill.locked or not ends else max(ends) + timedelta(hours=self.policy.settle_hours)

    def _settling(
        self, portion: Portion, choice: Chosen | NoInvoice | Ambiguous, delta: int
    ) -> tuple[Waiting | None, tuple[str, ...]]:
        """Wait for the bill to settle, but not beyond the draft's closing."""
        settled = self._settled_at()
        if settled is None or self.case.now >= settled:
            return None, ()
        send, why = settled, f"bill {self.case.bill.id} may be recalculated until {settled:%Y-%m-%d %H:%M} UTC"
        subscription = self.case.subscriptions.get(portion.subscription_id)
        closes = (
            closing(choice.invoice, subscription, self.policy.auto_close_days) if isinstance(choice, Chosen) else None
        )
        if isinstance(choice, Chosen) and closes is not None:
            guard = max(timedelta(hours=1), timedelta(seconds=2 * self.policy.schedule_interval_seconds))
            last = closes - self.policy.site_ahead - guard
            if last < settled:
                send, why = last, f"{why}; draft {choice.invoice.id} closes soon after {last:%Y-%m-%d %H:%M} UTC"
        if self.case.now >= send:
            return None, (BEFORE_SETTLED,)
        return Waiting("charge", self._key(portion), why, delta, self.case.bill.currency, send), ()

    def _without_invoice(
        self, portion: Portion, subscription: SubscriptionFacts, stand: Stand, *, plan: Plan, remarks: tuple[str, ...]
    ) -> list[Decision]:
        delta = portion.total - stand.total
        if self._moved_away(subscription):
            owner, payers = subscription.customer_id, ", ".join(sorted(self.case.payers))
            why = f"subscription {subscription.id} is customer {owner}'s by now, the bill is {payers}'s"
            message = f"no pending invoice for {self._money(delta)}: {why}"
            return [self._quarantine(portion, "MB-NO-INVOICE", message, delta)]
        since = self.case.waiting_since.get(subscription.id)
        there = self.policy.site_ahead
        ahead = outlook(
            subscription,
            self.case.now + there,
            max_wait_days=self.policy.max_wait_days,
            waiting_since=since and since + there,
        )
        apart = any(is_unbilled(line.invoice_id) for line in plan.removals)
        if ahead.waits and not apart:
            why = f"no pending invoice {ahead.reason}"
            return [Waiting("charge", self._key(portion), why, delta, self.case.bill.currency, ahead.until)]
        # What is unbilled is replaced where it stands: the invoice that comes would take up the wrong sum.
        otherwise: Method | None = "unbilled" if apart else None
        method = otherwise if ahead.waits else APART.get(self.policy.no_pending_invoice, otherwise)
        method = None if subscription.status == DELETED else method
        if method is None:
            message = f"no pending invoice for {self._money(delta)}: {ahead.reason}"
            return [self._quarantine(portion, "MB-NO-INVOICE", message, delta)]
        if portion.subscription_id in unproven_owners(self.case):
            return [self.unproven(portion, stand)]
        if len(plan.creations) > self.policy.max_invoice_lines:
            message = f"{len(plan.creations)} lines for one invoice; the most is {self.policy.max_invoice_lines}"
            return [self._quarantine(portion, "MB-INVOICE-FULL", message, delta)]
        ended = method == "unbilled" and subscription.status not in LIVING
        said = (*remarks, f"no pending invoice: {ahead.reason}", *([ENDED] if ended else []))
        return self._apart(portion, subscription, stand, plan=plan, method=method, remarks=said)

    def _moved_away(self, subscription: SubscriptionFacts) -> bool:
        """True if the subscription is of a customer who does not pay for this bill."""
        return bool(self.case.payers) and not self.case.payers & payers_of(subscription)

    def _apart(
        self,
        portion: Portion,
        subscription: SubscriptionFacts,
        stand: Stand,
        *,
        plan: Plan,
        method: Method,
        remarks: tuple[str, ...],
    ) -> list[Decision]:
        """All new lines in one call of their own, once what must go is gone."""
        written = self._written(portion, stand, plan, None, ())
        lines = create_set(
            self.case.bill,
            plan.creations,
            subscription,
            self.policy,
            self.exponent,
            method=method,
            remarks=remarks,
            replaced=[one for one in written if isinstance(one, Intent)],
        )
        return [*written, lines]

    def unproven(self, portion: Portion, stand: Stand) -> Waiting:
        """Nothing is decided about a portion while a call that may have booked some of it has no answer."""
        why = f"a call for subscription {portion.subscription_id} has no answer yet; its outcome is found out first"
        delta = portion.total - stand.total
        return Waiting("charge", self._key(portion), why, delta, self.case.bill.currency)

    def _left_over(self, portion: Portion, stand: Stand, rest: int) -> Quarantined:
        """What no line can take: a credit that nothing was charged for, or too much on a closed invoice."""
        if not stand.stood and not stand.settled:
            message = f"after netting, {self._money(rest)} are left for subscription {portion.subscription_id}"
            return self._quarantine(portion, "MB-BILL-NEGATIVE", message, rest)
        statuses = {invoice.id: invoice.status for invoice in self.case.invoices}
        named = [
            invoice if is_unbilled(invoice) else f"{invoice} ({statuses.get(invoice, 'closed or gone')})"
            for invoice in sorted(stand.invoices)
        ]
        settled = f", {self._money(stand.settled)} settled by hand" if stand.settled else ""
        message = (
            f"bill {self.case.bill.id} now wants {self._money(portion.total)} for subscription "
            f"{portion.subscription_id}, {self._money(stand.on_lines)} stand on invoice "
            f"{', '.join(named) or 'none'}{settled}: difference {self._money(rest)}"
        )
        return self._quarantine(portion, "MB-BILL-CHANGED", message, rest)

    def _credited(self, portion: Portion, stand: Stand, rest: int) -> Decision:
        """A credit for what is left over, where a setting allows one; it waits for the bill to settle like any line."""
        aside = self._surplus(portion, stand, rest)
        method = None
        if aside.code == "MB-BILL-NEGATIVE" and self.policy.negative == "promotional_credit":
            method = "promotional_credit"
        elif aside.surplus and self.policy.negative_delta == "credit_note":
            method = "credit_note"
        if method is None or rest >= 0:
            return aside
        settling, _ = self._settling(portion, NoInvoice(), rest)
        credit = credit_of(
            self.case, portion, stand, -rest, method=method, exponent=self.exponent, mark=self.policy.mark
        )
        return settling or credit or aside

    def _surplus(self, portion: Portion, stand: Stand, rest: int) -> Quarantined:
        """What is left over; what stands too much for good may lower a later charge."""
        aside = self._left_over(portion, stand, rest)
        return aside if portion.total < 0 else with_surplus(aside, -rest, stand, case=self.case, policy=self.policy)

    def _foreign(self, portion: Portion, subscription: SubscriptionFacts | None, delta: int) -> Quarantined:
        currency = subscription.currency if subscription else "an unknown currency"
        bill = self.case.bill
        message = f"bill {bill.id} is in {bill.currency}, subscription {portion.subscription_id} in {currency}"
        return self._quarantine(portion, "MB-BILL-CURRENCY", message, delta)

    def _quarantine(self, portion: Portion, code: str, message: str, amount: int) -> Quarantined:
        bill = self.case.bill
        return Quarantined("charge", self._key(portion), code, message, amount, bill.currency, bill.version)

    def _key(self, portion: Portion) -> Key:
        return (self.case.bill.id, portion.subscription_id)

    def _gone(self, stood: Sequence[Stood]) -> str:
        return self._money(sum(one.line.amount - (0 if one.place == "ambiguous" else one.amount) for one in stood))

    def _money(self, amount: int) -> str:
        return f"{major_text(amount, self.exponent)} {self.case.bill.currency}"


def _taken_over(stand: Stand) -> dict[Key, int]:
    """What lines that were found, not sent, stand for: their amounts, with what they were lowered by."""
    found = {one.line.key: one.line.amount for one in stand.stood if one.line.adopted}
    for one in stand.stood if found else ():
        if one.line.carried and (key := lowered_charge(one.line.key)) in found:
            found[key] += one.line.amount
    return found


def _away(stood: Sequence[Stood]) -> str:
    """What went away, in words: drafts by their ids, unbilled charges as such."""
    named = _invoices([one for one in stood if not is_unbilled(one.line.invoice_id)])
    unbilled = any(is_unbilled(one.line.invoice_id) for one in stood)
    return " and ".join([*([f"draft {named}"] if named else []), *(["what was unbilled"] if unbilled else [])])


def _invoices(stood: Sequence[Stood]) -> str:
    return ", ".join(dict.fromkeys(one.line.invoice_id for one in stood))
