"""Bill lines: which is which, what each is charged as, and which of them share a charge.

m3ter's line ids need not survive a recalculation: each line is named by what it is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meterbridge.rules.bill_policy import Grouping
from meterbridge.rules.keys import canonical
from meterbridge.rules.money import exact_sum
from meterbridge.rules.records import Bill, BillLine, ChargeRule, Key

CORRECTION = "correction"
"""First part of the identity of a line that brings what a closed invoice has too little."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A bill line with its subscription and charge target; [start, end) is the service period.

    ``told`` says why it is there, where its account plan does not.
    """

    line: BillLine
    identity: str
    subscription_id: str
    item_price_id: str | None
    start: datetime
    end: datetime
    told: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge to be: a bill line, or several grouped; ``exact`` in major units, unrounded."""

    identity: str
    subscription_id: str
    item_price_id: str | None
    start: datetime
    end: datetime
    lines: tuple[BillLine, ...]
    told: tuple[str, ...] = ()

    @property
    def exact(self) -> Decimal:
        """The sum of the lines, every digit kept."""
        return exact_sum([line.amount for line in self.lines])

    @property
    def product(self) -> str | None:
        """The product that all lines share by construction."""
        return self.lines[0].product_id or self.lines[0].product_code

    def key(self, bill_id: str) -> Key:
        """The charge's natural key."""
        return (bill_id, self.subscription_id, self.identity)


def is_correction(identity: str) -> bool:
    """True if a charge's identity is that of a correction line."""
    return identity.startswith(f'["{CORRECTION}",')


def identities(lines: Sequence[BillLine]) -> list[str]:
    """Name every line by what it is about, in the order given.

    Lines about the same thing are told apart by their place in the bill's own
    order. The bill's id is not repeated: it is the first part of every key.
    """
    facts = [canonical(_about(line)) for line in lines]
    seen: Counter[str] = Counter()
    names = [""] * len(lines)
    for index in sorted(range(len(lines)), key=lambda i: (lines[i].sequence, lines[i].id)):
        names[index] = canonical([*_about(lines[index]), seen[facts[index]]])
        seen[facts[index]] += 1
    return names


def _about(line: BillLine) -> list[object]:
    return [
        line.line_item_type,
        line.product_id or line.product_code,
        line.plan_id or line.plan_code,
        line.pricing_id or line.compound_aggregation_id or line.aggregation_id,
        line.segment,
        line.contract_id,
        line.charge_id or line.commitment_id or line.balance_id or line.counter_id,
        line.referenced_line_id,
        line.service_start,
        line.service_end,
        line.child_account_id,
    ]


def match_charge(line: BillLine, rules: Iterable[ChargeRule], currency: str) -> ChargeRule | None:
    """The first rule that fits the line; a field that is None fits anything.

    Codes are compared, or ids where the catalog names ids; a rule's segment
    fits when the line's segment has every one of its entries.
    """
    return next((rule for rule in rules if _fits(line, rule, currency)), None)


def _fits(line: BillLine, rule: ChargeRule, currency: str) -> bool:
    named = (
        (rule.product, (line.product_code, line.product_id)),
        (rule.plan, (line.plan_code, line.plan_id)),
        (rule.pricing, (line.pricing_code, line.pricing_id)),
        (rule.aggregation, (line.aggregation_code, line.aggregation_id)),
        (rule.compound_aggregation, (line.compound_aggregation_code, line.compound_aggregation_id)),
        (rule.line_item_type, (line.line_item_type,)),
        (rule.currency, (currency,)),
    )
    segment = rule.segment or {}
    return all(wanted is None or wanted in found for wanted, found in named) and all(
        line.segment.get(name) == value for name, value in segment.items()
    )


def service_period(line: BillLine, bill: Bill) -> tuple[datetime, datetime] | None:
    """The line's service period [start, end), else the bill's; None where neither is complete."""
    start, end = line.service_start or bill.start, line.service_end or bill.end
    return (start, end) if start is not None and end is not None and start <= end else None


def in_arrears(line: BillLine, bill: Bill) -> bool:
    """True if the line is for time already served: late usage can still change it."""
    ahead = bill.end is not None and line.service_start is not None and line.service_start >= bill.end
    return not line.in_advance and not ahead


def group_lines(placed: Sequence[Placed], grouping: Grouping) -> list[Charge]:
    """Make charges of placed lines: one each, or one per aggregation or product.

    Lines share a charge only with the same subscription, service period,
    charge item price and child account: a customer reads one period on a line.
    """
    groups: dict[tuple[str, str], list[Placed]] = {}
    for one in placed:
        groups.setdefault((one.subscription_id, _group_name(one, grouping)), []).append(one)
    return [
        Charge(
            identity,
            members[0].subscription_id,
            members[0].item_price_id,
            members[0].start,
            members[0].end,
            tuple(member.line for member in members),
            tuple(dict.fromkeys(member.told for member in members if member.told)),
        )
        for (_, identity), members in groups.items()
    ]


def _group_name(one: Placed, grouping: Grouping) -> str:
    line = one.line
    if grouping == "line":
        return one.identity
    what: list[object] = [grouping, one.subscription_id, line.product_id or line.product_code]
    if grouping == "aggregation":
        what.append(line.compound_aggregation_id or line.aggregation_id or line.line_item_type)
    return canonical([*what, one.item_price_id, one.start, one.end, line.child_account_id])
