"""What m3ter could not ingest after it had accepted it: found in its events, traced to the source row, set aside."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connectors.m3ter.ingest import IngestFailure, ingest_failures
from meterbridge.errors import MeterbridgeError, RetriableError
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


@dataclass(frozen=True, slots=True)
class LateFailures:
    """What was set aside; ``unread`` says why some of m3ter's failures are not known yet, empty if all are."""

    aside: tuple[Quarantined, ...] = ()
    unread: str = ""


@task(name="collect late usage failures")
def collect_failures(run: Run) -> LateFailures:
    """Read m3ter's ingest events since the last look, and set the measurements aside that they are about.

    A DuplicateUid of a batch that was sent more than once means that it was there already; any
    other says that somebody sent this uid before with content of its own. All was delivered before: what cannot be
    read now is read by the next run.
    """
    work = services(run.run_id)
    with work.ledger.read() as rx:
        seen = json.loads(facts.get(rx, SEEN) or "{}")
    now = datetime.fromtimestamp(work.clock.epoch(), UTC)
    since = datetime.fromisoformat(seen["until"]) - OVERLAP if seen else now - FIRST_LOOK
    try:
        events = list(ingest_failures(work.m3ter, since.strftime("%Y-%m-%dT%H:%M:%S")))
    except MeterbridgeError as trouble:
        logger.warning("m3ter's ingest failures cannot be read", extra={"run_id": run.run_id, "code": trouble.code})
        return LateFailures(unread=f"what m3ter could not ingest is read by the next run: {trouble.message}")
    known = set(seen.get("ids", ()))
    fresh = [failure for event_id, _, failures in events if event_id not in known for failure in failures or ()]
    waiting = [(event_id, _moment(at, now)) for event_id, at, failures in events if failures is None]
    waiting = [(event_id, at) for event_id, at in waiting if event_id not in known]
    lost = [event_id for event_id, at in waiting if at < now - FIRST_LOOK]
    again = {event_id: at for event_id, at in waiting if event_id not in lost}
    aside = [*_judged(work, fresh), *(_lost(event_id) for event_id in lost)]
    until = min([now, *again.values()])
    ids = [event_id for event_id, _, _ in events if event_id not in again]
    with work.ledger.write() as tx:
        for each in aside[:MOST_RECORDS]:
            quarantine.put(tx, run.flow, each, run.run_id)
        facts.put(tx, SEEN, json.dumps({"until": until.isoformat(), "ids": ids}))
        tx.commit()
    if aside:
        logger.warning("m3ter could not ingest measurements", extra={"run_id": run.run_id, "count": len(aside)})
    unread = f"{len(again)} of m3ter's failed-ingest files cannot be fetched; the next run tries again" if again else ""
    return LateFailures(tuple(aside[:MOST_RECORDS]), unread)


def _moment(text: str, now: datetime) -> datetime:
    """When an event was; now, if it does not say so in a way that can be read."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return now
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _lost(event_id: str) -> Quarantined:
    words = f"m3ter's file of failed measurements of event {event_id} cannot be fetched for days: look it up in m3ter"
    return Quarantined("usage", ("late", event_id), "MB-USAGE-INGEST", words)


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
