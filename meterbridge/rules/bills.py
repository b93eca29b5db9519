"""Approved bills become charges on pending invoices: the decision, one bill at a time.

The portion (bill, subscription) is the unit: it finds its invoice, waits or is
quarantined alone. What is decided is one number per portion, wanted less
standing, so that a bill is never charged twice in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from meterbridge.errors import RecordRefused
from meterbridge.rules.adoption import Adopted, Target, adopt
from meterbridge.rules.bill_lines import in_arrears, match_charge, service_period
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.charge_intents import adopt_charge, create_charge
from meterbridge.rules.invoices import (
    Ambiguous,
    Chosen,
    Demand,
    NoInvoice,
    choose_invoice,
    outlook,
    price_type_of,
    tolerance,
)
from meterbridge.rules.money import exact_sum, exponent, major_text, plain, to_minor
from meterbridge.rules.portions import Portion, Wanted, reckon
from meterbridge.rules.records import (
    BillCase,
    Decision,
    Intent,
    Invoice,
    Key,
    OutOfScope,
    Quarantined,
    StandingLine,
    SubscriptionFacts,
    Unchanged,
    Waiting,
)

__all__ = ["BillPolicy", "decide_bill", "decide_vanished", "match_charge"]

BEFORE_SETTLED = "sent before settled: the draft closes sooner"
LATE = "a late bill: no draft is dated at or after its service end"


def decide_bill(case: BillCase, policy: BillPolicy) -> list[Decision]:
    """Decide one bill; what nothing is to be done about is said, too.

    Raises:
        SetupError: MB-SETTING, when the description template cannot be filled in.
    """
    bill = case.bill
    if bill.bill_date < policy.since and not case.standing and not case.settled:
        return [OutOfScope("charge", (bill.id,), _too_early(case, policy))]
    if bill.status != "APPROVED":
        if case.standing:
            return _withdrawn(bill.id, case.standing, "MB-BILL-UNAPPROVED", f"is {bill.status}")
        return [OutOfScope("charge", (bill.id,), f"bill {bill.id} is {bill.status}, only approved ones are charged")]
    amount = None
    try:
        places = exponent(bill.currency, three_decimal=policy.three_decimal)
        amount = to_minor(exact_sum([line.amount for line in bill.lines]), places, policy.rounding)
        portions = reckon(case, policy, places)
    except RecordRefused as refusal:
        message = f"bill {bill.id}: {refusal.message}"
        return [Quarantined("charge", (bill.id,), refusal.code, message, amount, bill.currency, bill.version)]
    desk = _Desk(case, policy, places)
    decisions: list[Decision] = []
    for portion in portions:
        booked = Counter(one.scope for one in decisions if isinstance(one, Intent) and one.action == "create")
        decisions += desk.decide(portion, booked)
    return decisions or [Unchanged("charge", (bill.id,))]


def decide_vanished(bill_id: str, standing: Sequence[StandingLine]) -> list[Decision]:
    """Decide a bill that m3ter no longer has: what stands for it is wanted no more."""
    return _withdrawn(bill_id, standing, "MB-BILL-DELETED", "was deleted in m3ter")


def _too_early(case: BillCase, policy: BillPolicy) -> str:
    bill = case.bill
    try:
        total = plain(exact_sum([line.amount for line in bill.lines]))
    except RecordRefused:
        total = "an unreadable amount of"
    return f"bill {bill.id} of {bill.bill_date}, {total} {bill.currency}, is older than bills_since {policy.since}"


def _withdrawn(bill_id: str, standing: Iterable[StandingLine], code: str, what: str) -> list[Decision]:
    owned: dict[tuple[str, str], list[StandingLine]] = {}
    for line in standing:
        owned.setdefault((line.subscription_id, line.currency), []).append(line)
    return [
        Quarantined(
            "charge",
            (bill_id, subscription_id),
            code,
            f"bill {bill_id} {what}, but {sum(line.amount for line in lines)} {currency} (minor units) stand on "
            f"{_name_invoices(lines)} for subscription {subscription_id}",
            sum(line.amount for line in lines),
            currency,
        )
        for (subscription_id, currency), lines in owned.items()
    ]


def _name_invoices(lines: Iterable[StandingLine]) -> str:
    return "invoice " + ", ".join(dict.fromkeys(line.invoice_id for line in lines))


@dataclass(frozen=True, slots=True)
class _Stand:
    """What stands for a portion: minor units by charge key, the invoices, and what a person settled."""

    amounts: dict[Key, int]
    invoices: frozenset[str]
    settled: int

    @property
    def total(self) -> int:
        return sum(self.amounts.values()) + self.settled


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where the portions of one bill are decided."""

    case: BillCase
    policy: BillPolicy
    exponent: int

    def decide(self, portion: Portion, booked: Counter[str]) -> list[Decision]:
        """Adoptions first, then what is to be done about the rest."""
        voided = self._voided(portion)
        if voided:
            return [voided]
        adopted: list[Adopted] = []
        if not self.case.known:
            stands = {line.key for line in self.case.standing}
            targets = [Target(one.key, one.charge, one.amount) for one in portion.wanted if one.key not in stands]
            adopted, conflicts = adopt(self.case, targets)
            if conflicts:
                messages = "; ".join(conflict.message for conflict in conflicts)
                return [self._quarantine(portion, conflicts[0].code, messages, portion.total)]
        taken: list[Decision] = [adopt_charge(self.case.bill, one, self.exponent) for one in adopted]
        return taken + self._rest(portion, self._standing(portion, adopted), booked)

    def _standing(self, portion: Portion, adopted: Sequence[Adopted]) -> _Stand:
        lines = [line for line in self.case.standing if line.subscription_id == portion.subscription_id]
        amounts: Counter[Key] = Counter()
        for line in lines:
            amounts[line.key] += line.amount
        for one in adopted:
            amounts[one.target.key] += one.line.amount
        invoices = {line.invoice_id for line in lines} | {one.invoice.id for one in adopted}
        return _Stand(dict(amounts), frozenset(invoices), self.case.settled.get(portion.subscription_id, 0))

    def _rest(self, portion: Portion, stand: _Stand, booked: Counter[str]) -> list[Decision]:
        delta = portion.total - stand.total
        subscription = self.case.subscriptions.get(portion.subscription_id)
        if delta == 0:
            return [Unchanged("charge", self._key(portion))]
        wanted = {one.key: one.amount for one in portion.wanted}
        if stand.settled or any(wanted.get(key) != amount for key, amount in stand.amounts.items()):
            return [self._changed(portion, stand, delta)]
        if delta < 0:
            return [self._negative(portion, delta)]
        if subscription is None or subscription.currency != self.case.bill.currency:
            return [self._foreign(portion, subscription, delta)]
        missing = [one for one in portion.wanted if one.amount > 0 and one.key not in stand.amounts]
        choice = choose_invoice(self.case.invoices, self._demand(portion, subscription, stand))
        settling, remarks = self._settling(portion, choice, delta)
        if settling:
            return [settling]
        match choice:
            case NoInvoice():
                return [self._without_invoice(portion, subscription, delta)]
            case Ambiguous(invoices):
                named = ", ".join(invoice.id for invoice in invoices)
                message = f"{self._money(delta)} of subscription {subscription.id} could go on drafts {named}"
                return [self._quarantine(portion, "MB-INVOICE-AMBIGUOUS", message, delta)]
            case Chosen(invoice, late):
                return self._charge(portion, missing, invoice, booked, remarks + ((LATE,) if late else ()))
            case _:
                assert_never(choice)

    def _charge(
        self,
        portion: Portion,
        missing: Sequence[Wanted],
        invoice: Invoice,
        booked: Counter[str],
        remarks: tuple[str, ...],
    ) -> list[Decision]:
        amount = sum(one.amount for one in missing)
        if invoice.price_type != price_type_of(self.policy.bill_amounts):
            message = f"draft {invoice.id} is {invoice.price_type}, bills hold {self.policy.bill_amounts} amounts"
            return [self._quarantine(portion, "MB-PRICE-TYPE", message, amount)]
        lines = len(invoice.lines) + booked[f"invoice:{invoice.id}"]
        if lines + len(missing) > self.policy.max_invoice_lines:
            message = f"draft {invoice.id} has {lines} lines and would get {len(missing)} more"
            return [
                self._quarantine(
                    portion, "MB-INVOICE-FULL", f"{message}; the most is {self.policy.max_invoice_lines}", amount
                )
            ]
        return [create_charge(self.case.bill, one, invoice, self.policy, self.exponent, remarks) for one in missing]

    def _demand(self, portion: Portion, subscription: SubscriptionFacts, stand: _Stand) -> Demand:
        """The service end that the invoice must follow; prepaid lines alone belong to the invoice of their start."""
        charges = [one.charge for one in portion.wanted]
        served = [one for one in charges if any(in_arrears(line, self.case.bill) for line in one.lines)]
        dated = [(one.end, one.end - one.start) for one in served] or [
            (one.start, one.end - one.start) for one in charges
        ]
        due = max(instant for instant, _ in dated)
        longest = max(length for instant, length in dated if instant == due)
        return Demand(
            subscription,
            self.case.bill.currency,
            due,
            tolerance(longest, self.policy.term_tolerance_hours),
            stand.invoices,
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
        if isinstance(choice, Chosen) and choice.invoice.date and self.policy.auto_close_days is not None:
            guard = max(timedelta(hours=1), timedelta(seconds=2 * self.policy.schedule_interval_seconds))
            last = choice.invoice.date + timedelta(days=self.policy.auto_close_days) - guard
            if last < settled:
                send, why = last, f"{why}; draft {choice.invoice.id} closes soon after {last:%Y-%m-%d %H:%M} UTC"
        if self.case.now >= send:
            return None, (BEFORE_SETTLED,)
        return Waiting("charge", self._key(portion), why, delta, self.case.bill.currency, send), ()

    def _without_invoice(self, portion: Portion, subscription: SubscriptionFacts, delta: int) -> Decision:
        since = self.case.waiting_since.get(subscription.id)
        ahead = outlook(subscription, self.case.now, max_wait_days=self.policy.max_wait_days, waiting_since=since)
        if ahead.waits:
            why = f"no pending invoice {ahead.reason}"
            return Waiting("charge", self._key(portion), why, delta, self.case.bill.currency, ahead.until)
        message = f"no pending invoice for {self._money(delta)}: {ahead.reason}"
        if self.policy.no_pending_invoice != "quarantine":
            message = f"{message} (no_pending_invoice={self.policy.no_pending_invoice} is not available)"
        return self._quarantine(portion, "MB-NO-INVOICE", message, delta)

    def _changed(self, portion: Portion, stand: _Stand, delta: int) -> Quarantined:
        statuses = {invoice.id: invoice.status for invoice in self.case.invoices}
        named = [f"{invoice} ({statuses.get(invoice, 'closed or gone')})" for invoice in sorted(stand.invoices)]
        settled = f", {self._money(stand.settled)} settled by hand" if stand.settled else ""
        message = (
            f"bill {self.case.bill.id} now wants {self._money(portion.total)} for subscription "
            f"{portion.subscription_id}, {self._money(stand.total)} stand on invoice {', '.join(named) or 'none'}"
            f"{settled}: difference {self._money(delta)}"
        )
        return self._quarantine(portion, "MB-BILL-CHANGED", message, delta)

    def _negative(self, portion: Portion, delta: int) -> Quarantined:
        message = f"after netting, {self._money(delta)} are left for subscription {portion.subscription_id}"
        if self.policy.negative != "quarantine":
            message = f"{message} (negative={self.policy.negative} is not available)"
        return self._quarantine(portion, "MB-BILL-NEGATIVE", message, delta)

    def _foreign(self, portion: Portion, subscription: SubscriptionFacts | None, delta: int) -> Quarantined:
        currency = subscription.currency if subscription else "an unknown currency"
        bill = self.case.bill
        message = f"bill {bill.id} is in {bill.currency}, subscription {portion.subscription_id} in {currency}"
        return self._quarantine(portion, "MB-BILL-CURRENCY", message, delta)

    def _voided(self, portion: Portion) -> Quarantined | None:
        gone = {invoice.id for invoice in self.case.invoices if invoice.status == "voided"}
        lines = [line for line in self.case.standing if line.subscription_id == portion.subscription_id]
        lost = [line for line in lines if line.invoice_id in gone]
        if not lost:
            return None
        amount = sum(line.amount for line in lost)
        where = f"{_name_invoices(lost)}, which was voided"
        message = f"{self._money(amount)} of subscription {portion.subscription_id} stood on {where}"
        return self._quarantine(portion, "MB-VOIDED", message, amount)

    def _quarantine(self, portion: Portion, code: str, message: str, amount: int) -> Quarantined:
        bill = self.case.bill
        return Quarantined("charge", self._key(portion), code, message, amount, bill.currency, bill.version)

    def _key(self, portion: Portion) -> Key:
        return (self.case.bill.id, portion.subscription_id)

    def _money(self, amount: int) -> str:
        return f"{major_text(amount, self.exponent)} {self.case.bill.currency}"
