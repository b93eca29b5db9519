"""Which subscription each bill line is charged to.

A line with a plan belongs to the subscription whose account plan covers it. Where two cover it
one after the other, a charge for time is cut between them, any other goes to the one that has
the larger part of its time. A line of a plan that nobody here attached (by hand, in a group) goes
to the account's only subscription, else to the main one. A line without one (prepayment or
balance drawn down, memos, minimum spend, ad hoc) belongs to the bill: it follows the line it
refers to or the one subscription of its product, else it is allocated, so that no bill waits
only because such a line names no subscription.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from itertools import pairwise

from meterbridge.rules.bill_lines import Placed, identities, match_charge, service_period
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.money import exact_sum
from meterbridge.rules.records import BillCase, BillLine, PlacedPlan

Period = tuple[datetime, datetime]

FOR_TIME = ("STANDING_CHARGE",)
"""Line types whose amount is for time alone, so that it can be cut by time."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A bill line that has no one subscription, why, and the subscriptions that it could belong to."""

    line: BillLine
    why: str
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    """A line that has an amount, its identity and its service period [start, end)."""

    line: BillLine
    identity: str
    period: Period
    told: str = ""


@dataclass(slots=True)
class _Placing:
    """One bill at work; ``exponent`` is the number of decimal places that Chargebee counts its currency in."""

    case: BillCase
    policy: BillPolicy
    exponent: int
    placed: list[tuple[_Row, str, Decimal]] = field(default_factory=list)
    unplaced: list[Unplaced] = field(default_factory=list)

    def put(self, row: _Row, found: Sequence[str]) -> None:
        """Place the line on its only candidate, or say why it has none."""
        why = _why_not(found, self.case)
        if why:
            self.unplaced.append(Unplaced(row.line, why, tuple(found)))
        else:
            self.placed.append((row, found[0], row.line.amount))

    def put_of_plan(self, row: _Row) -> None:
        """Place a line that belongs to a plan."""
        fitting = _fitting(row.line, row.period, self.case)
        found = sorted({plan.subscription_id for plan in fitting})
        if len(found) < 2:
            self.put(*((row, found) if found else self._of_account(row)))
            return
        parts = _one_after_the_other(fitting, row.period)
        if parts is None:
            main = _main(row.line, self.case, self.policy)
            self.put(row, [main] if main in found else found)
        elif row.line.line_item_type in FOR_TIME and all(name in self.case.subscriptions for name in parts):
            self._cut(row, parts)
        else:
            largest = min(parts, key=lambda name: (parts[name][0] - parts[name][1], name))
            told = f"line {row.line.id} is of {', '.join(found)}, one after the other: {largest} has most of its time"
            self.put(replace(row, told=told), [largest])

    def _of_account(self, row: _Row) -> tuple[_Row, Sequence[str]]:
        """A line of a plan that no account plan of ours is on: by the account's subscriptions, else by the setting."""
        line, billed = row.line, self.case.bill.account_id
        for account_id in dict.fromkeys((line.child_account_id or billed, billed)):
            own = [plan for plan in self.case.plans if plan.account_id == account_id]
            if any(plan.plan_id == line.plan_id for plan in own):
                return row, []  # one of ours, at another time: whose it was then nobody knows
            names = sorted({plan.subscription_id for plan in own if _overlaps(plan, *row.period)})
            if names:
                break
        else:
            return row, []
        main = _main(line, self.case, self.policy)
        if len(names) > 1 and main is None:
            return row, names
        owner = names[0] if len(names) == 1 else str(main)
        why = "the account's only subscription" if len(names) == 1 else "the main subscription"
        told = f"line {line.id} is of a plan that no subscription item is mapped to: {owner} is {why}"
        return replace(row, told=told), [owner]

    def _cut(self, row: _Row, parts: Mapping[str, Period]) -> None:
        """Cut a charge for time where one subscription's account plans end and the next one's begin; exact."""
        unit = Decimal(1).scaleb(-self.exponent)
        whole = int((abs(row.line.amount) / unit).to_integral_value(ROUND_DOWN))
        sign = 1 if row.line.amount > 0 else -1
        lengths = {name: (end - start) // timedelta(seconds=1) for name, (start, end) in parts.items()}
        shares = {name: sign * unit * share for name, share in _in_proportion(whole, lengths).items()}
        if not shares:
            shares = {name: Decimal(0) for name in lengths}
        longest = min(lengths, key=lambda name: (-lengths[name], name))
        shares[longest] += row.line.amount - exact_sum(list(shares.values()))
        told = f"line {row.line.id} is cut between {', '.join(sorted(parts))} where their account plans end and begin"
        for name, amount in sorted(shares.items()):
            if amount:
                self.placed.append((replace(row, period=parts[name], told=told), name, amount))

    def put_of_bill(self, row: _Row) -> None:
        """Place a line that belongs to the bill and to no plan."""
        found = self._referred(row.line) or self._candidates(row)
        if len(found) > 1:
            found = self._of_product(row.line, found) or found
        main = _main(row.line, self.case, self.policy)
        taking = self.policy.bill_level_lines == "main" or row.line.amount > 0
        if main and (not found or (len(found) > 1 and taking)):
            found = [main]
        own = found[0] if len(found) == 1 else None
        if self.policy.bill_level_lines != "allocate" or not found or (own and row.line.amount > 0):
            self.put(row, found)
            return
        known = self.case.subscriptions
        among = {*found, *(self._candidates(row) if own in known else ())}
        found = sorted(name for name in among if name in known and known[name].currency == self.case.bill.currency)
        amounts = {name: max(Decimal(0), amount) for name, amount in self._sums(found or sorted(among)).items()}
        if len(amounts) < 2 or (own and own not in amounts):
            self.put(row, [own] if own else list(amounts))
        elif row.line.amount > 0:
            self.put(row, [min(amounts, key=lambda name: (-amounts[name], name))])
        else:
            for owner, part in self._shares(row.line, amounts, own):
                self.placed.append((row, owner, part))

    def _referred(self, line: BillLine) -> list[str]:
        """The subscription of the line that this one refers to, where that one was placed whole."""
        if line.referenced_line_id is None:
            return []
        return sorted({owner for row, owner, _ in self.placed if row.line.id == line.referenced_line_id})[:2]

    def _candidates(self, row: _Row) -> list[str]:
        """Subscriptions that the line could belong to: those of the bill's other lines, else by the account plans."""
        child = row.line.child_account_id
        plans = [plan for plan in self.case.plans if plan.account_id == child] or list(self.case.plans)
        own = {plan.subscription_id for plan in plans}
        seen = {owner for placed, owner, _ in self.placed if placed.line.plan_id and (child is None or owner in own)}
        living = {plan.subscription_id for plan in plans if _overlaps(plan, *row.period)}
        return sorted(seen or living or own)

    def _of_product(self, line: BillLine, among: Sequence[str]) -> list[str]:
        """The one subscription with charges of the line's product, if there is exactly one."""
        name = _product(line)
        having = {owner for row, owner, _ in self.placed if row.line.plan_id and _product(row.line) == name}
        return [owner for owner in among if owner in having] if name and len(having) == 1 else []

    def _sums(self, owners: Sequence[str], product: str | None = None) -> dict[str, Decimal]:
        """What each subscription is charged so far, of one product if so asked; major units, unrounded."""
        parts: dict[str, list[Decimal]] = {owner: [] for owner in owners}
        for row, owner, amount in self.placed:
            if owner in parts and (product is None or _product(row.line) == product):
                parts[owner].append(amount)
        return {owner: exact_sum(amounts) for owner, amounts in parts.items()}

    def _shares(self, line: BillLine, amounts: Mapping[str, Decimal], own: str | None) -> list[tuple[str, Decimal]]:
        """Allocate a negative line in proportion: over charges of its own product first, then over all.

        One that has an ``own`` subscription comes off that one's charges first, and stays with it beyond all charges.
        """
        unit = Decimal(1).scaleb(-self.exponent)
        rooms = {name: int((amount / unit).to_integral_value(ROUND_DOWN)) for name, amount in amounts.items()}
        whole = int((-line.amount / unit).to_integral_value(ROUND_DOWN))
        near: dict[str, int] = {}
        if _product(line):
            same = self._sums(list(rooms), _product(line))
            near = {
                name: max(0, min(rooms[name], int((amount / unit).to_integral_value(ROUND_DOWN))))
                for name, amount in same.items()
            }
        if own:
            near = {own: max(rooms[own], whole - sum(rooms.values()) + rooms[own])}
        shares = allocate(whole, [near, rooms])
        parts = {name: -unit * share for name, share in shares.items() if share}
        rest = line.amount - exact_sum(list(parts.values()))
        if rest:  # digits beyond the minor unit stay together, where there is room for them
            first = min(shares, key=lambda name: (-shares[name], -rooms[name], name))
            parts[first] = parts.get(first, Decimal(0)) + rest
        return list(parts.items())


def allocate(amount: int, rooms: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Allocate ``amount`` (minor units, not negative) in proportion, by largest remainder, equals by name.

    Args:
        amount: What is to be allocated.
        rooms: How much each name takes, nearest group first; a later group holds every name and
            includes the earlier ones' room. What no room takes goes to the last group all the same.

    >>> allocate(60, [{}, {"a": 30, "b": 50}])
    {'a': 23, 'b': 37}
    >>> allocate(60, [{"b": 50}, {"a": 30, "b": 50}])
    {'a': 10, 'b': 50}
    """
    shares = dict.fromkeys(sorted(rooms[-1]), 0)
    left = amount
    for group in rooms:
        free = {name: room - shares[name] for name, room in sorted(group.items()) if room > shares[name]}
        for name, share in _in_proportion(min(left, sum(free.values())), free).items():
            shares[name] += share
            left -= share
    for name, share in _in_proportion(left, {name: max(1, room) for name, room in sorted(rooms[-1].items())}).items():
        shares[name] += share
    return shares


def _in_proportion(amount: int, weights: Mapping[str, int]) -> dict[str, int]:
    if not amount:
        return {}
    total = sum(weights.values())
    shares = {name: amount * weight // total for name, weight in weights.items()}
    short = amount - sum(shares.values())
    lost = sorted(weights, key=lambda name: (-(amount * weights[name] % total), name))
    for name in lost[:short]:
        shares[name] += 1
    return shares


def place_lines(case: BillCase, policy: BillPolicy, exponent: int) -> tuple[list[Placed], list[Unplaced]]:
    """Give every line that has an amount its subscription and charge target, in the bill's own order.

    A negative line of the bill may come back in parts, one for each subscription; the
    parts sum to it exactly.
    """
    bill = case.bill
    named = sorted(
        zip(bill.lines, identities(bill.lines), strict=True), key=lambda row: (row[0].sequence, row[0].id, row[1])
    )
    work = _Placing(case, policy, exponent)
    rows: list[_Row] = []
    for line, identity in named:
        period = service_period(line, bill)
        if not line.amount:
            continue
        if period is None:
            work.unplaced.append(Unplaced(line, "neither it nor its bill has a service period"))
        else:
            rows.append(_Row(line, identity, period))
    for row in rows:
        if row.line.plan_id:
            work.put_of_plan(row)
    of_bill = [row for row in rows if not row.line.plan_id]
    for row in sorted(of_bill, key=lambda one: one.line.amount < 0):
        work.put_of_bill(row)
    order = {row.identity: place for place, row in enumerate(rows)}
    parts = sorted(work.placed, key=lambda part: order[part[0].identity])
    return [_placed(row, owner, amount, case, policy) for row, owner, amount in parts], work.unplaced


def _placed(row: _Row, owner: str, amount: Decimal, case: BillCase, policy: BillPolicy) -> Placed:
    rule = match_charge(row.line, policy.charges, case.bill.currency)
    line = row.line if amount == row.line.amount else replace(row.line, amount=amount)
    return Placed(line, row.identity, owner, rule.item_price if rule else None, *row.period, row.told)


def _why_not(found: Sequence[str], case: BillCase) -> str:
    if not found:
        return "no account plan of a Chargebee subscription covers it"
    if len(found) > 1:
        return f"it could belong to {len(found)} subscriptions: {', '.join(found)}"
    if found[0] not in case.subscriptions:
        return f"its subscription {found[0]} is not known at Chargebee"
    return ""


def _fitting(line: BillLine, period: Period, case: BillCase) -> list[PlacedPlan]:
    """The account plans that cover the line, of its own account or else of the billed one."""
    fitting = [plan for plan in case.plans if plan.plan_id == line.plan_id and _overlaps(plan, *period)]
    # A child account without a plan of its own is rated, and billed, under its parent's.
    for account_id in dict.fromkeys((line.child_account_id or case.bill.account_id, case.bill.account_id)):
        found = [plan for plan in fitting if plan.account_id == account_id]
        if found:
            return found
    return []


def _one_after_the_other(plans: Sequence[PlacedPlan], period: Period) -> dict[str, Period] | None:
    """By subscription the part of the period that its account plans cover; None where two of them share any time."""
    spans: dict[str, Period] = {}
    for plan in plans:
        start, end = max(plan.start, period[0]), min(plan.end or period[1], period[1])
        known = spans.get(plan.subscription_id, (start, end))
        spans[plan.subscription_id] = (min(known[0], start), max(known[1], end))
    in_order = sorted(spans.values())
    if any(later[0] < earlier[1] for earlier, later in pairwise(in_order)) or any(a == b for a, b in in_order):
        return None
    return spans


def _main(line: BillLine, case: BillCase, policy: BillPolicy) -> str | None:
    """The subscription that the settings name for the line's account, or for its bill's."""
    names = (line.child_account_id or case.bill.account_id, case.bill.account_id, case.bill.customer_id)
    return next((policy.main_subscription[name] for name in names if name in policy.main_subscription), None)


def _product(line: BillLine) -> str | None:
    return line.product_id or line.product_code


def _overlaps(plan: PlacedPlan, start: datetime, end: datetime) -> bool:
    if start == end:
        return plan.start <= start and (plan.end is None or plan.end > start)
    return plan.start < end and (plan.end is None or plan.end > start)


def could_lower(unplaced: Iterable[Unplaced]) -> bool:
    """Return True if lines without a subscription could lower what another one is charged, however they fall.

    Lines of one plan and account with the same candidates fall together; each such group must not be negative.
    """
    groups: dict[tuple[str | None, str | None, tuple[str, ...]], list[Decimal]] = defaultdict(list)
    for one in unplaced:
        groups[one.line.plan_id, one.line.child_account_id, one.candidates].append(one.line.amount)
    return any(exact_sum(amounts) < 0 for amounts in groups.values())
