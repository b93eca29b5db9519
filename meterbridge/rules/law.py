"""The law of money: no write of ours makes a bill's excess positive, or more positive.

Excess = standing + in flight - wanted. A portion's new charges leave if the bill has
room for them, or once removals and credits of other portions are proven that make the
room. What has no room waits, whole portions at a time. While anything of the bill stands
under another payer or in another currency nothing positive of it leaves. The only way
round is a release that a person recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from meterbridge.rules.money import amount_text
from meterbridge.rules.offsets import View
from meterbridge.rules.records import BillCase, Decision, Intent, Key, Quarantined, Ref, StandingLine, Waiting

CHARGES = ("charge", "charge_set")
LOWERS = ("charge_removal", "credit")
OVERDRAWN = "MB-BILL-OVERDRAWN"


@dataclass(frozen=True, slots=True)
class Account:
    """A bill's account, amounts in minor units."""

    case: BillCase
    views: Sequence[View]

    @property
    def wanted(self) -> int:
        """The bill's rounded total."""
        return sum(view.portion.total for view in self.views)

    @property
    def standing(self) -> int:
        """Our lines and credits on any invoice, what persons settled, and what this bill's surplus took off others."""
        return sum(view.stand.total - view.stand.elsewhere for view in self.views)

    @property
    def in_flight(self) -> int:
        """Writes whose answer never came: each may have been booked. One whose line was found counts as standing."""
        known = {line.key for line in self.case.standing}
        found = {one.line.key for view in self.views for one in view.stand.stood} - known
        return sum(one.amount for one in self.case.in_flight if one.key not in found)

    @property
    def room(self) -> int:
        """How much may still be charged; negative where the bill is charged too much already."""
        return self.wanted + self.case.released - self.standing - self.in_flight

    def room_beside(self, apart: Sequence[StandingLine]) -> int:
        """How much may be charged while lines stand ``apart``: what was released, less what stands where it belongs."""
        elsewhere = sum(line.amount for line in apart if line.currency == self.case.bill.currency)
        return min(self.room, self.case.released - max(0, self.standing - elsewhere))

    def ceiling(self, decisions: Iterable[Decision]) -> int:
        """The most that the ledger's own sum for the bill may be after any write.

        That sum knows nothing of lines that vanished at Chargebee, so it may lie above what stands.
        """
        taken = [one for one in decisions if isinstance(one, Intent) and one.action == "adopt"]
        replaced = {one.key for one in taken}
        standing = (line for line in self.case.standing if line.key not in replaced)
        noted = sum(line.amount for line in standing if not line.carried or line.amount > 0)
        noted += sum(self.case.settled.values()) + self.in_flight
        for one in taken:
            noted += (one.amount or 0) + sum(part["amount"] for part in one.state.get("carried", ()))
        return noted + self.room


@dataclass(frozen=True, slots=True)
class _Share:
    """The writes that are decided for one portion; amounts in minor units.

    ``under_way`` are keys of charges that were sent already and have no answer yet.
    """

    key: Key
    intents: tuple[Intent, ...]
    under_way: frozenset[Key]

    @property
    def adds(self) -> int:
        """New charges, without those that are under way."""
        return sum(one.amount or 0 for one in self.intents if _is_new(one) and one.key not in self.under_way)

    @property
    def need(self) -> int:
        """Room that the portion takes once all of it is done; negative where it makes room."""
        return self.adds - sum(_freed(one) for one in self.intents)

    @property
    def refs(self) -> tuple[Ref, ...]:
        """What must be proven before the room that the portion makes is there."""
        return tuple(Ref(one.kind, one.key) for one in self.intents if one.kind in LOWERS)


def keep(account: Account, decisions: Sequence[Decision]) -> list[Decision]:
    """Let leave what the bill has room for, after what makes the room, and hold the rest.

    Every charge that leaves carries the ceiling that the sender compares with the ledger right before the write.
    """
    removals = {one.key: Ref(one.kind, one.key) for one in decisions if isinstance(one, Intent)}
    apart = [line for line in _elsewhere(account) if line.amount]
    staying = [line for line in apart if (*line.key, line.line_id) not in removals]
    strange = bool(staying) or any(_is_apart(account.case, one.currency, one.payer) for one in account.case.in_flight)
    apart_gone = [removals[*line.key, line.line_id] for line in apart if line not in staying]
    needed = [*apart_gone]
    shares = _shares(account, decisions)
    freeing = [one for one in shares if one.need < 0]
    used: list[_Share] = []
    left = account.room_beside(apart) if strange else account.room
    held: dict[Key, _Share] = {}
    after: dict[Key, tuple[Ref, ...]] = {}
    for share in (one for one in shares if one.adds > 0):
        others = [one for one in freeing if one is not share and one not in used]
        while share not in used and share.need > left and others:
            used.append(others.pop(0))
            left -= used[-1].need
            needed += used[-1].refs
        fits = left >= 0 if share in used else share.need <= left
        if not fits or (strange and not account.case.released):
            held[share.key] = share
            freeing = [one for one in freeing if one is not share]
            if share in used:  # it makes no room for anybody
                used.remove(share)
                left += share.need
                needed = [ref for ref in needed if ref not in share.refs]
            continue
        if share not in used:
            left -= share.need
            if share.need < 0:
                used.append(share)
                needed += share.refs
        after[share.key] = tuple(needed)
    if any(ref in apart_gone for share in held.values() for ref in share.refs):  # what stands apart does not go
        held = {share.key: share for share in shares if share.adds > 0}
    told = {key: _held(account, share, staying if strange else []) for key, share in held.items()}
    return _bound(decisions, told, after, account.ceiling(decisions))


