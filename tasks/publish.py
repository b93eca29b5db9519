"""A run's end: closed in the ledger, shown in Prefect's UI, told to whoever listens."""

from __future__ import annotations

import logging

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext

from meterbridge.ledger import runs
from meterbridge.staging.database import opened
from tasks.awaiting import announce
from tasks.closing_soon import announce_closing
from tasks.engine import task
from tasks.report import RunReport
from tasks.report_page import summary
from tasks.review import change_set_page
from tasks.runs import Run
from tasks.services import services

logger = logging.getLogger(__name__)

COUNTED = {"extracted", "intended", "applied", "unchanged", "awaiting_approval", "missing", "requests", "seconds"}
"""The fields of a report that the ledger keeps."""


@task(name="report")
def publish(run: Run, report: RunReport) -> RunReport:
    """Close the run in the ledger and show its summary and change set in Prefect's UI; returns the report."""
    work = services(run.run_id)
    counts = report.model_dump(mode="json", include=COUNTED) | {"set_aside": len(report.quarantined)}
    state = "dry run" if report.dry_run else "done"
    with work.ledger.write() as tx:
        runs.close_run(tx, run.run_id, state, counts, report.change_set)
        tx.commit()
    if FlowRunContext.get() is not None:
        site = work.settings.chargebee_site
        show(run, report, summary(report, site))
        with opened(run.path) as file:
            page = change_set_page(file, report, site)
        caption = "Every write that was decided: money first, the largest first."
        create_markdown_artifact(page, key=artifact_key(run, "change-set"), description=caption)
        if report.closing_soon:
            announce_closing(run, report.closing_soon)
        if report.awaiting_approval:
            announce(run, report.awaiting_approval)
    logger.info("run done", extra={"run_id": run.run_id, "writes": report.writes, "seconds": report.seconds})
    return report


def show(run: Run, report: RunReport, page: str) -> None:
    """Show a run's report in Prefect's UI, if it runs there: its card says how the run ended."""
    if FlowRunContext.get() is not None:
        create_markdown_artifact(page, key=artifact_key(run, "report"), description=report.outcome.sentence)


def artifact_key(run: Run, what: str) -> str:
    """The fixed key of one of a flow's artifacts: its page is its history."""
    return f"{run.flow}-{run.connection}-{what}".replace("_", "-")
