"""What events tell of and the lists did not show, or showed too old: read by id; and what happened in between."""

from __future__ import annotations

import logging
import math

from meterbridge.staging.database import Staging, opened
from tasks.engine import task
from tasks.extract_events import CUSTOMER_EVENTS, SUBSCRIPTION_EVENTS, land_window
from tasks.extract_hinted import read_again, versions
from tasks.runs import Run
from tasks.services import Services, services

logger = logging.getLogger(__name__)

TOLD = (
    "select entry.event.content.{one}.id as id, "
    "max(try_cast(entry.event.content.{one}.resource_version as bigint)) as version "
    "from raw_chargebee__events where entry.event.content.{one}.id is not null "
    "and starts_with(entry.event.event_type, '{one}_') group by all"
)


@task(name="recover what the lists missed")
def recover_missed(run: Run) -> tuple[int, int]:
    """Compare the events since the last run with what was listed, and read by id what is absent or older.

    The events stay: they also show what happened between two runs, for which alone a run of named ids reads them.

    Returns:
        How many were recovered, and how many are known from an event but cannot be read at all.
    """
    if run.request.hints:
        return 0, 0
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_chargebee__events")
        if run.request.ids:
            land_window(work, file, run.events_since, math.ceil(run.started_at), SUBSCRIPTION_EVENTS)
            return 0, 0
        types = (*SUBSCRIPTION_EVENTS, *CUSTOMER_EVENTS)
        land_window(work, file, run.events_since, run.window.until, types)
        recovered = missing = 0
        for one, many in (("customer", "customers"), ("subscription", "subscriptions")):
            found, absent = _recover(work, file, one, many)
            recovered, missing = recovered + found, missing + absent
    logger.info("recovered", extra={"run_id": run.run_id, "count": recovered, "missing": missing})
    return recovered, missing


def _recover(work: Services, file: Staging, one: str, many: str) -> tuple[int, int]:
    told = {row["id"]: row["version"] or 0 for row in file.rows(TOLD.format(one=one))}
    listed = versions(file, one, many)
    late = {name: version for name, version in told.items() if listed.get(name, -1) < version}
    if not late:
        return 0, 0
    read_again(work, file, (one, many), late, origin="recovered")
    now = versions(file, one, many)
    absent = sum(1 for name in late if name not in now)
    return sum(1 for name in late if now.get(name, -1) > listed.get(name, -1)), absent
