"""m3ter's own Chargebee integration: together with ours every bill would be invoiced twice."""

from __future__ import annotations

import logging

from meterbridge.errors import SetupError
from meterbridge.rules.native import sending_bills
from tasks.engine import task
from tasks.runs import Run
from tasks.services import services

logger = logging.getLogger(__name__)


@task(name="look for m3ter's own integration")
def refuse_native(run: Run) -> list[str]:
    """Stop a run that would write while m3ter sends the same bills; a dry run goes on and says so.

    Raises:
        SetupError: MB-NATIVE, before anything is read or written.
    """
    active = sending_bills(services(run.run_id).m3ter.integration_configs())
    if active and not run.request.dry_run:
        raise SetupError("MB-NATIVE", f"enabled in m3ter: {', '.join(active)}; bills would be invoiced twice")
    if active:
        logger.warning("m3ter's own integration sends bills, too", extra={"run_id": run.run_id, "count": len(active)})
    return active
