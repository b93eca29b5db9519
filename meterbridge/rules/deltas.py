"""What is to be done about a portion that changed after it was charged: one number, then lines.

Lines on a pending invoice are replaced until they sum to what is wanted less what
stands for good elsewhere. What a closed invoice has too little becomes one
correction line; what it has too much lowers the portion's other lines.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count

from meterbridge.rules.adoption import Target
from meterbridge.rules.bill_lines import CORRECTION, Charge, is_correction
from meterbridge.rules.keys import canonical, reference_on
from meterbridge.rules.portions import Portion, Wanted
from meterbridge.rules.records import BillCase, Key, StandingLine
from meterbridge.rules.standing import Stand


@dataclass(frozen=True, slots=True)
class Plan:
    """How a portion comes to its sum; ``rest`` (minor units) is what no line can take."""

    removals: tuple[StandingLine, ...]
    creations: tuple[Wanted, ...]
    rest: int


def replan(portion: Portion, stand: Stand, bill_id: str) -> Plan:
    """Find the lines that must go and those that must come.

    Afterwards the lines on pending invoices, what stands for good and ``rest``
    sum exactly to the portion's total. Lines that are right already stay.
    """
    fixed = stand.fixed
    fresh = [one for one in portion.wanted if one.key not in fixed and one.amount > 0]
    stands = sum(fixed.values()) + stand.settled + stand.elsewhere
    difference = portion.total - stands - sum(one.amount for one in fresh)
    if difference > 0:
        correction = _correction(portion, stand, bill_id, difference)
        return _plan(stand, [*fresh, correction] if correction else fresh, 0 if correction else difference)
    lowered, rest = _lower(fresh, -difference)
    return _plan(stand, lowered, -rest)


def correction_key(bill_id: str, subscription_id: str, number: int) -> Key:
    """The natural key of a portion's correction line; they are numbered from 0 on."""
    return (bill_id, subscription_id, canonical([CORRECTION, number]))


def correction_of(source: Charge, number: int) -> Charge:
    """A correction in the place of a charge: same subscription, same days, no charge item price."""
    return replace(source, identity=canonical([CORRECTION, number]), item_price_id=None)


def corrections_that_stand(
    case: BillCase, portion: Portion, mark: str = "", known: Collection[Key] = ()
) -> list[Target]:
    """Corrections of a portion that show on invoices by their reference, for a ledger that does not know them.

    ``known`` are those that need not be looked for: one that the ledger lacks may come after them, or after one of
    the ledger's that is gone.
    """
    if not portion.wanted:
        return []
    source = portion.wanted[0].charge
    found: list[Target] = []
    texts = [line.description for invoice in case.invoices for line in invoice.lines]
    held = {line.key for line in case.standing}
    for number in count():
        key = correction_key(case.bill.id, portion.subscription_id, number)
        if key in known:
            continue
        if not any(reference_on(text, key, mark) for text in texts):
            if key in held:
                continue
            break
        found.append(Target(key, correction_of(source, number), 0))
    return found


def _plan(stand: Stand, lines: Sequence[Wanted], rest: int) -> Plan:
    wanted = {one.key: one.amount for one in lines}
    kept = {one.line.key for one in stand.at("open") if wanted.get(one.line.key) == one.amount}
    return Plan(
        tuple(line for line in stand.open if line.key not in kept),
        tuple(one for one in lines if one.key not in kept),
        rest,
    )


def _correction(portion: Portion, stand: Stand, bill_id: str, amount: int) -> Wanted | None:
    """The one line that brings a closed invoice's shortfall; None where no charge says what it is for."""
    if not portion.wanted:
        return None
    fixed = stand.fixed
    number = sum(is_correction(key[2]) for key in fixed)
    gains = {one.key: one.amount - fixed.get(one.key, 0) for one in portion.wanted if one.key in fixed}
    source = max(portion.wanted, key=lambda one: (gains.get(one.key, 0), one.amount))
    note = "the difference to what stands on closed invoices"
    key = correction_key(bill_id, portion.subscription_id, number)
    return Wanted(key, correction_of(source.charge, number), amount, (note,))


def _lower(lines: Sequence[Wanted], by: int) -> tuple[list[Wanted], int]:
    """Take what stands too much elsewhere off these lines, the earlier first; also what is left over."""
    lowered: list[Wanted] = []
    for one in lines:
        taken = min(by, one.amount)
        by -= taken
        if taken < one.amount:
            note = (f"less {taken} minor units that stand elsewhere",) if taken else ()
            lowered.append(replace(one, amount=one.amount - taken, notes=one.notes + note))
    return lowered, by
