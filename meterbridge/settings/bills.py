"""Settings of bills → charges."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal, NoReturn

from pydantic import field_validator
from pydantic_settings import BaseSettings, NoDecode

from meterbridge.settings.fields import own


def _no_day() -> NoReturn:
    raise ValueError("must be a day of the calendar as YYYY-MM-DD, such as 2026-03-01")


class BillSettings(BaseSettings):
    """Bills."""

    # bills
    bills_since: date | None = own(
        "bills_since",
        None,
        about="First bill date that may be charged (YYYY-MM-DD); required on the first bills run, then kept.",
    )
    bill_settle_hours: float = own(
        "bill_settle_hours",
        24,
        ge=0,
        about="Hours after a bill's latest arrears service end before an unlocked bill is charged.",
    )
    bill_window_days: int = own(
        "bill_window_days",
        62,
        ge=1,
        about="How far back bills are compared with the ledger, days (two billing cycles or more).",
    )
    rounding: Literal["half_up", "half_even"] = own(
        "rounding", "half_up", about="Rounding of a bill's total; half_up is away from zero."
    )
    three_decimal_exponent: Literal[2, 3] | None = own(
        "three_decimal_exponent",
        None,
        about="Decimal places Chargebee counts in for BHD, KWD, OMR, JOD, TND; unset = quarantined.",
    )
    bill_amounts: Literal["net", "gross"] = own(
        "bill_amounts", "net", about="Whether m3ter's amounts are without or with tax."
    )
    charge_grouping: Literal["line", "aggregation", "product"] = own(
        "charge_grouping", "line", about="How bill lines become charges."
    )
    max_invoice_lines: int = own("max_invoice_lines", 700, ge=1, about="Most lines on one invoice.")
    max_wait_days: int = own("max_wait_days", 35, ge=0, about="Longest wait for the next pending invoice, days.")
    term_tolerance_hours: float = own(
        "term_tolerance_hours",
        36,
        ge=0,
        about="How much earlier than the service end a fitting invoice may be dated, hours.",
    )
    no_pending_invoice: Literal["quarantine", "create", "unbilled"] = own(
        "no_pending_invoice", "quarantine", about="What happens to money for which no pending invoice will come."
    )
    net_across_subscriptions: bool = own(
        "net_across_subscriptions",
        False,
        about="What one subscription of a bill has too much may cancel what another one is to be charged.",
    )
    bill_level_lines: Literal["allocate", "main", "hold"] = own(
        "bill_level_lines",
        "allocate",
        about="What becomes of a bill's lines of no plan: allocated over its subscriptions, the main one's, or held.",
    )
    negative: Literal["quarantine", "promotional_credit"] = own(
        "negative", "quarantine", about="What happens to a portion that is negative after netting."
    )
    negative_delta: Literal["net", "credit_note", "quarantine"] = own(
        "negative_delta",
        "net",
        about="What happens to money that a closed invoice has too much of after a recalculation.",
    )
    on_void: Literal["hold", "recharge"] = own(
        "on_void",
        "hold",
        about="Whether our lines that were voided, deleted or changed by hand wait for a person or are charged again.",
    )
    on_unapproved: Literal["keep", "remove"] = own(
        "on_unapproved",
        "keep",
        about="Whether lines of a bill that is PENDING again stay on a pending invoice or are taken off.",
    )
    auto_close_days: int | None = own(
        "auto_close_days",
        None,
        ge=0,
        le=50,
        about="Days after which the site closes pending invoices by itself; unset = by hand.",
    )
    close_warning_hours: float = own(
        "close_warning_hours",
        24,
        ge=0,
        about="Hours before a draft closes by itself from which on money that is not on it yet is warned of.",
    )
    schedule_interval_seconds: int = own(
        "schedule_interval_seconds", 3600, ge=60, about="How often sync_bills is scheduled, seconds."
    )
    main_subscription: Annotated[dict[str, str], NoDecode] = own(
        "main_subscription",
        default_factory=dict,
        about="customer id=subscription id pairs (comma-separated) for bill lines without a plan, or of one that "
        "fits no or two subscriptions.",
    )
    charge_description: str = own(
        "charge_description",
        "{product}: {quantity} {unit}, {start}–{end}",
        about="Template of a charge's description, printed on the invoice.",
    )

    @field_validator("three_decimal_exponent", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        """The environment holds texts only; a choice of numbers takes none of them by itself."""
        return int(value) if isinstance(value, str) and value.strip() in ("2", "3") else value

    @field_validator("bills_since", mode="before")
    @classmethod
    def _is_a_day(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return date.fromisoformat(value) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) else _no_day()
        except ValueError:
            return _no_day()

    @field_validator("main_subscription", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.split("=", 1) for part in value.split(",") if part.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("expected customer=subscription pairs, separated by commas")
        return {customer.strip(): subscription.strip() for customer, subscription in pairs}
