"""Money of a bill that stands for one subscription and is wanted for another: it cancels before anything is sent.

A bill has one total. Where one portion has too much that no removal can bring down and
another one too little, sending the second would charge the customer beyond that total.
So the two are set against each other first, and each is decided by what is left of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.deltas import replan
from meterbridge.rules.money import amount_text
from meterbridge.rules.portions import NOBODY, Portion
from meterbridge.rules.records import BillCase, Decision, Intent, Quarantined, Unchanged, Waiting
from meterbridge.rules.standing import Stand

Why = Literal["moved", "netted", "overdrawn"]


@dataclass(frozen=True, slots=True)
class View:
    """A portion with what stands for it.

    ``taken`` are adoptions that were decided already, ``conflict`` is why the portion cannot be
    decided at all. ``undecided`` is true while nobody knows what became of a call for it.
    """

    portion: Portion
    stand: Stand
    taken: tuple[Intent, ...] = ()
    conflict: Quarantined | None = None
    undecided: bool = False

    @property
    def delta(self) -> int:
        """Wanted less standing, in minor units."""
        return self.portion.total - self.stand.total


@dataclass(frozen=True, slots=True)
class Offset:
    """``amount`` (> 0, minor units) that stands for ``giver`` and counts for ``receiver``; both are subscription ids.

    ``moved``: the very line changed its subscription. ``netted``: by the setting
    ``net_across_subscriptions``. ``overdrawn``: nobody has allowed it, so both sides of it wait for a person.
    """

    giver: str
    receiver: str
    amount: int
    why: Why


def offsets(case: BillCase, policy: BillPolicy, views: Sequence[View]) -> list[Offset]:
    """Set what portions have too much for good against what is to be sent for others, in the bill's own order.

    What a person released is kept out of it: the latest offsets are lowered by it first. What is open of lines that no
    subscription takes makes up for as much too much: that much need not wait with it.
    """
    decided = {view.portion.subscription_id: view for view in views if not view.undecided and view.conflict is None}
    plans = {owner: replan(view.portion, view.stand, case.bill.id) for owner, view in decided.items() if view.delta}
    excess = {owner: -plan.rest for owner, plan in plans.items() if plan.rest < 0}
    room = {owner: sum(one.amount for one in plan.creations) for owner, plan in plans.items() if plan.creations}
    too_much = sum(excess.values())
    found: list[Offset] = []

    def take(giver: str, receiver: str, most: int, why: Why) -> None:
        amount = min(most, excess[giver], room[receiver])
        if amount > 0:
            excess[giver] -= amount
            room[receiver] -= amount
            found.append(Offset(giver, receiver, amount, why))

    for giver in excess:
        for receiver in room:
            take(giver, receiver, _same_lines(decided[giver], decided[receiver]), "moved")
    why: Why = "netted" if policy.net_across_subscriptions else "overdrawn"
    for giver in excess:
        if why == "netted" or not _is_credited(decided[giver], policy):
            for receiver in room:
                take(giver, receiver, excess[giver], why)
    found = _lowered(found, sum(one.amount for one in found) - max(0, too_much - case.released))
    open_lines = sum(max(0, view.delta) for view in views if view.portion.subscription_id == NOBODY)
    needed = max(0, too_much - case.released - open_lines)
    cancelled = [one for one in found if one.why != "overdrawn"]
    waiting = [one for one in found if one.why == "overdrawn"]
    return [*cancelled, *_lowered(waiting, sum(one.amount for one in found) - needed)]


def _same_lines(giver: View, receiver: View) -> int:
    """Return the amount of the receiver's lines that stand for the giver under the same identity."""
    kept = {one.key: one.amount for one in giver.portion.wanted}
    over: Mapping[str, int] = {
        key[2]: amount - kept.get(key, 0) for key, amount in giver.stand.fixed.items() if amount > kept.get(key, 0)
    }
    fixed = receiver.stand.fixed
    return sum(
        min(one.amount - fixed.get(one.key, 0), over.get(one.key[2], 0))
        for one in receiver.portion.wanted
        if one.amount > fixed.get(one.key, 0)
    )


def _is_credited(view: View, policy: BillPolicy) -> bool:
    """True if a credit of ours is to give the portion's surplus back."""
    if view.stand.stood or view.stand.settled:
        return policy.negative_delta == "credit_note"
    return policy.negative == "promotional_credit"


def _lowered(found: list[Offset], released: int) -> list[Offset]:
    """Take what may leave all the same off the latest offsets."""
    left: list[Offset] = []
    for one in reversed(found):
        taken = max(0, min(released, one.amount))
        released -= taken
        if taken < one.amount:
            left.insert(0, replace(one, amount=one.amount - taken))
    return left


def with_offsets(view: View, found: Sequence[Offset]) -> View:
    """The view with what stands elsewhere for it counted in, and what stands here for others counted out."""
    owner = view.portion.subscription_id
    amount = sum(one.amount for one in found if one.receiver == owner)
    amount -= sum(one.amount for one in found if one.giver == owner)
    return replace(view, stand=replace(view.stand, elsewhere=amount)) if amount else view


def say_offsets(case: BillCase, view: View, found: Sequence[Offset], decided: list[Decision]) -> list[Decision]:
    """Say where a portion's money stands, and set aside what nobody has allowed to cancel.

    One portion has one reason: what is overdrawn is added to what the portion waits or is set aside for already.
    """
    owner, currency = view.portion.subscription_id, case.bill.currency
    own = [one for one in found if owner in (one.giver, one.receiver)]
    if not own:
        return decided
    words = "; ".join(_words(one, owner, currency) for one in own)
    amount = sum(one.amount if one.receiver == owner else -one.amount for one in own if one.why == "overdrawn")
    key = (case.bill.id, owner)
    if not amount:
        said = f"bill {case.bill.id}: {words}"
        return [replace(one, reason=said) if isinstance(one, Unchanged) else one for one in decided]
    for index, one in enumerate(decided):
        if isinstance(one, Quarantined):
            decided[index] = replace(one, message=f"{one.message}; {words}", amount=(one.amount or 0) + amount)
            return decided
        if isinstance(one, Waiting):
            decided[index] = replace(one, reason=f"{one.reason}; {words}", amount=one.amount + amount)
            return decided
    message = f"bill {case.bill.id}: {words}"
    aside = Quarantined("charge", key, "MB-BILL-OVERDRAWN", message, amount, currency, case.bill.version)
    return [*(one for one in decided if not isinstance(one, Unchanged)), aside]


def _words(one: Offset, owner: str, currency: str) -> str:
    money = amount_text(one.amount, currency)
    if one.why == "overdrawn" and owner == one.receiver:
        why = f"would exceed the bill's total: subscription {one.giver} has as much too much"
        return f"{money} for subscription {owner} {why}"
    if one.why == "overdrawn":
        return f"{money} too much of subscription {owner} wait with what is missing of subscription {one.receiver}"
    moved = "the line moved" if one.why == "moved" else "netted across subscriptions"
    if owner == one.receiver:
        return f"{money} of subscription {owner} stand for subscription {one.giver} ({moved})"
    return f"{money} of subscription {owner} count for subscription {one.receiver} ({moved})"
