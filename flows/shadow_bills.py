"""What sync_bills would charge beside what stands on the invoices: compared line by line, nothing written."""

from __future__ import annotations

from tasks.engine import flow
from tasks.extract import extract_plans
from tasks.extract_bills import extract_bills, extract_invoices, find_placements
from tasks.native import native_integrations
from tasks.refer import refer
from tasks.report_shadow import ShadowReport, publish
from tasks.runs import Request, run_name, running
from tasks.shadow import compare_with_invoices
from tasks.stage import BILL_CASES, BILLS, INVOICES, SUBSCRIPTIONS, stage


@flow(name="shadow_bills", flow_run_name=run_name)
def shadow_bills(ids: list[str] | None = None, since: float | None = None) -> ShadowReport:
    """What sync_bills would charge beside what stands on the invoices: compared line by line, nothing written.

    Runs while m3ter's own integration is active, too: this is how one is left.

    Args:
        ids: Only these bills, by m3ter bill id.
        since: Bills dated from this instant on (epoch seconds); by default those of the window.
    """
    with running("shadow_bills", Request(dry_run=True, ids=tuple(ids or ()), since=since, shadow=True)) as run:
        refer(run)
        extract_bills(run)
        extract_plans(run)
        stage(run, BILLS)
        native = native_integrations(run)
        find_placements(run)
        stage(run, SUBSCRIPTIONS)
        extract_invoices(run)
        stage(run, INVOICES)
        stage(run, BILL_CASES)
        report = compare_with_invoices(run, native)
        publish(run, report)
        return report
