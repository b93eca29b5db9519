"""An older or a lost ledger learns what stands at both vendors."""

from __future__ import annotations

from tasks.decide_bills import decide_bills
from tasks.engine import flow
from tasks.existing import find_existing
from tasks.extract import extract_customers, extract_owners, extract_plans, extract_subscriptions
from tasks.extract_bills import extract_bills, extract_invoices, find_placements
from tasks.extract_both_sides import find_known_plans
from tasks.follow_invoices import follow_invoices, repoint
from tasks.rebuild import take_over
from tasks.rebuild_accounts import take_over_accounts
from tasks.rebuild_credits import find_credits
from tasks.refer import refer
from tasks.report_rebuild import RebuildReport, report_rebuild
from tasks.runs import Request, run_name, running
from tasks.stage import BILL_CASES, BILLS, CUSTOMER_CASES, INVOICES, SUBSCRIPTIONS, stage


@flow(name="rebuild_ledger", flow_run_name=run_name)
def rebuild_ledger(dry_run: bool = False) -> RebuildReport:
    """An older or a lost ledger learns what stands at both vendors. Writes to neither.

    Args:
        dry_run: Only tell what would be taken over.
    """
    with running("rebuild_ledger", Request(dry_run=dry_run, full=True)) as run:
        refer(run)
        extract_customers(run)
        extract_subscriptions(run)
        extract_plans(run)
        stage(run, SUBSCRIPTIONS)
        extract_owners(run)
        find_existing(run)
        find_known_plans(run)
        stage(run, CUSTOMER_CASES)
        accounts = take_over_accounts(run, dry_run=dry_run)
        refer(run, bills_too=True)
        follow_invoices(run)
        extract_bills(run)
        stage(run, BILLS)
        find_placements(run)
        stage(run, SUBSCRIPTIONS)
        given = find_credits(run)
        extract_invoices(run)
        stage(run, INVOICES)
        stage(run, BILL_CASES)
        change_set = decide_bills(run)
        if not dry_run:
            repoint(run)
        found = take_over(run, change_set, given, dry_run=dry_run)
        return report_rebuild(run, accounts, found, dry_run=dry_run)
