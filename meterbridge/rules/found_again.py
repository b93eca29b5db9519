"""What stands for a portion at Chargebee and is not in the ledger: found, taken over, and counted with the rest.

A ledger lacks what was sent since it was backed up, and what another copy of it sent. The bill's own
charges are looked for among the lines that nobody owns, and so are its corrections. A line of the ledger that is
gone, with its invoice or alone, may have been replaced by one of the same reference: then that one takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from meterbridge.rules.adoption import Conflict, Target, adopt
from meterbridge.rules.deltas import corrections_that_stand
from meterbridge.rules.portions import Portion
from meterbridge.rules.recall import Recalled, recall
from meterbridge.rules.records import BillCase, Key, StandingLine
from meterbridge.rules.standing import AWAY, take_stock


@dataclass(frozen=True, slots=True)
class FoundAgain:
    """The case without lines that others have replaced, what is taken over, and what only a person can tell."""

    case: BillCase
    recalled: Sequence[Recalled] = ()
    conflicts: Sequence[Conflict] = ()


def find_again(case: BillCase, portion: Portion, exponent: int, mark: str = "") -> FoundAgain:
    """Find the charges of one portion that stand and that the ledger does not own.

    Lines beside what a person settled by hand are that person's, and what was undone is not looked for. A
    charge whose answer never came has a probe of its own where the ledger is trusted.
    """
    owner = portion.subscription_id
    if case.settled.get(owner) or owner in case.undone:
        return FoundAgain(case)
    stood = take_stock(case, owner).stood
    gone = {one.line.key for one in stood if one.place in AWAY and not one.amount and not one.line.carried}
    intact = {line.key for line in case.standing if line.subscription_id == owner} - gone
    targets = [Target(one.key, one.charge, one.amount) for one in portion.wanted if one.key not in intact]
    targets += corrections_that_stand(case, portion, mark, intact)
    if case.known:
        targets = [one for one in targets if one.key not in case.unproven_charges]
    adopted, conflicts = adopt(case, targets, mark)
    if conflicts:
        return FoundAgain(case, conflicts=conflicts)
    found = {one.target.key for one in adopted}
    targets = [one for one in targets if one.key in found or one.key not in gone]
    recalled = recall(case, targets, adopted, exponent, mark)
    replaced = gone & {one.intent.key for one in recalled}
    return FoundAgain(replace(case, standing=_without(case, replaced)), recalled) if recalled else FoundAgain(case)


def _without(case: BillCase, keys: set[Key]) -> tuple[StandingLine, ...]:
    return tuple(line for line in case.standing if line.key not in keys)
