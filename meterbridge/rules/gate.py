"""Which intended writes wait for a person's approval, and why. Decided bill by bill, before anything is recorded.

A bill is asked about as a whole: of one that is held back nothing is written at
Chargebee, and what builds on that waits along with it, as do the marks that would be
made before it. To take over a line that stands already is no write and never waits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from meterbridge.errors import RecordRefused
from meterbridge.rules.decisions import Proposal, Proposed
from meterbridge.rules.keys import change_set_hash
from meterbridge.rules.kinds import MONEY
from meterbridge.rules.money import amount_text, exponent
from meterbridge.rules.recall import marks_of
from meterbridge.rules.records import Intent, Key

GATED = MONEY
"""Kinds that the gate asks about."""

Name = tuple[str, Key]


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """The settings of the gate; caps in major units by currency, a currency without one is not capped.

    ``canary`` is how many bills a run sends before the others, 0 for all at once.
    """

    approval: bool = False
    max_per_bill: Mapping[str, Decimal] = field(default_factory=dict)
    max_total_per_run: Mapping[str, Decimal] = field(default_factory=dict)
    canary: int = 0
    three_decimal: int | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What the ledger tells: bills older than may be charged freely, bills that a rebuilt ledger doubts, unsent writes
    that a person approved and that are still the same, and bills that waited for a canary which has passed.
    """

    older: Collection[str] = ()
    doubted: Collection[str] = ()
    approved: Collection[Name] = ()
    verified: Collection[str] = ()


def propose(intents: Sequence[Intent], policy: GatePolicy, past: Past) -> Proposed:
    """Find what awaits approval, in the order: older bills, doubted ones, approval required, the two caps, the canary.

    The total is that of what would be sent in this run, so a bill that is held back
    alone does not count. Its measure is what changes on invoices: a replaced line counts with its difference.
    """
    bills: dict[str, list[Intent]] = defaultdict(list)
    for intent in intents:
        if intent.kind in GATED and intent.action != "adopt" and (intent.kind, intent.key) not in past.approved:
            bills[intent.key[0]].append(intent)
    held: dict[str, Proposal] = {}
    for bill_id, own in bills.items():
        alone = _alone(bill_id, own, policy, past)
        if alone is not None:
            held[bill_id] = alone
    free = {bill_id: own for bill_id, own in bills.items() if bill_id not in held}
    above = _above_total(free, policy)
    if above is not None:
        held |= dict.fromkeys(free, above)
    elif policy.canary:
        new = [bill_id for bill_id in free if bill_id not in past.verified]
        words = f"the first {policy.canary} bills of the run go ahead; the next run sends the others if all went well"
        held |= dict.fromkeys(new[policy.canary :], Proposal("canary", words))
    why: dict[Name, Proposal] = {
        (one.kind, one.key): held[bill_id] for bill_id, own in bills.items() if bill_id in held for one in own
    }
    why = _built_upon(intents, why)
    return Proposed(change_set_hash(one for one in intents if (one.kind, one.key) in why) if why else "", why)


def _alone(bill_id: str, own: Sequence[Intent], policy: GatePolicy, past: Past) -> Proposal | None:
    """What holds this one bill back, whatever the others are."""
    if bill_id in past.older:
        return Proposal("older", "the bill is older than the first bill date that the ledger keeps")
    if bill_id in past.doubted:
        words = "the ledger was rebuilt: what a person decided of this bill since its backup is not known"
        return Proposal("rebuilt", words)
    if policy.approval:
        return Proposal("approval", "bills_approval is required")
    for currency, amount in _net(own).items():
        cap = policy.max_per_bill.get(currency)
        if cap is not None and _exceeds(amount, currency, cap, policy):
            return Proposal("max_per_bill", f"{amount_text(amount, currency)} is above max_per_bill {cap:f} {currency}")
    return None


def _above_total(free: Mapping[str, Sequence[Intent]], policy: GatePolicy) -> Proposal | None:
    """Credits do not make room for charges: every bill counts with its size."""
    totals: Counter[str] = Counter()
    for own in free.values():
        for currency, amount in _net(own).items():
            totals[currency] += abs(amount)
    for currency, total in sorted(totals.items()):
        cap = policy.max_total_per_run.get(currency)
        if cap is not None and _exceeds(total, currency, cap, policy):
            words = f"the run's {amount_text(total, currency)} are above max_total_per_run {cap:f} {currency}"
            return Proposal("max_total_per_run", words)
    return None


def _net(own: Iterable[Intent]) -> dict[str, int]:
    """Minor units by currency that the writes add to invoices, or take off."""
    sums: Counter[str] = Counter()
    for one in own:
        sums[one.currency or ""] += one.amount or 0
    return dict(sums)


def _exceeds(amount: int, currency: str, cap: Decimal, policy: GatePolicy) -> bool:
    try:
        places = exponent(currency, three_decimal=policy.three_decimal)
    except RecordRefused:  # its scale is not proven, so nobody can say that it is below
        return True
    return abs(amount) > cap.scaleb(places)


def _built_upon(intents: Sequence[Intent], why: Mapping[Name, Proposal]) -> dict[Name, Proposal]:
    """With what depends on a write that is held back, through any number of steps, and the marks of its charges."""
    found = dict(why)
    for one in intents:
        if (one.kind, one.key) in why:
            follows = replace(why[one.kind, one.key], follows=True)
            found |= dict.fromkeys(marks_of([one], {(one.kind, one.key)}), follows)
    while True:
        more: dict[Name, Proposal] = {
            (one.kind, one.key): replace(found[ref.kind, ref.key], follows=True)
            for one in intents
            for ref in one.depends_on
            if (ref.kind, ref.key) in found and (one.kind, one.key) not in found
        }
        if not more:
            return found
        found |= more
