"""Approved m3ter bills become charges on the customer's pending Chargebee invoice."""

from __future__ import annotations

from tasks.change_set import record
from tasks.decide_bills import KINDS, decide_bills, subject
from tasks.deliver import BILL_WAVES, deliver
from tasks.engine import flow
from tasks.extract import extract_plans
from tasks.extract_bills import extract_bills, extract_invoices, find_placements, keep_since
from tasks.follow_invoices import follow_invoices, repoint
from tasks.native import refuse_native
from tasks.publish import publish
from tasks.refer import refer
from tasks.report import RunReport, build
from tasks.runs import Request, run_name, running
from tasks.settle import settle, settle_bills
from tasks.stage import BILL_CASES, BILLS, INVOICES, SUBSCRIPTIONS, stage


@flow(name="sync_bills", flow_run_name=run_name)
def sync_bills(dry_run: bool = False, full: bool = False, ids: list[str] | None = None) -> RunReport:
    """Approved m3ter bills become charges on the customer's pending Chargebee invoice.

    Args:
        dry_run: Decide and explain, but write nothing to Chargebee or m3ter.
        full: Compare every bill since the first bill date, not only those of the window.
        ids: Only these bills, by m3ter bill id.
    """
    return sync(Request(dry_run, full, tuple(ids or ())))


def sync(request: Request) -> RunReport:
    """The stages, for whatever was asked for."""
    with running("sync_bills", request) as run:
        refer(run, bills_too=True)
        follow_invoices(run)
        extract_bills(run)
        extract_plans(run)
        stage(run, BILLS)
        refuse_native(run)
        find_placements(run)
        stage(run, SUBSCRIPTIONS)
        extract_invoices(run)
        stage(run, INVOICES)
        stage(run, BILL_CASES)
        change_set = decide_bills(run)
        if request.dry_run:
            report = build(run, change_set)
        else:
            keep_since(run)
            record(run, change_set, KINDS, subject)
            repoint(run)
            delivered = deliver(run, BILL_WAVES)
            settle_bills(run)
            settle(run, KINDS)
            report = build(run, change_set, delivered=delivered)
        return publish(run, report)
