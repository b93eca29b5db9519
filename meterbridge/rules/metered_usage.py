"""Rules of Chargebee's own metered billing: what it would bill, and what a period's usage record shall hold.

Chargebee keeps a usage that is dated outside what it bills, and never charges it (vendor documentation on metered
billing): such usage must be told, not sent. A record cannot be changed, only deleted and made anew.
"""

from __future__ import annotations

import hashlib
from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from meterbridge.rules.keys import canonical, fingerprint
from meterbridge.rules.records import Decision, Intent, Key, Quarantined, Ref, Unchanged

MOST_PER_SUBSCRIPTION = 5_000
"""Usage records that Chargebee takes in a subscription's life, by default; deleted ones are counted, too."""

LONGEST_QUANTITY = 40

Calculation = Literal["sum_of_usages", "last_usage", "max_usage"]
CALCULATIONS: tuple[Calculation, ...] = ("sum_of_usages", "last_usage", "max_usage")


@dataclass(frozen=True, slots=True)
class MeteredSubscription:
    """What decides which of a subscription's usage is billed. Instants aware UTC.

    ``drafts`` are the dates of its pending invoices: each bills the term that ends then.
    """

    id: str
    status: str
    activated_at: datetime | None
    term_start: datetime | None
    cancelled_at: datetime | None
    pause_date: datetime | None
    billing_period: int
    billing_period_unit: str
    drafts: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open part of time; ``begin`` or ``end`` None have no bound. ``reason`` None: its usage is billed."""

    begin: datetime | None
    end: datetime | None
    reason: Literal["inactive", "invoiced"] | None


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """A period's usage as the ledger knows it at Chargebee; ``revision`` counts the records made for it.

    ``inactive``: it was deleted. ``sketch``: hashes of its rows, the smallest ones.
    """

    usage_id: str
    quantity: str
    rows: int
    revision: int
    sketch: tuple[str, ...]
    active: bool = True


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """A period's rows together: ``date`` in epoch seconds is the record's ``usage_date``.

    ``closed`` says why Chargebee would not bill a record of that date; ``seen`` how many of the known record's
    sketch are among the rows.
    """

    mapping: str
    subscription_id: str
    item_price_id: str
    date: int
    calculation: Calculation
    quantity: Decimal
    rows: int
    sketch: tuple[str, ...]
    closed: Literal["inactive", "invoiced"] | None = None
    known: UsageRecord | None = None
    seen: int = 0

    @property
    def key(self) -> Key:
        """The record's natural key."""
        return (self.mapping, self.subscription_id, self.item_price_id, str(self.date))


def spans(subscription: MeteredSubscription) -> list[Span]:
    """The whole of time cut by what becomes of a usage dated there, in order."""
    begin, term = subscription.activated_at, subscription.term_start
    if begin is None or term is None or subscription.status in ("future", "in_trial"):
        return [Span(None, None, "inactive")]
    term = max(term, begin)
    end = subscription.pause_date if subscription.status == "paused" else subscription.cancelled_at
    end = None if end is None else max(end, term)
    final = subscription.status == "cancelled"
    cuts = [Span(None, begin, "inactive"), *_past_terms(subscription, begin, term)]
    if final and end is not None and not any(draft >= end for draft in subscription.drafts):
        cuts.append(Span(term, end, "invoiced"))
    else:
        cuts.append(Span(term, end, None))
    return [*cuts, *([] if end is None else [Span(end, None, "inactive")])]


def _past_terms(subscription: MeteredSubscription, begin: datetime, term: datetime) -> list[Span]:
    """From activation to the current term: billed where a pending invoice still gathers it."""
    found = []
    at = begin
    for draft in sorted({draft for draft in subscription.drafts if begin < draft <= term}):
        opens = max(at, _term_before(subscription, draft))
        found += [Span(at, opens, "invoiced")] if at < opens else []
        found += [Span(opens, draft, None)] if opens < draft else []
        at = max(at, draft)
    return [*found, *([Span(at, term, "invoiced")] if at < term else [])]


def _term_before(subscription: MeteredSubscription, end: datetime) -> datetime:
    """Where the term began that ended then."""
    count, unit = subscription.billing_period, subscription.billing_period_unit
    if unit in ("day", "week"):
        return end - timedelta(days=count * (7 if unit == "week" else 1))
    year, month = divmod(end.year * 12 + end.month - 1 - count * (12 if unit == "year" else 1), 12)
    activated = subscription.activated_at
    day = max(end.day, activated.day if activated is not None else 0)
    return end.replace(year=year, month=month + 1, day=min(day, monthrange(year, month + 1)[1]))


def usage_id(key: Key, revision: int) -> str:
    """The record's id at Chargebee: ours, so that a second create is refused and a lost answer can be looked up."""
    return f"mb-{hashlib.sha256(canonical(list(key)).encode()).hexdigest()[:40]}-{revision}"


