"""What a lost ledger knew of charges that were lowered for another bill.

Such a charge stands at less than its bill wants, or, lowered to nothing, on no
invoice at all: the invoices alone would have it charged again. So m3ter keeps a mark
of each, a mapping of the charge's bill, and a ledger that does not know the bill
takes the lowering over with the line. The mark is made first: a ledger that is lost
between the two lowers the charge by the mark alone. One that is not lost knows that
the charge is still to be lowered, and the mark says nothing to it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meterbridge.rules.adoption import Adopted, Target
from meterbridge.rules.charge_intents import adopt_charge, adopt_netted
from meterbridge.rules.keys import canonical, key_from_text, key_text, reference
from meterbridge.rules.records import BillCase, Decision, Intent, Key, Quarantined, StandingLine, Unchanged

NETTED = "netted:"

Part = Mapping[str, Any]
"""What one bill's surplus took off a charge, as the charge's state in the ledger has it."""


def mark_of(key: Key, part: Part) -> str:
    """The mark of one lowering, as an external id in m3ter: how much, of which charge, for which bill."""
    return f"{NETTED}{part['amount']}:{reference(key)}:{part['bill_id']}"


def parts_of(case: BillCase) -> dict[str, list[Part]]:
    """By a charge's reference what lowered it, from the bill's marks; a surplus is always of the same subscription."""
    found: dict[str, list[Part]] = defaultdict(list)
    for mark in case.marks:
        if not mark.startswith(NETTED):
            continue
        amount, prefix, digits, bill_id = mark.removeprefix(NETTED).split(":", 3)
        found[f"{prefix}:{digits}"].append({"bill_id": bill_id, "amount": int(amount)})
    return found


@dataclass(frozen=True, slots=True)
class Recalled:
    """A charge that is taken over, and all that stands with it."""

    intent: Intent
    lines: tuple[StandingLine, ...]


def recall(
    case: BillCase, targets: Sequence[Target], adopted: Sequence[Adopted], exponent: int, mark: str = ""
) -> list[Recalled]:
    """Take over the lines that were found, each with what lowered it, and the charges that were lowered to nothing."""
    marks = parts_of(case)
    found = {one.target.key: one for one in adopted}
    recalled: list[Recalled] = []
    for target in targets:
        owner = target.charge.subscription_id
        parts: list[Part] = [{**part, "subscription_id": owner} for part in marks.get(reference(target.key), ())]
        one = found.get(target.key)
        if one is not None:
            line = _line(case, target, one.invoice.id, one.line.id, one.line.amount)
            intent = adopt_charge(case.bill, one, exponent, carried=parts, mark=mark)
            recalled.append(Recalled(intent, (replace(line, adopted=True), *_carried(line, parts))))
        elif parts := [part for part in parts if mark_of(target.key, part) not in case.marks_to_come]:
            intent = adopt_netted(case.bill, target.key, target.charge, carried=parts, mark=mark)
            line = _line(case, target, "", "", 0)
            recalled.append(Recalled(intent, (line, *_carried(line, parts))))
    return recalled


def lowered_lines(
    kind: str, key: Key, payload: Mapping[str, Any], state: Mapping[str, Any]
) -> list[tuple[Key, Sequence[Part]]]:
    """The charges that an intent books, each with what lowered it."""
    if kind == "charge":
        return [(key, state.get("carried", ()))]
    if kind == "charge_set":
        return [(tuple(line["key"]), line["state"].get("carried", ())) for line in payload["lines"]]
    return []


def marks_of(intents: Iterable[Intent], charges: Collection[tuple[str, Key]]) -> set[tuple[str, Key]]:
    """The marks that only these charges wait for: where such a charge is not sent, its mark must not be made."""
    waiting = (one for one in intents if (one.kind, one.key) in charges)
    return {(ref.kind, ref.key) for one in waiting for ref in one.depends_on if ref.kind == "external_mapping"}


def _line(case: BillCase, target: Target, invoice_id: str, line_id: str, amount: int) -> StandingLine:
    bill = case.bill
    owner = target.charge.subscription_id
    return StandingLine(target.key, bill.id, owner, invoice_id, line_id, amount, bill.currency, fingerprint="")


def _carried(line: StandingLine, parts: Sequence[Part]) -> list[StandingLine]:
    """What a line carries counts for its own bill as long as the line stands."""
    return [
        replace(line, key=carried_key(line.key, number), amount=part["amount"], carried=True, movable=False)
        for number, part in enumerate(parts)
    ]


def carried_key(key: Key, number: int) -> Key:
    """Under which key a part of a lowered charge stands for the charge's own bill."""
    return (key[0], key[1], canonical(["carried", key_text(key), number]))


def lowered_charge(key: Key) -> Key:
    """The charge that a part stands beside, from the part's key."""
    return key_from_text(json.loads(key[2])[1])


def agree(decisions: Sequence[Decision]) -> list[Decision]:
    """Count what lowered a recalled charge against the other bill only where that one still shows it as too much.

    Its surplus may have gone out of sight with the ledger: the bill is deleted, or the
    line is of a charge that it has no more. Counted all the same, it would be short
    of money that was never taken from it.
    """
    after = list(decisions)
    for index, one in enumerate(after):
        if isinstance(one, Intent) and one.action == "adopt" and one.state.get("carried"):
            parts = [part if _shown(after, part) else {**part, "alone": True} for part in one.state["carried"]]
            after[index] = replace(one, state={**one.state, "carried": parts})
    return after


def _shown(decisions: list[Decision], part: Part) -> bool:
    """True if the other bill has so much too much; it is then explained, and no longer set aside."""
    portion = (part["bill_id"], part["subscription_id"])
    for index, one in enumerate(decisions):
        if isinstance(one, Quarantined) and (one.key, one.code) == (portion, "MB-BILL-CHANGED"):
            left = (one.amount or 0) + part["amount"]
            if left > 0:
                continue
            words = f"{one.message}; {part['amount']} minor units of it have lowered another bill"
            decisions[index] = replace(one, amount=left, message=words) if left else Unchanged(one.kind, one.key)
            return True
    return False
