"""What stands for a portion at Chargebee: each line of ours, where it is now and what is left of it.

A line on a pending invoice can still be replaced, and so can an unbilled charge until
an invoice takes it up. One on a closed invoice is there for good. One that a person
voided, deleted or edited counts only with what is left of it: charging it again is a
decision of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from meterbridge.rules.records import BillCase, Invoice, Key, StandingLine

Place = Literal["open", "fixed", "transit", "lost", "ambiguous", "voided", "changed"]

GONE = ("voided", "deleted")
"""Invoice statuses under which nothing stands."""

AWAY: tuple[Place, ...] = ("lost", "voided", "changed")
"""Places of a line of ours of which less may be left than was sent, or nothing."""

UNBILLED = "unbilled"
"""Status of what stands on no invoice yet, but as unbilled charges that the next one takes up."""


def unbilled_place(subscription_id: str) -> str:
    """What stands for an invoice id while a subscription's charges are unbilled."""
    return f"{UNBILLED}:{subscription_id}"


def subscription_of(place: str) -> str:
    """Whose unbilled charges they are."""
    return place.removeprefix(f"{UNBILLED}:")


def is_unbilled(invoice_id: str) -> bool:
    """True if it stands for a subscription's unbilled charges, and for no invoice."""
    return invoice_id.startswith(f"{UNBILLED}:")


@dataclass(frozen=True, slots=True)
class Stood:
    """A line of ours; ``amount`` is what stands of it now, in minor units."""

    line: StandingLine
    place: Place
    amount: int


@dataclass(frozen=True, slots=True)
class Stand:
    """All that stands for one portion, in minor units.

    ``settled`` is what a person settled. ``elsewhere`` is what stands for other portions of
    the bill and counts for this one; negative where this one's counts for others.
    ``left_behind`` are lines of other portions that went away and are wanted for this one by now.
    """

    stood: tuple[Stood, ...]
    settled: int
    elsewhere: int = 0
    left_behind: tuple[Stood, ...] = ()

    @property
    def total(self) -> int:
        """Minor units that need not be charged any more."""
        return self.on_lines + self.settled + self.elsewhere

    @property
    def on_lines(self) -> int:
        """Minor units on the portion's own lines and credits."""
        return sum(one.amount for one in self.stood)

    @property
    def invoices(self) -> frozenset[str]:
        """The invoices that hold lines of the portion."""
        return frozenset(one.line.invoice_id for one in self.stood if one.place not in ("voided", "lost"))

    @property
    def open(self) -> tuple[StandingLine, ...]:
        """Lines that may still be taken off their pending invoice, and unbilled charges that may be deleted."""
        return tuple(one.line for one in self.stood if one.place == "open")

    @property
    def fixed(self) -> Mapping[Key, int]:
        """Return the amounts that stand for good, by charge key; a line that is gone whole has none.

        One lowered to nothing has, and one in another currency, which counts as nothing: their keys are taken.
        """
        amounts: Counter[Key] = Counter()
        for one in self.stood:
            if one.place == "fixed" or (one.place != "open" and (one.amount or not one.line.line_id)):
                amounts[one.line.key] += one.amount
        return amounts

    def at(self, *places: Place) -> tuple[Stood, ...]:
        """The lines in one of these places, those of them that were left behind included."""
        return tuple(one for one in (*self.stood, *self.left_behind) if one.place in places)


def take_stock(case: BillCase, subscription_id: str, adopted: Iterable[StandingLine] = ()) -> Stand:
    """Find where every line of a portion is now; ``adopted`` ones are about to be taken over."""
    invoices = {invoice.id: invoice for invoice in case.invoices}
    ours = [line for line in case.standing if line.subscription_id == subscription_id]
    stood = tuple(_place(line, invoices.get(line.invoice_id)) for line in [*ours, *adopted])
    settled = case.settled.get(subscription_id, 0)
    gone = sum(one.line.amount - one.amount for one in stood)
    # Negative: a person took lines off for a withdrawn bill. Those that show as gone count nothing anyway.
    return Stand(stood, settled if settled >= 0 else min(0, settled + max(0, gone)))


def left_behind(case: BillCase, wanted: Collection[Key]) -> tuple[Stood, ...]:
    """Find lines that went away while they were another subscription's than they are ``wanted`` for.

    Their money may be paid all the same, or a person took it off: that the line has another
    subscription by now is no reason to charge it again.
    """
    names = _uncharged(case, wanted)
    others = [one for one in case.standing if one.key[2] in names and not one.carried]
    invoices = {invoice.id: invoice for invoice in case.invoices} if others else {}
    stood = [_place(line, invoices.get(line.invoice_id)) for line in others]
    return tuple(one for one in stood if one.place in AWAY)


def taken_off(case: BillCase, wanted: Collection[Key]) -> str:
    """Find whose lines a person took off that are ``wanted`` for another subscription by now; empty if nobody's."""
    if not case.undone:
        return ""
    names = _uncharged(case, wanted)
    return next((owner for owner, lines in case.undone.items() if names & {*lines.values()}), "")


def _uncharged(case: BillCase, wanted: Collection[Key]) -> set[str]:
    """The identities of wanted charges that do not stand for their own subscription."""
    charged = {one.key for one in case.standing}
    return {key[2] for key in wanted if key not in charged}


def paid_by(case: BillCase, stand: Stand) -> frozenset[str]:
    """The customers on whose invoices the lines stand; empty where nobody knows."""
    customers = {invoice.id: invoice.customer_id for invoice in case.invoices}
    held = [one.line for one in stand.stood if one.amount > 0 and one.place != "open"]
    return frozenset(filter(None, (customers.get(line.invoice_id) or line.customer_id for line in held)))


def in_currency(stand: Stand, currency: str) -> Stand:
    """The same lines, those in another currency counted as nothing: amounts of two currencies have no sum."""
    return replace(
        stand, stood=tuple(one if one.line.currency == currency else replace(one, amount=0) for one in stand.stood)
    )


def _place(line: StandingLine, invoice: Invoice | None) -> Stood:
    match line.draft:
        case "transit" | "ambiguous":
            return Stood(line, line.draft, line.amount)
        case "lost":
            return Stood(line, "lost", 0)
        case "found":
            pass
    if is_unbilled(line.invoice_id) and line.line_id:  # in sight as such in this run: else it is in transit
        return Stood(line, "open" if line.movable else "fixed", line.amount)
    if invoice is None or not line.line_id:
        return Stood(line, "fixed", line.amount)
    if invoice.status in GONE:
        return Stood(line, "voided", 0)
    if line.carried:
        here = not invoice.strong or any(found.id == line.line_id for found in invoice.lines)
        return Stood(line, "fixed" if here else "changed", line.amount if here else 0)
    if invoice.strong:
        left = sum(found.amount for found in invoice.lines if found.id == line.line_id)
        if left != line.amount:
            return Stood(line, "changed", left)
    return Stood(line, "open" if invoice.status == "pending" and line.movable else "fixed", line.amount)
