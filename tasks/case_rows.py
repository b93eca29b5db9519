"""Rows of the staging file as the values that rules take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from meterbridge.rules.plan_found import is_ours
from meterbridge.rules.records import KnownEpoch, KnownPlan
from meterbridge.staging.moments import day, moment, required


def known_plan(row: Mapping[str, Any], prefix: str) -> KnownPlan:
    """A row of ``ref_account_plans``, where it was looked at with what m3ter showed.

    ``prefix`` stands before codes of ours.
    """
    pair = (row["subscription_id"], row["item_price_id"])
    seen = bool(row.get("seen"))
    epoch = KnownEpoch(
        stands=day(row.get("found_epoch")),
        left=day(row["bill_epoch"]),
        asked=day(row["bill_epoch_asked"]),
        seen=seen,
        by_hand=seen and not is_ours(row["found_code"], pair, prefix),
    )
    return KnownPlan(
        subscription_id=pair[0],
        item_price_id=pair[1],
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
        epoch=epoch,
    )
