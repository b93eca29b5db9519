"""What a closed invoice has too much of lowers the same subscription's charges of other bills.

Chargebee books no negative line, so the surplus of one bill is taken off a new
line of another one. Both bills' sums stay exact: the line carries the surplus,
which counts for the one and against the other as long as the line stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from meterbridge.rules.keys import fingerprint
from meterbridge.rules.records import Decision, Intent, Key, Quarantined, Waiting

FACTS = ("method", "amount", "currency", "date_from", "date_to", "subscription_id", "item_price_id")
"""What must be true of a line, by the names that its payload has them under."""


def carry_over(decisions: Sequence[Decision]) -> list[Decision]:
    """Lower new charges by what stands too much on closed invoices of the same subscription, customer and currency.

    A surplus that is used up waits until the lowered charge is booked, what is left of
    one stays set aside. Earlier charges are lowered first; the order is kept.
    """
    after = list(decisions)
    for index, aside in enumerate(after):
        if isinstance(aside, Quarantined) and aside.surplus > 0:
            left = _lower(after, aside)
            if left < aside.surplus:
                after[index] = _told(aside, left)
    return after


def _lower(decisions: list[Decision], aside: Quarantined) -> int:
    left = aside.surplus
    for index, one in enumerate(decisions):
        if left and isinstance(one, Intent) and _may_carry(one, aside):
            taken = min(left, one.amount or 0)
            decisions[index] = _lowered(one, aside.key, taken)
            left -= taken
    return left


def _may_carry(intent: Intent, aside: Quarantined) -> bool:
    return (
        (intent.kind, intent.action) == ("charge", "create")
        and intent.key[0] != aside.key[0]
        and intent.key[1] == aside.key[1]
        and intent.currency == aside.currency
        and aside.payers <= {intent.state.get("customer_id")}
        and intent.payload["method"] in ("add_charge", "add_charge_item")
    )


def _lowered(intent: Intent, source: Key, by: int) -> Intent:
    """The same charge at a lower amount; one that nothing is left of is known to the ledger alone."""
    amount = (intent.amount or 0) - by
    carried = [*intent.state.get("carried", ()), {"bill_id": source[0], "subscription_id": source[1], "amount": by}]
    payload: dict[str, Any] = {**intent.payload, "amount": amount}
    if not amount:
        payload["item_price_id"] = None
    facts = {name: payload[name] for name in FACTS if payload.get(name) is not None}
    return replace(
        intent,
        action="create" if amount else "net",
        amount=amount,
        payload=payload,
        fingerprint=fingerprint([facts, carried]),
        state={**intent.state, "amount": amount, "carried": carried},
        reason=f"{intent.reason}; lowered by {by} minor units that bill {source[0]} was charged too much",
    )


def _told(aside: Quarantined, left: int) -> Decision:
    used = aside.surplus - left
    sign = 1 if (aside.amount or 0) > 0 else -1
    if left:
        message = f"{aside.message}; {used} minor units of it lower new charges in this run"
        return replace(aside, amount=sign * left, surplus=left, message=message)
    why = f"{aside.message}; it lowers new charges in this run"
    return Waiting(aside.kind, aside.key, why, -used, aside.currency or "")
