"""What runs leave behind: a staging file where something was found, the run's facts alone where nothing was."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from meterbridge.ledger import runs
from meterbridge.ledger.ledger import Reader
from meterbridge.settings import Settings
from meterbridge.staging.database import opened

if TYPE_CHECKING:
    from tasks.runs import Run

logger = logging.getLogger(__name__)

COMPACTED = ("sync_subscriptions", "sync_bills")
"""Flows that run so often that a file of each would fill a disk; of the others a person wants to see the tables."""

PAUSE_SECONDS = 600.0
"""Between two looks at all files: a drain every five seconds must not look at each of them."""


def left_behind(run: Run) -> Path:
    """The staging file; the file of its facts where the run decided nothing, set nothing aside and missed nothing."""
    if run.flow not in COMPACTED or run.request.dry_run or run.request.shadow or _found_anything(run):
        return run.path
    return run.path.with_suffix(".json")


def _found_anything(run: Run) -> bool:
    with opened(run.path) as file:
        names = [row["table_name"] for row in file.rows("select table_name from duckdb_tables()")]
        for name in names:
            if name.startswith(("chk_", "out_")) and name != "out_set_aside" and file.count(name):
                return True
        query = "select count(*) as found from out_set_aside where decision <> 'out_of_scope'"
        return any(row["found"] for row in file.rows(query))


def facts_of(run: Run) -> str:
    """The run's facts as JSON: what was in force, what it read up to."""
    with opened(run.path) as file:
        rows = list(file.rows("select name, value from run_facts"))
    return json.dumps({row["name"]: row["value"] for row in rows}, ensure_ascii=False, indent=1) + "\n"


def compact(run: Run, told: str) -> None:
    """Put the facts in the staging file's place; nobody holds that one any more."""
    run.path.with_suffix(".json").write_text(told, encoding="utf-8")
    for file in (run.path, run.path.with_name(f"{run.path.name}.wal")):
        file.unlink(missing_ok=True)


def is_due(folder: Path) -> bool:
    """True if nobody has looked at the folder's files for a while; who asks is expected to do it."""
    marker, now = folder / ".pruned", time.time()
    if marker.exists() and 0 <= now - marker.stat().st_mtime < PAUSE_SECONDS:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return True


def prune(settings: Settings, rx: Reader, *, folder: Path) -> None:
    """Remove copies of inputs that nobody reads any more, staging files that are too old, then those above the limit.

    Above the limit on all files together, the oldest go first.

    The limit spares what runs set aside, rejected or missed: that goes by age alone.

    Args:
        folder: The connection's staging folder, one folder a flow in it.
    """
    _prune_inputs(rx, folder)
    oldest = time.time() - settings.keep_staging_days * 86_400
    kept: list[tuple[float, int, Path]] = []
    for path, changed, size in _files(folder):
        if changed < oldest:
            _remove(path, "it is older than METERBRIDGE_KEEP_STAGING_DAYS")
        else:
            kept.append((changed, size, path))
    too_much = sum(size for _, size, _ in kept) - settings.keep_staging_mb * 1_000_000
    for _, size, path in sorted(kept):
        if too_much <= 0:
            return
        if not _is_evidence(rx, path):
            _remove(path, "all together are larger than METERBRIDGE_KEEP_STAGING_MB")
            too_much -= size


def _prune_inputs(rx: Reader, folder: Path) -> None:
    """A run takes its copies away itself, unless its process was killed."""
    now = time.time()
    for path in folder.glob("*/*-input*"):
        row = runs.get(rx, path.name.rpartition("-input")[0])
        try:
            is_left = now - path.stat().st_mtime > runs.LOST_SECONDS if row is None else row.is_silent(now)
        except FileNotFoundError:  # another process prunes, too
            continue
        if is_left or (row is not None and row.state != "running"):
            _remove(path, "its run is not at work any more")


def _files(folder: Path) -> Iterator[tuple[Path, float, int]]:
    """Staging files and files of facts, with when they were changed and how much they take of the disk, in bytes."""
    for pattern in ("*/*.duckdb", "*/*.json"):
        for path in folder.glob(pattern):
            try:
                found = path.stat()
            except FileNotFoundError:  # another process prunes, too
                continue
            yield path, found.st_mtime, found.st_blocks * 512


def _is_evidence(rx: Reader, path: Path) -> bool:
    """True if a run is still at work on the file, or it holds what was set aside, rejected or missed."""
    row = runs.get(rx, path.stem)
    if row is None:
        return False
    counts = row.counts or {}
    return row.state == "running" or any(counts.get(name) for name in ("set_aside", "missing", "differences"))


def _remove(path: Path, why: str) -> None:
    path.unlink(missing_ok=True)
    logger.info("staging file removed", extra={"file": path.name, "reason": why})
