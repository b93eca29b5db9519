"""What m3ter could not ingest after it had accepted it: found in its events, traced to the source row, set aside."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connectors.m3ter.ingest import IngestFailure, ingest_failures
from meterbridge.errors import RetriableError
from meterbridge.ledger import facts, quarantine, runs
from meterbridge.rules.records import Quarantined
from meterbridge.staging.usage_file import usage_opened
from tasks.engine import task
from tasks.runs import Run
from tasks.services import Services, services

logger = logging.getLogger(__name__)

SEEN = "usage_failures_seen"
FIRST_LOOK = timedelta(days=2)
OVERLAP = timedelta(hours=1)
"""Events may appear late; those of the overlap that were seen are known by id."""

MOST_RECORDS = 1_000
RUNS_SEARCHED = 100


@task(name="collect late usage failures")
def collect_failures(run: Run) -> tuple[Quarantined, ...]:
    """Read m3ter's ingest events since the last look, and set the measurements aside that they are about.

    A DuplicateUid of a batch that was sent more than once means that it was there already; any
    other says that somebody sent this uid before with content of its own.
    """
    work = services(run.run_id)
    with work.ledger.read() as rx:
        seen = json.loads(facts.get(rx, SEEN) or "{}")
    now = datetime.fromtimestamp(work.clock.epoch(), UTC)
    since = datetime.fromisoformat(seen["until"]) - OVERLAP if seen else now - FIRST_LOOK
    known = set(seen.get("ids", ()))
    fresh: list[IngestFailure] = []
    ids: list[str] = []
    for event_id, _, failures in ingest_failures(work.m3ter, since.strftime("%Y-%m-%dT%H:%M:%S")):
        ids.append(event_id)
        if event_id not in known:
            fresh += failures
    aside = _judged(work, fresh)
    with work.ledger.write() as tx:
        for each in aside[:MOST_RECORDS]:
            quarantine.put(tx, run.flow, each, run.run_id)
        facts.put(tx, SEEN, json.dumps({"until": now.isoformat(), "ids": ids}))
        tx.commit()
    if aside:
        logger.warning("m3ter could not ingest measurements", extra={"run_id": run.run_id, "count": len(aside)})
    return tuple(aside[:MOST_RECORDS])


def _judged(work: Services, fresh: list[IngestFailure]) -> list[Quarantined]:
    rows = _traced(work, [failure.uid for failure in fresh if failure.uid])
    found = {}
    for failure in fresh:
        place, already = rows.get(failure.uid, ("a source that no kept staging file has", False))
        if failure.kind == "DuplicateUid" and already:
            continue
        code = "MB-USAGE-CHANGED" if failure.kind == "DuplicateUid" else "MB-USAGE-INGEST"
        words = f"{place}: m3ter says {failure.kind}"
        words += f" ({failure.message})" if failure.message not in ("", failure.kind) else ""
        words += f", meter {failure.meter}, account {failure.account}"
        key = ("late", failure.uid or failure.account)
        found[key] = Quarantined("usage", key, code, words)
    return list(found.values())


def _traced(work: Services, uids: list[str]) -> dict[str, tuple[str, bool]]:
    """Where each uid came from, and whether its batch was sent more than once, as far as staging files are kept."""
    if not uids:
        return {}
    found: dict[str, tuple[str, bool]] = {}
    with work.ledger.read() as rx:
        recent = runs.recent(rx, "sync_usage", RUNS_SEARCHED)
    for each in recent:
        path = Path(each.staging)
        if not path.exists():
            continue
        try:
            with usage_opened(path) as file:
                places = file.find(uids)
        except RetriableError:
            continue  # another run is writing this file; its measurements are found next time
        for uid, (source_row, resent) in places.items():
            place, already = found.get(uid, (f"source row {source_row} of run {each.run_id}", False))
            found[uid] = (place, already or resent)
    return found
