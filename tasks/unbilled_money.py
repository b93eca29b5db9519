"""Money that stands unbilled: how much of whom, since when, and whether anything will invoice it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from meterbridge.ledger import mappings
from meterbridge.ledger.ledger import Reader
from meterbridge.ledger.transaction import chunks
from meterbridge.rules.money import amount_text
from meterbridge.rules.standing import UNBILLED
from meterbridge.staging.moments import moment

DAY = 86_400


def unbilled_money(rx: Reader, now: float) -> list[dict[str, Any]]:
    """Charges of ours that stand on no invoice yet, by subscription and currency, the oldest first.

    Args:
        now: By the vendors' clock, epoch seconds. ``ended``: all that the ledger knows of the subscription has ended by
            then, so nothing but a person will invoice its charges.
    """
    amounts: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for row in mappings.by_state(rx, "charge", "invoice_status", UNBILLED):
        if row.active:
            since = float(row.state.get("invoice_date") or now)
            amounts[row.state["subscription_id"], row.state["currency"]].append((row.state["amount"], since))
    plans = _plans(rx, {name for name, _ in amounts})
    rows = [
        {
            "subscription_id": name,
            "currency": currency,
            "count": len(own),
            "amount": sum(amount for amount, _ in own),
            "age_seconds": round(max(0.0, now - min(since for _, since in own))),
            "ended": _has_ended(plans[name], now),
        }
        for (name, currency), own in sorted(amounts.items())
    ]
    return sorted(rows, key=lambda row: (-int(row["age_seconds"]), row["subscription_id"], row["currency"]))


def in_words(row: dict[str, Any]) -> str:
    """One row as people read it: ``120.00 EUR of subscription s-1 stand unbilled since 265 days``."""
    days = row["age_seconds"] // DAY
    money = amount_text(row["amount"], row["currency"])
    loud = ": it has ENDED, nothing but you will invoice them" if row["ended"] else ""
    return f"{money} of subscription {row['subscription_id']} stand unbilled since {days} days{loud}"


def _plans(rx: Reader, subscriptions: Collection[str]) -> Mapping[str, list[mappings.Mapping]]:
    """Account plans by subscription; each look reads all that there are, so it takes many subscriptions."""
    found: dict[str, list[mappings.Mapping]] = defaultdict(list)
    for some in chunks(subscriptions):
        for one in mappings.of_customers(rx, "account_plan", (), some):
            found[one.state["subscription_id"]].append(one)
    return found


def _has_ended(plans: Sequence[mappings.Mapping], now: float) -> bool:
    ends = [moment(one.state.get("end")) for one in plans]
    return bool(ends) and all(end is not None and end.timestamp() <= now for end in ends)
