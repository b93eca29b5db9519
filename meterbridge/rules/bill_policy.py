"""The settings that the bill rules obey, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

from meterbridge.rules.money import Rounding
from meterbridge.rules.records import ChargeRule

Grouping = Literal["line", "aggregation", "product"]

BillLevelLines = Literal["allocate", "main", "hold"]
"""What becomes of a line that belongs to the bill and to no plan, where several subscriptions could have it."""

DESCRIPTION = "{product}: {quantity} {unit}, {start}–{end}"


@dataclass(frozen=True, slots=True)
class BillPolicy:
    """How bills become charges; the settings of the same names.

    ``since`` is the first bill date that may be charged. ``main_subscription``
    gives the subscription for bill lines without a plan, by m3ter account id
    or by Chargebee customer id; ``bill_level_lines`` tells
    whether it takes them all. ``auto_close_days`` is the
    site's wait before it closes a pending invoice, None when people close them.
    ``on_void`` is for lines of ours that were voided, deleted or changed by hand,
    ``on_unapproved`` for those of a bill that is PENDING again, ``negative_delta``
    for what a closed invoice has too much of. ``site_ahead`` is how far the
    Chargebee site's dates are ahead of m3ter's: a test site may travel in time.
    ``mark`` is the connection's, on every reference.
    """

    since: date
    mark: str = ""
    settle_hours: float = 24
    rounding: Rounding = "half_up"
    three_decimal: int | None = None
    bill_amounts: Literal["net", "gross"] = "net"
    charge_grouping: Grouping = "line"
    max_invoice_lines: int = 700
    max_wait_days: int = 35
    term_tolerance_hours: float = 36
    no_pending_invoice: Literal["quarantine", "create", "unbilled"] = "quarantine"
    net_across_subscriptions: bool = False
    bill_level_lines: BillLevelLines = "allocate"
    negative: Literal["quarantine", "promotional_credit"] = "quarantine"
    main_subscription: Mapping[str, str] = field(default_factory=dict)
    charges: tuple[ChargeRule, ...] = ()
    description_template: str = DESCRIPTION
    schedule_interval_seconds: int = 3600
    auto_close_days: int | None = None
    accounts_only: frozenset[str] = frozenset()
    accounts_except: frozenset[str] = frozenset()
    on_void: Literal["hold", "recharge"] = "hold"
    on_unapproved: Literal["keep", "remove"] = "keep"
    negative_delta: Literal["net", "credit_note", "quarantine"] = "net"
    site_ahead: timedelta = timedelta(0)
