"""Run the ordered SQL of a resource and judge its checks."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from meterbridge.errors import BrokenInvariant
from meterbridge.staging.database import opened, statement
from tasks.engine import task
from tasks.runs import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """Tables of ``sql/<resource>/``, in the order they are made."""

    resource: str
    tables: tuple[str, ...]
    name: str


SUBSCRIPTIONS = Stage(
    "subscriptions",
    (
        "chk_unidentified",
        "stg_versions",
        "stg_subscriptions",
        "stg_version_items",
        "stg_subscription_items",
        "stg_customers",
        "stg_changes",
        "chk_subscriptions",
        "chk_missing",
    ),
    "subscriptions",
)
CHANGES = Stage("subscriptions", (*SUBSCRIPTIONS.tables, "out_next_run"), "changed subscriptions")
"""Of a sync: it leaves to the next run what it cannot judge yet."""

CUSTOMER_CASES = Stage(
    "subscriptions",
    (
        "ref_plan_targets",
        "int_subscriptions",
        "int_earlier",
        "int_alike",
        "int_similar",
        "int_families",
        "int_customers",
        "chk_foreign_edits",
    ),
    "customers",
)
BILLS = Stage("bills", ("chk_bills", "stg_bills", "stg_bill_lines", "int_new_bills"), "bills")
INVOICES = Stage("bills", ("stg_invoices",), "invoices")
BILL_CASES = Stage("bills", ("int_placed_plans", "int_payers", "int_not_ours", "int_bills"), "bill cases")


@task(name="stage {stage_.name}")
def stage(run: Run, stage_: Stage) -> int:
    """Make the stage's tables; a failing check of severity ``fail`` stops the run.

    Returns:
        Rows in the last table.
    """
    rows = 0
    with opened(run.path) as file:
        for table in stage_.tables:
            rows = file.make(stage_.resource, table, {"until": run.window.until})
            if table.startswith("chk_") and rows:
                _judge(run, stage_.resource, table, rows)
    logger.info("staged", extra={"run_id": run.run_id, "resource": stage_.name, "count": rows})
    return rows


def _judge(run: Run, resource: str, table: str, rows: int) -> None:
    logger.warning("check found rows", extra={"run_id": run.run_id, "check": table, "count": rows})
    if "-- severity: fail" in statement(resource, table):
        raise BrokenInvariant("MB-INVARIANT", f"check {table} found {rows} rows; they are in {run.staging}")
