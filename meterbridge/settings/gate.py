"""Settings of the gate: what a person has to approve before it is charged."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import field_validator
from pydantic_settings import BaseSettings, NoDecode

from meterbridge.settings.fields import own

Caps = Annotated[dict[str, Decimal], NoDecode]


class GateSettings(BaseSettings):
    """The gate."""

    # the gate
    bills_approval: Literal["off", "required"] = own(
        "bills_approval", "off", about="Whether a person approves every change set of sync_bills before it is sent."
    )
    max_per_bill: Caps = own(
        "max_per_bill",
        default_factory=dict,
        about="Caps in major units (EUR=10000,JPY=1000000): a bill that would change more awaits approval alone.",
    )
    max_total_per_run: Caps = own(
        "max_total_per_run",
        default_factory=dict,
        about="Caps in major units (EUR=50000): the change set of a run that would change more awaits approval.",
    )
    canary: int = own(
        "canary",
        0,
        ge=0,
        about="Bills that a run sends ahead; the others follow once these are all applied. 0 = all at once.",
    )

    @field_validator("max_per_bill", "max_total_per_run", mode="before")
    @classmethod
    def _split_caps(cls, value: object) -> object:
        pairs = [part.split("=", 1) for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if isinstance(pairs, dict):
            pairs = list(pairs.items())
        if not isinstance(pairs, list) or any(len(pair) != 2 for pair in pairs):
            raise ValueError("expected CURRENCY=amount pairs, separated by commas")
        return dict(_cap(str(currency).strip(), str(amount).strip()) for currency, amount in pairs)


def _cap(currency: str, amount: str) -> tuple[str, Decimal]:
    try:
        cap = Decimal(amount)
    except InvalidOperation:
        cap = Decimal("NaN")
    if not re.fullmatch("[A-Z]{3}", currency) or not cap.is_finite() or cap < 0:
        raise ValueError("expected CURRENCY=amount pairs, such as EUR=10000")
    return currency, cap
