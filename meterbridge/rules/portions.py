"""From a bill's lines to what each subscription's portion of it wants, in minor units.

Lines are placed and grouped, checked against the bill's total, rounded so that
they sum exactly to it, and netted. The sum never changes on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from meterbridge.errors import RecordRefused
from meterbridge.rules.bill_lines import Charge, group_lines
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.charge_text import name_charge
from meterbridge.rules.money import apart, exact_sum, major_text, plain, round_lines
from meterbridge.rules.netting import Netted, Row, net
from meterbridge.rules.placing import Unplaced, could_lower, place_lines
from meterbridge.rules.records import BillCase, Key

NOBODY = ""
"""The subscription of a portion that no subscription takes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One charge with its amount in minor units after netting; ``notes`` say what was netted."""

    key: Key
    charge: Charge
    amount: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Portion:
    """A subscription's part of a bill: the unit that finds its invoice, waits or is quarantined alone.

    Lines that no subscription takes are a portion of their own under the subscription
    :data:`NOBODY`: ``unplaced`` minor units, ``why`` in words.
    """

    subscription_id: str
    wanted: tuple[Wanted, ...]
    unplaced: int = 0
    why: str = ""

    @property
    def total(self) -> int:
        """Minor units; negative where credits are left."""
        return sum(one.amount for one in self.wanted) + self.unplaced

    @property
    def positive(self) -> list[Key]:
        """Keys of the charges that ask for money."""
        return [one.key for one in self.wanted if one.amount > 0]


def reckon(case: BillCase, policy: BillPolicy, exponent: int) -> list[Portion]:
    """Reckon every portion of a bill, those that only stand, were settled or are under way included.

    Lines that no subscription takes hold the others back only if they could lower what those are charged.

    Raises:
        RecordRefused: MB-BILL-LINE when no line can be placed, or when those that cannot could lower
            the others; MB-BILL-TOTAL when the lines do not add up to m3ter's total.
    """
    placed, unplaced = place_lines(case, policy, exponent)
    if unplaced and (not placed or could_lower(unplaced)):
        raise RecordRefused("MB-BILL-LINE", _name_unplaced(unplaced))
    charges = group_lines(placed, policy.charge_grouping)
    _check_total(case, exponent)
    keys = [charge.key(case.bill.id) for charge in charges]
    beside = [one.line.amount for one in unplaced]
    netted = _round_and_net(charges, beside, _sent(case, keys), policy, exponent)
    notes = _notes(charges, netted, case.bill.currency, exponent)
    amounts = netted.amounts[: len(charges)]
    wanted = [Wanted(*one) for one in zip(keys, charges, amounts, notes, strict=True)]
    owners = [one.charge.subscription_id for one in wanted] + [line.subscription_id for line in case.standing]
    why = f"bill {case.bill.id}: {_name_unplaced(unplaced)}"
    left = (sum(netted.amounts[len(charges) :]), why) if unplaced else (0, "")
    owners += [*case.settled, *sorted(case.unproven_sets), *unproven_owners(case), *([NOBODY] if unplaced else [])]
    return [
        Portion(
            owner,
            tuple(one for one in wanted if one.charge.subscription_id == owner),
            *(left if owner == NOBODY else ()),
        )
        for owner in dict.fromkeys(owners)
    ]


def unproven_owners(case: BillCase) -> list[str]:
    """Subscriptions with a single charge whose answer never came."""
    return sorted({key[1] for key in case.unproven_charges})


def _sent(case: BillCase, keys: Sequence[Key]) -> list[int | None]:
    standing = {line.key: line.amount for line in case.standing if line.movable}
    return [standing.get(key) for key in keys]


def _round_and_net(
    charges: Sequence[Charge], beside: Sequence[Decimal], sent: list[int | None], policy: BillPolicy, exponent: int
) -> Netted:
    """Round to the bill's total and net; units already sent are kept where nothing was netted against them.

    A netted line stands at less than it was rounded to, so its standing amount
    would pass for another rounding and push a unit over to another subscription.
    ``beside`` are the amounts of lines without a subscription: rounded along, never netted, last in the answer.
    """
    exact = [charge.exact for charge in charges] + list(beside)

    def settle(prefer: list[int | None]) -> Netted:
        rounded = round_lines(exact, exponent, policy.rounding, [*prefer, *(None for _ in beside)])
        amounts, left = rounded[: len(charges)], rounded[len(charges) :]
        rows = [Row(one.subscription_id, one.product, amount) for one, amount in zip(charges, amounts, strict=True)]
        netted = net(rows, across_subscriptions=policy.net_across_subscriptions)
        return Netted((*netted.amounts, *left), netted.moves)

    moved = {index for move in settle([None] * len(sent)).moves for index in (move.debit, move.credit)}
    return settle([None if index in moved else amount for index, amount in enumerate(sent)])


def _name_unplaced(unplaced: Sequence[Unplaced]) -> str:
    named = [f"line {one.line.id} ({one.line.line_item_type} {one.line.description}): {one.why}" for one in unplaced]
    more = f"; and {len(named) - 3} more" if len(named) > 3 else ""
    return "; ".join(named[:3]) + more


def _check_total(case: BillCase, exponent: int) -> None:
    """Compare the unrounded sum: m3ter may round its total, but never by more than half a minor unit."""
    bill = case.bill
    total = exact_sum([line.amount for line in bill.lines])
    if bill.total is not None and apart(total, bill.total, exponent):
        message = f"lines of bill {bill.id} sum to {plain(total)} {bill.currency}, its total is {plain(bill.total)}"
        raise RecordRefused("MB-BILL-TOTAL", message)


def _notes(charges: Sequence[Charge], netted: Netted, currency: str, exponent: int) -> list[tuple[str, ...]]:
    notes: list[list[str]] = [list(charge.told) for charge in charges]
    for move in netted.moves:
        credit = charges[move.credit]
        other = ""
        if credit.subscription_id != charges[move.debit].subscription_id:
            other = f" of subscription {credit.subscription_id}"
        amount = major_text(move.amount, exponent)
        notes[move.debit].append(f"after netting -{amount} {currency} of {name_charge(credit)}{other}")
    return [tuple(note) for note in notes]