def _shares(account: Account, decisions: Iterable[Decision]) -> list[_Share]:
    by_portion: dict[Key, list[Intent]] = {}
    for one in decisions:
        if isinstance(one, Intent) and one.kind in (*CHARGES, *LOWERS):
            by_portion.setdefault(one.key[:2], []).append(one)
    under_way = frozenset(one.key for one in account.case.in_flight)
    return [_Share(key, tuple(own), under_way) for key, own in by_portion.items()]


def _is_new(intent: Intent) -> bool:
    """True if the intent books money that does not stand yet."""
    return intent.kind in CHARGES and intent.action != "adopt"


def _freed(intent: Intent) -> int:
    """Return what the bill is charged less once a removal or a credit is done."""
    return abs(intent.amount or 0) if intent.kind in LOWERS else 0


def _elsewhere(account: Account) -> list[StandingLine]:
    """Lines of the bill that stand under another payer or in another currency."""
    customers = {invoice.id: invoice.customer_id for invoice in account.case.invoices}
    shown = {line.id for invoice in account.case.invoices for line in invoice.lines}
    return [
        one.line
        for view in account.views
        for one in view.stand.stood
        if one.place not in ("voided", "lost")
        and (one.place != "changed" or one.line.line_id in shown)
        and _is_apart(account.case, one.line.currency, customers.get(one.line.invoice_id) or one.line.customer_id)
    ]


def _is_apart(case: BillCase, currency: str, payer: str | None) -> bool:
    """True if money in that currency, on an invoice of that customer, is not where the bill's other money goes."""
    return currency != case.bill.currency or bool(payer and case.payers and payer not in case.payers)


def _held(account: Account, share: _Share, staying: Sequence[StandingLine]) -> Quarantined | Waiting:
    """Say why a portion's writes do not leave."""
    bill, owner = account.case.bill, share.key[1]
    amount, money = share.need, amount_text(share.adds, bill.currency)
    if staying:
        where = ", ".join(
            f"{amount_text(line.amount, line.currency)} on invoice {line.invoice_id or 'none'}" for line in staying
        )
        why = f"bill {bill.id} stands under another payer or currency ({where})"
        message = f"{why}: {money} for subscription {owner} wait until nothing stands there any more"
        return Quarantined("charge", share.key, OVERDRAWN, message, amount, bill.currency, bill.version)
    if account.in_flight:
        why = f"{money} for subscription {owner} wait: writes of bill {bill.id} have no answer yet"
        return Waiting("charge", share.key, f"{why}; their outcome is found out first", amount, bill.currency)
    wanted, standing = amount_text(account.wanted, bill.currency), amount_text(account.standing, bill.currency)
    message = f"bill {bill.id} wants {wanted} and {standing} stand: {money} for subscription {owner} would be too much"
    return Quarantined("charge", share.key, OVERDRAWN, message, amount, bill.currency, bill.version)


def _bound(
    decisions: Sequence[Decision],
    held: Mapping[Key, Quarantined | Waiting],
    after: Mapping[Key, tuple[Ref, ...]],
    top: int,
) -> list[Decision]:
    """Put what is held in the place of its writes, and bind the others to what must be done first."""
    told: list[Decision] = []
    for one in decisions:
        portion = one.key[:2]
        if portion in held and not (isinstance(one, Intent) and one.action == "adopt"):
            if held[portion] not in told:
                told.append(held[portion])
        elif isinstance(one, Intent) and _is_new(one):
            first = tuple(dict.fromkeys((*one.depends_on, *after.get(portion, ()))))
            told.append(replace(one, depends_on=first, payload={**one.payload, "ceiling": top}))
        else:
            told.append(one)
    return told
