"""Rows of the staging file as the values that rules take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from meterbridge.rules.records import KnownPlan
from meterbridge.staging.moments import moment, required


def known_plan(row: Mapping[str, Any]) -> KnownPlan:
    """A row of ``ref_account_plans``."""
    return KnownPlan(
        subscription_id=row["subscription_id"],
        item_price_id=row["item_price_id"],
        period=int(row["period"]),
        account_plan_id=row["account_plan_id"],
        account_id=row["account_id"],
        customer_id=row["customer_id"],
        plan_id=row["plan_id"],
        product_id=row["product_id"],
        start=required(row["start"]),
        end=moment(row["end"]),
        terms=row["terms"],
        items=tuple(json.loads(row["items"] or "[]")),
        paused=row["paused"] == "true",
        due=moment(row["due"]),
        due_by=None if row["due_by"] is None else int(row["due_by"]),
    )
