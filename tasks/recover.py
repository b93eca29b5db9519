"""What events tell of and the lists did not show, or showed too old: read by id; and what happened in between."""

from __future__ import annotations

import logging

from meterbridge.staging.database import Staging, opened
from tasks.engine import task
from tasks.extract_events import CUSTOMER_EVENTS, SUBSCRIPTION_EVENTS, land_since
from tasks.extract_hinted import read_again, versions
from tasks.runs import Run
from tasks.services import Services, services

logger = logging.getLogger(__name__)

TOLD = (
    "select entry.event.content.{one}.id as id, "
    "max(try_cast(entry.event.content.{one}.resource_version as bigint)) as version, "
    "max(try_cast(entry.event.occurred_at as bigint)) as told_at "
    "from raw_chargebee__events where entry.event.content.{one}.id is not null "
    "and starts_with(entry.event.event_type, '{one}_') group by all"
)


@task(name="recover what the lists missed")
def recover_missed(run: Run) -> tuple[int, int]:
    """Compare the events since the last run with what was listed, and read by id what is absent or older.

    The events stay: they also show what happened between two runs, for which alone a run of named ids reads them.

    Returns:
        How many were recovered, and how many an event told of before the hold-back and cannot be read at all.
    """
    if run.request.hints:
        return 0, 0
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_chargebee__events", "ref_asked")
        if run.request.ids:
            land_since(work, file, run.events_since, SUBSCRIPTION_EVENTS)
            return 0, 0
        land_since(work, file, run.events_since, (*SUBSCRIPTION_EVENTS, *CUSTOMER_EVENTS))
        recovered = missing = 0
        for one, many in (("customer", "customers"), ("subscription", "subscriptions")):
            found, absent = _recover(work, file, (one, many), run.window.until)
            recovered, missing = recovered + found, missing + absent
    logger.info("recovered", extra={"run_id": run.run_id, "count": recovered, "missing": missing})
    return recovered, missing


def _recover(work: Services, file: Staging, names: tuple[str, str], until: int) -> tuple[int, int]:
    told = {row["id"]: row for row in file.rows(TOLD.format(one=names[0]))}
    listed = versions(file, *names)
    late = {name: row["version"] or 0 for name, row in told.items() if listed.get(name, -1) < (row["version"] or 0)}
    if not late:
        return 0, 0
    read_again(work, file, names, late, origin="recovered")
    now = versions(file, *names)
    # What an event tells of now may be shown a moment later.
    absent = sum(1 for name in late if name not in now and (told[name]["told_at"] or 0) <= until)
    return sum(1 for name in late if now.get(name, -1) > listed.get(name, -1)), absent
