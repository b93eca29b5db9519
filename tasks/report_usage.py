"""A usage run's outcome: the report, what was rejected in the quarantine by reason, artifacts in Prefect's UI."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from prefect.artifacts import create_table_artifact
from prefect.context import FlowRunContext
from pydantic import Field

from meterbridge.ledger import quarantine, runs
from meterbridge.rules.records import Key, Quarantined
from meterbridge.rules.usage import REASONS
from meterbridge.staging.usage_file import usage_opened
from meterbridge.usage_mapping import WHOLE_ROW
from tasks.deliver_usage import UsageDelivered
from tasks.engine import task
from tasks.ledger_trust import notices
from tasks.publish import artifact_key, show
from tasks.report import RunReport
from tasks.report_page import summary
from tasks.runs import Run
from tasks.services import services
from tasks.stage_usage import Preflight
from tasks.usage_failures import LateFailures
from tasks.usage_input import UsageInput

logger = logging.getLogger(__name__)

SHOWN_ROWS = 200
SHOWN_REFUSALS = 1_000
SHOWN_FILES = 10
SHOWN_PLACES = 3


class UsageReport(RunReport):
    """A usage run's outcome: ``accounts`` counts per meter and account, ``rejects`` is the file of rejected rows.

    ``lines`` says what became of every line of a text input: the others sum up to ``lines``. ``notes`` are for people.
    """

    input_hash: str = ""
    lines: dict[str, int] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    accounts: list[dict[str, Any]] = Field(default_factory=list)
    rejects: str = ""
    preview: list[str] = Field(default_factory=list)
    to: str = "m3ter"


@task(name="preview usage")
def preview_usage(run: Run, count: int) -> list[str]:
    """The first measurements as they would be sent, as JSON."""
    with usage_opened(run.path) as file:
        return file.first_sendable(count)


def lines_of(given: UsageInput) -> dict[str, int]:
    """What became of every line; empty for an input without lines."""
    return asdict(given.lines) if given.lines is not None else {}


def notes_of(given: UsageInput) -> list[str]:
    """What people should know of an input that has nothing wrong with it."""
    notes = []
    if (count := given.lines) is not None:
        parts = {
            "of rows": count.rows,
            "of headings": count.headings,
            "blank": count.blank,
            "skipped": count.skipped,
            "that cannot be read": count.unreadable,
            "under open quotes": count.under_open_quotes,
        }
        notes.append(
            f"{count.lines} lines: " + ", ".join(f"{number} {words}" for words, number in parts.items() if number)
        )
    if given.bare:
        shown = ", ".join(given.bare[:SHOWN_FILES]) + (" …" if len(given.bare) > SHOWN_FILES else "")
        notes.append(f"{len(given.bare)} of {len(given.source.names)} files have no row: {shown}")
    if given.mapping.key == WHOLE_ROW:
        notes.append("The key is the whole row: equal rows count each, if they all came in this one input.")
    return notes


def set_aside(given: UsageInput, preflight: Preflight, delivered: UsageDelivered | None) -> list[Quarantined]:
    """What keeps rows from going, one record a reason; and each measurement that m3ter refused."""
    name = given.mapping.name
    found = []
    for each in preflight.reasons:
        reason = REASONS[each.reason]
        shown = ", ".join(str(row) for row in each.rows if row > 0)
        words = f"{each.count} × {reason.words}; " + (f"source rows {shown}: " if shown else "")
        words += ", ".join(each.places) + (" …" if each.count > len(each.places) == SHOWN_PLACES else "")
        words += f" ({'such as ' if shown else ''}{each.example})" if each.example else ""
        found.append(Quarantined("usage", (name, given.name, each.reason), reason.code, f"{words} of {given.name}"))
    if given.unmarked:
        words = f"{given.unmarked} × the watermark column is empty: such rows are never read"
        found.append(Quarantined("usage", (name, given.name, "watermark_missing"), "MB-USAGE-ROW", words))
    for refusal in delivered.refused[:SHOWN_REFUSALS] if delivered else ():
        key: Key = (name, given.name, "refused", str(refusal.source_row), str(refusal.number))
        found.append(Quarantined("usage", key, "MB-REFUSED", f"source row {refusal.source_row}: {refusal.message}"))
    return found


def quarantine_usage(run: Run, given: UsageInput, aside: list[Quarantined]) -> None:
    """Set the reasons aside, and clear those of the same input that are gone."""
    work = services(run.run_id)
    current = {each.key for each in aside}
    with work.ledger.write() as tx:
        for row in quarantine.list(tx):
            if row.kind == "usage" and row.key[:2] == (given.mapping.name, given.name) and row.key not in current:
                quarantine.clear(tx, row.kind, row.key)
        for each in aside:
            quarantine.put(tx, run.flow, each, run.run_id)
        tx.commit()


@task(name="report usage")
def report_usage(
    run: Run,
    given: UsageInput,
    preflight: Preflight,
    delivered: UsageDelivered | None = None,
    *,
    later: LateFailures = LateFailures(),  # noqa: B008 -- immutable
    preview: Sequence[str] = (),
) -> UsageReport:
    """Close the run in the ledger and show its summary; without ``delivered`` it was a dry run."""
    work = services(run.run_id)
    aside = set_aside(given, preflight, delivered)
    if delivered is not None:
        quarantine_usage(run, given, aside)
    report = UsageReport(
        flow=run.flow,
        flow_run_id=run.flow_run_id,
        dry_run=delivered is None,
        extracted={"rows": preflight.rows},
        intended={"measurement": preflight.sendable},
        applied={"measurement": delivered.sent} if delivered and delivered.sent else {},
        unchanged=delivered.known if delivered else 0,
        quarantined=[
            {"key": list(each.key), "kind": each.kind, "code": each.code, "message": each.message}
            for each in (*aside, *later.aside)
        ],
        requests=work.requests() | ({"m3ter_ingest": delivered.requests} if delivered else {}),
        throttled=work.throttled() + (delivered.throttled if delivered else 0),
        notices=notices(work.settings, work.ledger),
        seconds=round(work.clock.epoch() - run.started_at, 3),
        change_set=given.hash,
        staging=run.staging,
        input_hash=given.hash,
        lines=lines_of(given),
        notes=notes_of(given) + ([later.unread] if later.unread else []),
        accounts=accounts_of(run),
        rejects=preflight.rejects_file,
        preview=list(preview),
    )
    publish_usage(run, report)
    return report


def accounts_of(run: Run) -> list[dict[str, Any]]:
    """The run's counts per meter and account, the largest first."""
    with usage_opened(run.path) as file:
        return [{name: _plain(value) for name, value in row.items()} for row in file.summary(SHOWN_ROWS)]


def publish_usage(run: Run, report: UsageReport) -> None:
    """Close the run in the ledger and show its summary in Prefect's UI."""
    work = services(run.run_id)
    counts = report.model_dump(mode="json", include={"extracted", "intended", "applied", "unchanged", "seconds"})
    counts["set_aside"] = len(report.quarantined)
    with work.ledger.write() as tx:
        runs.close_run(tx, run.run_id, "dry run" if report.dry_run else "done", counts, report.change_set)
        tx.commit()
    if FlowRunContext.get() is not None:
        show(run, report, summary(report, work.settings.chargebee_site))
        caption = f"Measurements per meter and account; the first {SHOWN_ROWS} at most."
        create_table_artifact(report.accounts, key=artifact_key(run, "accounts"), description=caption)
    logger.info("run done", extra={"run_id": run.run_id, "writes": report.writes, "seconds": report.seconds})


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int | str) else str(value)
