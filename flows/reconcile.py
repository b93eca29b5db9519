"""Both sides read anew and compared: what should stand, what does, and the difference to the minor unit."""

from __future__ import annotations

from tasks.engine import flow
from tasks.existing import find_existing
from tasks.extract import extract_customers, extract_plans, extract_subscriptions
from tasks.extract_both_sides import extract_every_bill, extract_every_invoice, find_known_plans
from tasks.reconcile import compare
from tasks.refer import refer
from tasks.report_differences import ReconcileReport, publish
from tasks.runs import Request, run_name, running
from tasks.stage import BILL_CASES, BILLS, CUSTOMER_CASES, INVOICES, SUBSCRIPTIONS, Stage, stage

STANDING_PLANS = Stage("reconcile", ("int_standing_plans",), "standing plans")


@flow(name="reconcile", flow_run_name=run_name)
def reconcile() -> ReconcileReport:
    """Both sides read anew and compared: what should stand, what does, and the difference to the minor unit.

    Writes to no vendor.
    """
    with running("reconcile", Request(full=True)) as run:
        refer(run, bills_too=True)
        extract_customers(run)
        extract_subscriptions(run)
        extract_plans(run)
        stage(run, SUBSCRIPTIONS)
        find_existing(run)
        find_known_plans(run)
        stage(run, CUSTOMER_CASES)
        stage(run, STANDING_PLANS)
        extract_every_bill(run)
        stage(run, BILLS)
        extract_every_invoice(run)
        stage(run, INVOICES)
        stage(run, BILL_CASES)
        report = compare(run)
        publish(run, report)
        return report
