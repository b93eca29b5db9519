"""What webhook events name, read again by id into ``raw_*``: the event is a hint, the record is the truth."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from connectors.chargebee.encoding import id_filters
from meterbridge.ledger.inbox import Event
from meterbridge.staging.database import Staging, opened
from tasks.engine import task
from tasks.extract import extract_subscriptions
from tasks.extract_events import FEW, entry_or_none, land_between
from tasks.runs import Run
from tasks.services import Services, services

logger = logging.getLogger(__name__)

VERSIONS = (
    "select entry.{one}.id as id, max(try_cast(entry.{one}.resource_version as bigint)) as version "
    "from raw_chargebee__{many} where entry.{one}.id is not null group by all"
)


def extract_asked(run: Run) -> int:
    """What events name, if the run was asked for by events; else the subscriptions of its window or named ids."""
    return extract_hinted(run) if run.request.hints else extract_subscriptions(run)


@task(name="extract what events name")
def extract_hinted(run: Run) -> int:
    """Subscriptions and customers that events name, at least in the version told of, and what happened in between.

    One that Chargebee no longer has (or never had) is left out: there is nothing to sync.
    """
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_chargebee__customers", "raw_chargebee__subscriptions", "raw_chargebee__events", "ref_asked")
        landed = 0
        for one, many in (("customer", "customers"), ("subscription", "subscriptions")):
            landed += read_again(work, file, (one, many), newest(run.request.hints, one), origin="hinted")
        land_between(work, file, run.request.hints)
    logger.info("landed", extra={"run_id": run.run_id, "resource": "hinted", "count": landed})
    return landed


def newest(hints: Iterable[Event], resource: str) -> dict[str, int]:
    """Ids that events of one resource name, with the highest version told of (0: none)."""
    wanted: dict[str, int] = {}
    for event in hints:
        if event.resource == resource:
            wanted[event.resource_id] = max(wanted.get(event.resource_id, 0), event.resource_version or 0)
    return wanted


def versions(file: Staging, one: str, many: str) -> dict[str, int]:
    """The newest version of each record that has landed, by id."""
    return {row["id"]: row["version"] or 0 for row in file.rows(VERSIONS.format(one=one, many=many))}


def read_again(work: Services, file: Staging, names: tuple[str, str], wanted: dict[str, int], *, origin: str) -> int:
    """Land records by id, each at least in the version wanted where Chargebee has it; returns how many entries came."""
    one, many = names
    file.land_rows("ref_asked", ({"resource": one, "id": id_, "version": v} for id_, v in wanted.items()))
    read = work.chargebee.customer if one == "customer" else work.chargebee.subscription
    landed = 0 if len(wanted) <= FEW else _land_lists(work, file, many, list(wanted), origin)
    listed = versions(file, one, many)
    late = [name for name, version in wanted.items() if listed.get(name, -1) < version]
    with ThreadPoolExecutor(work.settings.deliver_threads) as pool:
        entries = list(pool.map(lambda name: entry_or_none(read, name), late))
    found = [entry for entry in entries if entry is not None]
    landed += file.land_pages(many, [json.dumps({"list": found}).encode()], origin=origin)
    gone = [name for name, entry in zip(late, entries, strict=True) if entry is None]
    # A deleted record answers 404 by id; the list still has it, in its last version.
    return landed + _land_lists(work, file, many, gone, origin)


def _land_lists(work: Services, file: Staging, many: str, ids: list[str], origin: str) -> int:
    landed = 0
    for some in id_filters("id", ids):
        params = {**some, "include_deleted": "true"}
        pages = (page.body for page in work.chargebee.pages(many, params, sort_by="created_at"))
        landed += file.land_pages(many, pages, origin=origin)
    return landed
