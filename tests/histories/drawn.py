"""What a seed draws for a whole history: settings of the bridge, and switches of the vendors.

Each has dice of its own: a setting that comes, goes or is overridden changes nothing of what the others are.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.histories.life import DAY

UNCAPPED = ""
SETTINGS: Mapping[str, Sequence[str]] = {
    "METERBRIDGE_ON_VOID": ("hold", "recharge"),
    "METERBRIDGE_ON_UNAPPROVED": ("keep", "remove"),
    "METERBRIDGE_NEGATIVE_DELTA": ("net", "net", "credit_note", "quarantine"),
    "METERBRIDGE_NEGATIVE": ("quarantine", "promotional_credit"),
    "METERBRIDGE_ON_PRODUCT_OVERLAP": ("quarantine", "child_account"),
    "METERBRIDGE_CHARGE_GROUPING": ("line", "line", "aggregation", "product"),
    "METERBRIDGE_NET_ACROSS_SUBSCRIPTIONS": ("false", "true"),
    "METERBRIDGE_BILL_SETTLE_HOURS": ("24", "0"),
    "METERBRIDGE_REPLACE_ON": ("material", "mapped_plan"),
    "METERBRIDGE_TRIAL": ("free", "free", "billed"),
    "METERBRIDGE_HIERARCHY": ("invoice_owner", "invoice_owner", "off", "all_with_child_billing"),
    "METERBRIDGE_NO_PENDING_INVOICE": ("quarantine", "quarantine", "create", "unbilled"),
    "METERBRIDGE_BILLS_APPROVAL": ("off", "off", "off", "required"),
    "METERBRIDGE_MAX_PER_BILL": (UNCAPPED, UNCAPPED, UNCAPPED, "EUR=40,USD=40,JPY=4000"),
    "METERBRIDGE_MAX_TOTAL_PER_RUN": (UNCAPPED, UNCAPPED, UNCAPPED, "EUR=100,USD=60"),
    "METERBRIDGE_CANARY": ("0", "0", "0", "1"),
}
SWITCHES: Mapping[str, Sequence[Any]] = {
    "draft_line_ids_on_close": ("keep", "renew"),
    "draft_after_close": ("gone", "readable"),
    "line_ids_on_recalculation": ("renew", "keep"),
    "duplicate_mappings": ("allow", "refuse"),
    "closed_invoice_write_status": (409, 400),
    "list_lag_seconds": (0, 0, 120),
    "auto_close_seconds": (0, 0, 6 * DAY),
    "resumed_keeps_dates": (False, True),
}


@dataclass(frozen=True)
class Drawn:
    """What holds from the first to the last day."""

    settings: Mapping[str, str]
    switches: Mapping[str, Any]

    def told(self) -> list[str]:
        """What was drawn, in words."""
        return [f"{name}={value}" for name, value in {**self.settings, **self.switches}.items()]


def draw(seed: int, given: Mapping[str, str]) -> Drawn:
    """The seed's settings and switches; ``given`` are settings by their full names that are not left to the dice."""
    settings = {name: _dice(seed, name).choice(values) for name, values in SETTINGS.items()} | dict(given)
    switches = {name: _dice(seed, name).choice(values) for name, values in SWITCHES.items()}
    if switches["auto_close_seconds"]:
        settings["METERBRIDGE_AUTO_CLOSE_DAYS"] = str(switches["auto_close_seconds"] // DAY)
    return Drawn(settings, switches)


def _dice(seed: int, name: str) -> random.Random:
    return random.Random(f"{seed} {name}")
