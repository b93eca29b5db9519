"""What a closed invoice has too much of lowers the same subscription's charges of other bills.

Chargebee books no negative line, so the surplus of one bill is taken off a new
line of another one, wherever that one goes: on a draft, on an invoice of its own, unbilled.
Both bills' sums stay exact: the line carries the surplus, which counts for the one and
against the other as long as the line stands. The line says so to whoever reads the invoice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from meterbridge.rules.charge_sets import set_key
from meterbridge.rules.charge_text import with_remark
from meterbridge.rules.keys import fingerprint
from meterbridge.rules.money import exponent, major_text
from meterbridge.rules.payloads import DecidedOn
from meterbridge.rules.records import Decision, Intent, Key, Quarantined, Waiting

FACTS = ("method", "amount", "currency", "date_from", "date_to", "subscription_id", "item_price_id")
"""What must be true of a line, by the names that its payload has them under."""

DECIDED_ON = tuple(DecidedOn.__annotations__)
"""The part of a set's payload that is about its bill, and so holds for each of its lines."""


def carry_over(
    decisions: Sequence[Decision], *, three_decimal: int | None = None, sent: Mapping[Key, int] = MappingProxyType({})
) -> list[Decision]:
    """Lower new charges by what stands too much on closed invoices of the same subscription, customer and currency.

    A surplus that is used up waits until the lowered charge is booked, what is left of
    one stays set aside. Earlier charges are lowered first; the order is kept.

    Args:
        decisions: Of all bills, each with the ceiling of its own law.
        three_decimal: As in :func:`meterbridge.rules.money.exponent`.
        sent: By portion what a call whose answer never came may have taken of its surplus, in minor units.
    """
    after = list(decisions)
    for aside in decisions:
        if isinstance(aside, Quarantined) and aside.surplus > 0:
            free = max(0, aside.surplus - sent.get(aside.key[:2], 0))
            left = aside.surplus - free + _lower(after, aside, free, three_decimal)
            if left < aside.surplus:
                place = next(index for index, one in enumerate(after) if one is aside)
                after[place] = _told(aside, left)
    return after


def _lower(decisions: list[Decision], aside: Quarantined, surplus: int, three_decimal: int | None) -> int:
    """Take the surplus off the charges that may carry it, in place; returns what is left of it, in minor units."""
    left, index = surplus, 0
    while index < len(decisions):
        one = decisions[index]
        if left and isinstance(one, Intent) and _may_carry(one, aside):
            lowering = _Lowering(aside, left, three_decimal)
            put = lowering.of_set(one) if one.kind == "charge_set" else [lowering.of_charge(one)]
            decisions[index : index + 1] = put
            left, index = lowering.left, index + len(put)
        else:
            index += 1
    return left


def _may_carry(intent: Intent, aside: Quarantined) -> bool:
    """True if the intent books new charges of another bill for the same subscription, payer and currency."""
    if intent.action != "create" or intent.kind not in ("charge", "charge_set"):
        return False
    payer = intent.payload["customers"][0] if intent.kind == "charge_set" else intent.state.get("customer_id")
    return (
        intent.key[0] != aside.key[0]
        and intent.key[1] == aside.key[1]
        and intent.currency == aside.currency
        and aside.payers <= {payer}
    )


