"""m3ter's own Chargebee integration: together with ours every bill would be invoiced twice."""

from __future__ import annotations

import logging

from meterbridge.errors import SetupError
from meterbridge.ledger import mappings
from meterbridge.rules.native import sending_bills
from meterbridge.staging.database import opened
from tasks.engine import task
from tasks.runs import Run
from tasks.services import services

logger = logging.getLogger(__name__)

ACCOUNTS = (
    "select account_id as id from stg_bills where account_id is not null "
    "union select child_account_id from stg_bill_lines where child_account_id is not null"
)


@task(name="look for m3ter's own integration")
def refuse_native(run: Run) -> list[str]:
    """Stop a run that would write while m3ter sends bills of the same accounts; a dry run goes on and says so.

    The accounts are those of the bills read, and all that the ledger knows.

    Raises:
        SetupError: MB-NATIVE, before anything is written.
    """
    active = _active(run)
    if active and not run.request.dry_run:
        raise SetupError("MB-NATIVE", f"enabled in m3ter: {', '.join(active)}; bills would be invoiced twice")
    return active


@task(name="name m3ter's own integrations")
def native_integrations(run: Run) -> list[str]:
    """Those that send bills of our accounts to Chargebee, by name; a run that only compares may go on beside them."""
    return _active(run)


def _active(run: Run) -> list[str]:
    work = services(run.run_id)
    with work.ledger.read() as rx:
        ours = {row.remote_id for row in mappings.all(rx, "account", active_only=True)}
    with opened(run.path) as file:
        ours |= {row["id"] for row in file.rows(ACCOUNTS)}
    active = sending_bills(work.m3ter.integration_configs(), ours)
    if active:
        logger.warning("m3ter's own integration sends bills, too", extra={"run_id": run.run_id, "count": len(active)})
    return active