def decide(groups: Sequence[UsageGroup], made: int) -> list[Decision]:
    """What is to be done about one subscription; ``made``: records ever made for it.

    When rows that an earlier run counted are missing from one record, nothing else of
    that item price is touched: they may have moved into its other records.
    """
    decisions: list[Decision] = []
    for price in dict.fromkeys(group.item_price_id for group in groups):
        ours = [group for group in groups if group.item_price_id == price]
        partial = [group for group in ours if _lacks_rows(group)]
        for group in ours:
            found = [_set_aside(group, *_partial(partial))] if partial else _one(group)
            fresh = sum(isinstance(one, Intent) and one.action == "create" for one in found)
            if made + fresh > MOST_PER_SUBSCRIPTION:
                words = (
                    f"the subscription has {made} usage records; Chargebee takes {MOST_PER_SUBSCRIPTION} in its life"
                )
                found, fresh = [_set_aside(group, "MB-USAGE-LIMIT", words)], 0
            made += fresh
            decisions += found
    return decisions


def _one(group: UsageGroup) -> list[Decision]:
    known = group.known if group.known is not None and group.known.active else None
    wanted = quantity_text(group.quantity)
    if known is not None and Decimal(known.quantity) == group.quantity:
        return [Unchanged("usage", group.key)]
    if group.closed is not None:
        return [_set_aside(group, *_closed(group, known, wanted))]
    if group.quantity == 0 and group.calculation != "last_usage":
        return [Unchanged("usage", group.key)] if known is None else [_removal(group, known)]
    if group.quantity < 1 or len(wanted) > LONGEST_QUANTITY:
        words = f"{wanted} of {_named(group)}: Chargebee takes quantities from 1 on, of {LONGEST_QUANTITY} characters"
        return [_set_aside(group, "MB-USAGE-QUANTITY", words)]
    return [_creation(group, None)] if known is None else [_removal(group, known), _creation(group, known)]


def _creation(group: UsageGroup, standing: UsageRecord | None) -> Intent:
    revision = 1 + (group.known.revision if group.known is not None else 0)
    quantity = quantity_text(group.quantity)
    payload: Mapping[str, Any] = {
        "subscription_id": group.subscription_id,
        "item_price_id": group.item_price_id,
        "usage_id": usage_id(group.key, revision),
        "usage_date": group.date,
        "quantity": quantity,
        "note": f"{group.mapping}: {group.rows} rows",
    }
    instead = "" if standing is None else f" instead of {standing.quantity}"
    return Intent(
        kind="usage",
        key=group.key,
        action="create",
        target="chargebee",
        payload=payload,
        fingerprint=fingerprint(payload),
        reason=f"{quantity}{instead} of {_named(group)}, {group.calculation} of {group.rows} rows",
        scope=f"subscription:{group.subscription_id}",
        depends_on=() if standing is None else (Ref("usage_removal", _removal_key(group, standing)),),
        state={
            "quantity": quantity,
            "rows": group.rows,
            "revision": revision,
            "sketch": list(group.sketch),
            "usage_id": payload["usage_id"],
        },
    )


def _removal(group: UsageGroup, standing: UsageRecord) -> Intent:
    payload = {"subscription_id": group.subscription_id, "usage_id": standing.usage_id, "record": list(group.key)}
    return Intent(
        kind="usage_removal",
        key=_removal_key(group, standing),
        action="delete",
        target="chargebee",
        payload=payload,
        fingerprint=fingerprint(payload),
        reason=f"{standing.quantity} of {_named(group)} is now {quantity_text(group.quantity)}",
        scope=f"subscription:{group.subscription_id}",
    )


def _removal_key(group: UsageGroup, standing: UsageRecord) -> Key:
    return (*group.key, standing.usage_id)


def _lacks_rows(group: UsageGroup) -> bool:
    known = group.known
    return known is not None and known.active and (group.seen < len(known.sketch) or group.rows < known.rows)


def _partial(groups: Iterable[UsageGroup]) -> tuple[str, str]:
    group = next(iter(groups))
    rows = group.known.rows if group.known is not None else 0
    words = (
        f"{_named(group)}: {rows} rows were counted before, and not all of them are in this input ({group.rows} rows)"
    )
    return "MB-USAGE-PART", words


def _closed(group: UsageGroup, known: UsageRecord | None, wanted: str) -> tuple[str, str]:
    if known is not None:
        return "MB-USAGE-INVOICED", f"{_named(group)} was invoiced with {known.quantity} and is now {wanted}"
    why = {
        "invoiced": "the period is invoiced already; Chargebee would keep it and never bill it",
        "inactive": "the subscription was not active then; Chargebee would keep it and never bill it",
    }
    return "MB-USAGE-PERIOD", f"{wanted} of {_named(group)}, {group.rows} rows: {why[group.closed or 'inactive']}"


def _set_aside(group: UsageGroup, code: str, words: str) -> Quarantined:
    return Quarantined("usage", group.key, code, words)


def _named(group: UsageGroup) -> str:
    return f"{group.item_price_id} of {group.subscription_id} at {group.date}"


def quantity_text(quantity: Decimal) -> str:
    """As Chargebee takes it: digits, no exponent, no zeros at the end.

    >>> quantity_text(Decimal("12.500")), quantity_text(Decimal("1E+3"))
    ('12.5', '1000')
    """
    text = f"{quantity:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