@dataclass(slots=True)
class _Lowering:
    """One surplus at work; ``left`` of it in minor units."""

    aside: Quarantined
    left: int
    three_decimal: int | None

    def of_charge(self, intent: Intent) -> Intent:
        """The same charge at a lower amount; one that nothing is left of is known to the ledger alone."""
        by = self._take(intent.amount or 0)
        amount = (intent.amount or 0) - by
        carried = [*intent.state.get("carried", ()), self._part(by)]
        payload: dict[str, Any] = {**intent.payload, "amount": amount}
        if not amount:
            payload["item_price_id"] = None
        elif "description" in payload:
            payload["description"] = self._remarked(payload, by)
        return replace(
            intent,
            action="create" if amount else "net",
            amount=amount,
            payload=payload,
            fingerprint=fingerprint([_facts(payload), carried]),
            state={**intent.state, "amount": amount, "carried": carried},
            reason=self._said(intent.reason, by),
        )

    def of_set(self, intent: Intent) -> list[Intent]:
        """The same call with lower lines; a line that nothing is left of is known to the ledger alone."""
        lines: list[dict[str, Any]] = []
        nets: list[Intent] = []
        before = self.left
        for line in intent.payload["lines"]:
            by = self._take(line["amount"])
            lowered = self._lower_line(line, by) if by else dict(line)
            if lowered["amount"]:
                lines.append(lowered)
            else:
                nets.append(_net(intent, lowered, self._said(intent.reason, by)))
        if not lines:
            return nets
        facts = {name: intent.payload[name] for name in ("method", "subscription_id", "currency")}
        carried = [part for line in lines for part in line["state"].get("carried", ())]
        smaller = replace(
            intent,
            key=set_key(intent.key[0], intent.key[1], [tuple(line["key"]) for line in lines]),
            amount=sum(line["amount"] for line in lines),
            payload={**intent.payload, "lines": lines},
            fingerprint=fingerprint([facts, [line["fingerprint"] for line in lines]]),
            state={**intent.state, "carried": carried},
            reason=self._said(intent.reason, before - self.left),
        )
        return [smaller, *nets]

    def _lower_line(self, line: Mapping[str, Any], by: int) -> dict[str, Any]:
        carried = [*line["state"].get("carried", ()), self._part(by)]
        lowered: dict[str, Any] = {**line, "amount": line["amount"] - by, "description": self._remarked(line, by)}
        lowered["state"] = {**line["state"], "amount": lowered["amount"], "carried": carried}
        return {**lowered, "fingerprint": fingerprint([_facts(lowered), carried])}

    def _take(self, most: int) -> int:
        by = min(self.left, most)
        self.left -= by
        return by

    def _part(self, by: int) -> dict[str, Any]:
        return {"bill_id": self.aside.key[0], "subscription_id": self.aside.key[1], "amount": by}

    def _remarked(self, line: Mapping[str, Any], by: int) -> str:
        amount = major_text(by, exponent(line["currency"], three_decimal=self.three_decimal))
        month = f"bill of {self.aside.month}" if self.aside.month else "an earlier bill"
        return with_remark(line["description"], line["reference"], f"less {amount} from {month}")

    def _said(self, reason: str, by: int) -> str:
        return f"{reason}; lowered by {by} minor units that bill {self.aside.key[0]} was charged too much"


def _facts(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in FACTS if line.get(name) is not None}


def _net(intent: Intent, line: Mapping[str, Any], reason: str) -> Intent:
    """A line of a set that a surplus uses up whole: it stands on no invoice."""
    decided_on = {name: intent.payload[name] for name in DECIDED_ON if name in intent.payload}
    nowhere: dict[str, Any] = {"invoice_id": "", "line_id": "", "line_ids": [], "item_price_id": None}
    return replace(
        intent,
        kind="charge",
        key=tuple(line["key"]),
        action="net",
        amount=0,
        payload={**_facts(line), **decided_on, **nowhere, "reference": line["reference"]},
        fingerprint=line["fingerprint"],
        state={**line["state"], "bill_line_ids": [], "invoice_id": ""},
        reason=reason,
    )


def _told(aside: Quarantined, left: int) -> Decision:
    used = aside.surplus - left
    sign = 1 if (aside.amount or 0) > 0 else -1
    if left:
        message = f"{aside.message}; {used} minor units of it lower new charges in this run"
        return replace(aside, amount=sign * left, surplus=left, message=message)
    why = f"{aside.message}; it lowers new charges in this run"
    return Waiting(aside.kind, aside.key, why, -used, aside.currency or "")
