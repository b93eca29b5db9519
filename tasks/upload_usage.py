"""Usage out as files: written, uploaded through a signed URL, and the job watched to its end."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors.m3ter.ingest import UploadJob, upload, upload_job, upload_url
from meterbridge.errors import RetriableError
from meterbridge.ledger import holds, usage
from meterbridge.rules.usage import runs
from meterbridge.staging.usage_file import UsageFile, usage_opened
from tasks.deliver_usage import UsageDelivered
from tasks.engine import task
from tasks.runs import Run
from tasks.services import Services, services
from tasks.stage_usage import Preflight
from tasks.usage_batches import Cutter, cutter_of
from tasks.usage_input import UsageInput, UsageRequest
from tasks.usage_progress import Meter

logger = logging.getLogger(__name__)

SLOTS_PER_FILE = 400
POLL_SECONDS = (0.2, 5.0)
"""First and longest pause between two looks at a job."""

MEASUREMENTS_PER_SECOND = 500
"""Slower than m3ter is said to be (2,000/s, file by file): a job that takes longer is looked at in the next run."""

PATIENCE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class FileBatch:
    """One file of measurements, written and not yet sent."""

    hash: str
    slot: int
    members: str
    count: int
    path: Path


def by_file(run: Run, request: UsageRequest, preflight: Preflight) -> bool:
    """True if the input goes out as files: as asked for, else by its size."""
    if request.via == "auto":
        return preflight.sendable >= services(run.run_id).settings.usage_file_from
    return request.via == "file"


@task(name="upload usage")
def upload_usage(run: Run, given: UsageInput, sendable: int) -> UsageDelivered:
    """Send what the ledger does not know as sent, file by file. Killed anywhere, the next run goes on from there."""
    work = services(run.run_id)
    delivered = UsageDelivered()
    with usage_opened(run.path) as file, Meter("usage to m3ter, as files", sendable) as meter:
        cutter = cutter_of(work, given, file)
        for batch in _files(cutter, run):
            try:
                if _through(work, run, given, file, batch):
                    delivered.sent += batch.count
                else:
                    delivered.known += batch.count
            finally:
                batch.path.unlink(missing_ok=True)
            meter.advance(batch.count)
        delivered.known += cutter.skipped
    logger.info("usage uploaded", extra={"run_id": run.run_id, "count": delivered.sent})
    return delivered


def _files(cutter: Cutter, run: Run) -> Iterator[FileBatch]:
    """The input's files, written one at a time: a JSON array of the measurements of so many slots."""
    for first in range(0, cutter.last_slot + 1, SLOTS_PER_FILE):
        path = run.path.with_name(f"{run.run_id}-{first}.json")
        digest, members, count = hashlib.sha256(), [], 0
        with path.open("wb") as out:
            for batch in cutter.batches(first, min(first + SLOTS_PER_FILE - 1, cutter.last_slot)):
                part = (b"," if count else b"[") + batch.body.encode()
                digest.update(part)
                out.write(part)
                members.append(batch.members)
                count += batch.count
            out.write(b"]")
        if count:
            yield FileBatch(digest.hexdigest()[:40], first, ",".join(members), count, path)
        else:
            path.unlink()


def _through(work: Services, run: Run, given: UsageInput, file: UsageFile, batch: FileBatch) -> bool:
    """Bring one file to m3ter and see its job succeed; False if the ledger knew it as sent."""
    name = given.mapping.name
    row = usage.UsageBatch(name, batch.hash, given.hash, batch.slot, batch.count, run.run_id, members=batch.members)
    with work.ledger.write() as tx:
        known = usage.known(tx, name, [batch.hash]).get(batch.hash)
        usage.record_batches(tx, [] if known else [row])
        tx.commit()
    if known is not None and known.state == "sent":
        return False
    job_id = known.job_id if known is not None else None
    job = _ended(work, job_id, batch.count) if job_id is not None else None
    if job is None or job.status in ("notUploaded", "failed"):
        if known is not None:
            # Who wrote it down may only sleep: its file comes beside ours, even if it has no address yet.
            file.mark_resent(runs(batch.members))
        job_id, job = _uploaded(work, given, file, batch)
    if job is None or job.status != "succeeded":
        raise RetriableError("MB-UNAVAILABLE", f"m3ter's upload job {job_id} did not succeed; it is sent again")
    with work.ledger.write() as tx:
        usage.mark_sent(tx, name, batch.hash, job_id=job_id)
        tx.commit()
    if job.failed:
        logger.warning("m3ter could not ingest parts of a file", extra={"job": job_id, "count": job.failed})
    return True


def _uploaded(work: Services, given: UsageInput, file: UsageFile, batch: FileBatch) -> tuple[str, UploadJob | None]:
    """Upload the file and watch its job; a file that did not get there within its URL's minute gets another URL, once.

    Each job is written down before the first byte leaves.
    """
    name = given.mapping.name
    for last in (False, True):
        target = upload_url(work.m3ter, f"{name[:40]}-{batch.hash}.json", batch.path.stat().st_size)
        with work.ledger.write() as tx:
            holds.refuse_all_held(tx)
            usage.note_job(tx, name, batch.hash, target.job_id)
            tx.commit()
        try:
            upload(target, batch.path)
        except RetriableError:
            if last:
                raise
        job = _ended(work, target.job_id, batch.count)
        if last or job is None or job.status != "notUploaded":
            return target.job_id, job
        file.mark_resent(runs(batch.members))
    raise AssertionError("unreachable")


def _ended(work: Services, job_id: str, count: int) -> UploadJob | None:
    """The job once it stops running; None when m3ter does not know it.

    Raises:
        RetriableError: MB-UNAVAILABLE, it runs for longer than such a file takes.
    """
    until = time.monotonic() + PATIENCE_SECONDS + count / MEASUREMENTS_PER_SECOND
    pause, longest = POLL_SECONDS
    while True:
        job = upload_job(work.m3ter, job_id)
        if job is None or job.status != "running":
            return job
        if time.monotonic() > until:
            raise RetriableError("MB-UNAVAILABLE", f"m3ter's upload job {job_id} is still running; looked at next run")
        time.sleep(pause)
        pause = min(pause * 2, longest)
