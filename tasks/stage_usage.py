"""Usage before anything is sent: land the input, hold it against m3ter and the ledger, list what is rejected."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from meterbridge.errors import SetupError
from meterbridge.ledger import backfills
from meterbridge.rules.usage import REASONS, UID_DAYS
from meterbridge.staging.usage_file import UsageFile, usage_opened
from meterbridge.staging.usage_landing import Landed
from tasks.engine import task
from tasks.runs import Run
from tasks.services import Services, services
from tasks.usage_accounts import UsageAccounts, usage_accounts
from tasks.usage_input import UsageInput, UsageRequest, open_files, open_mapping, shape_of
from tasks.usage_query import open_query

logger = logging.getLogger(__name__)

CSV_ROWS = 100_000
"""More rejected rows than this are written as Parquet, not as CSV."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rows that are rejected for one reason: the first of them, an example, and the files and lines of the first.

    A line that is no row has its number among ``rows``, negative.
    """

    reason: str
    count: int
    rows: tuple[int, ...]
    example: str
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is to be sent and what is not."""

    rows: int
    measurements: int
    rejected: int
    reasons: tuple[Rejected, ...]
    rejects_file: str

    @property
    def sendable(self) -> int:
        """Measurements that may go."""
        return self.measurements - self.rejected


@task(name="open usage input")
def open_input(run: Run, request: UsageRequest) -> UsageInput:
    """Read the mapping, resolve the sources, fetch a query's rows into a file."""
    work = services(run.run_id)
    mapping = open_mapping(request.mapping, work.settings.root)
    spool = run.path.with_name(f"{run.run_id}-input")
    if request.to == "m3ter" and not mapping.meters:
        raise SetupError("MB-USAGE-MAPPING", f"{mapping.name} has no meters: say --to chargebee, or name some")
    if mapping.query is not None and not request.sources:
        return open_query(work, mapping, spool, request.to)
    return open_files(mapping, request.sources, spool, request.to)


@task(name="land and judge usage")
def stage_usage(run: Run, given: UsageInput, request: UsageRequest) -> Preflight:
    """Pre-flight over the whole input.

    Raises:
        SetupError: MB-USAGE-INPUT, fewer rows came than expected, or some are rejected and ``strict`` was asked for.
    """
    work = services(run.run_id)
    now = work.clock.epoch()
    try:
        with usage_opened(run.path) as file:
            landed = file.land(shape_of(given, now, allow_old=request.allow_old))
            refuse_if_fewer(landed, request)
            file.refer("ref_usage_meters", _meter_troubles(work, given, file))
            named = list(file.accounts())
            accounts = usage_accounts(work, named, customers=given.mapping.account.names == "customer")
            file.refer("ref_usage_accounts", accounts.troubles)
            file.refer("ref_usage_closed", _closed_days(work, given, accounts) if request.allow_old else [])
            file.judge()
            file.name_accounts(accounts.codes)
            preflight = judgement(run, file, landed)
    finally:
        given.forget()
    refuse_if_strict(preflight, request)
    return preflight


def refuse_if_fewer(landed: Landed, request: UsageRequest) -> None:
    """Raise SetupError if the files have fewer rows than were expected."""
    if landed.read < request.expect_rows:
        words = f"the input has {landed.read} rows, at least {request.expect_rows} were expected; nothing was sent"
        raise SetupError(
            "MB-USAGE-INPUT", words, remedy="See whether the input was written whole, and all of it named."
        )


def judgement(run: Run, file: UsageFile, landed: Landed) -> Preflight:
    """What a judged file's rows came to; rejected ones are listed beside it."""
    file.summarise()
    reasons = tuple(
        Rejected(reason, count, tuple(rows), str(example), tuple(places))
        for reason, count, rows, example, places in file.reasons()
    )
    rejected = sum(each.count for each in reasons)
    rejects = _rejects_path(run, rejected)
    if rejected:
        file.write_rejects(rejects)
    logger.info("usage judged", extra={"run_id": run.run_id, "count": landed.measurements, "rejected": rejected})
    return Preflight(landed.rows, landed.measurements, rejected, reasons, str(rejects) if rejected else "")


def refuse_if_strict(preflight: Preflight, request: UsageRequest) -> None:
    """Raise SetupError if a row is rejected and none may be."""
    if preflight.rejected and request.strict:
        shown = "; ".join(f"{each.count} × {REASONS[each.reason].words}" for each in preflight.reasons)
        words = f"{preflight.rejected} of {preflight.measurements} measurements are rejected ({shown})"
        remedy = "Correct the rows that the file lists, or send the others without --strict; nothing was sent."
        raise SetupError("MB-USAGE-INPUT", f"{words}: {preflight.rejects_file}", remedy=remedy)


@task(name="declare backfill")
def declare_backfill(run: Run, given: UsageInput) -> None:
    """Write down which days are backfilled, before the first of them is sent."""
    work = services(run.run_id)
    before = work.clock.epoch() - UID_DAYS * 86_400
    with usage_opened(run.path) as file, work.ledger.write() as tx:
        days = (backfills.BackfillDay(*row) for row in file.old_days(before))
        backfills.declare(tx, given.mapping.name, given.hash, days, run.run_id)
        tx.commit()


def _rejects_path(run: Run, rejected: int) -> Path:
    return run.path.with_name(f"{run.run_id}-rejects.{'parquet' if rejected > CSV_ROWS else 'csv'}")


def _closed_days(work: Services, given: UsageInput, accounts: UsageAccounts) -> list[tuple[str, str, str, str]]:
    with work.ledger.read() as rx:
        days = [day for day, _ in backfills.closed(rx, given.mapping.name, given.hash)]
    return [(day.meter, accounts.as_named(day.account), day.day, "backfilled") for day in days]


def _meter_troubles(work: Services, given: UsageInput, file: UsageFile) -> list[tuple[str, str, str]]:
    """Meters that the input names and m3ter does not know, or that lack a field of the mapping."""
    named = file.meters()
    if not named:
        return []
    known = {str(meter["code"]): _fields(meter) for meter in work.m3ter.meters()}
    found = []
    for code in named:
        wanted = {
            (category, field)
            for meter in given.mapping.meters
            if meter.meter.constant in (None, code)
            for category, field, _ in meter.fields()
        }
        if code not in known:
            found.append((code, "meter_unknown", code))
        elif lacking := sorted(wanted - known[code]):
            found.append((code, "field_unknown", ", ".join(f"{category}.{field}" for category, field in lacking)))
    return found


def _fields(meter: dict[str, object]) -> set[tuple[str, str]]:
    rows = meter.get("dataFields")
    return {(str(row["category"]).lower(), str(row["code"])) for row in rows} if isinstance(rows, list) else set()
