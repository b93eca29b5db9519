"""Chargebee customers and subscriptions become m3ter accounts and account plans."""

from __future__ import annotations

from tasks.change_set import record
from tasks.decide_subscriptions import KINDS, decide_subscriptions, subject
from tasks.deliver import SUBSCRIPTION_WAVES, deliver
from tasks.engine import flow
from tasks.existing import find_existing
from tasks.extract import extract_customers, extract_owners, extract_plans
from tasks.extract_hinted import extract_asked
from tasks.foreign_edits import find_edited
from tasks.publish import publish
from tasks.recover import recover_missed
from tasks.refer import refer
from tasks.report import RunReport, build
from tasks.runs import Request, run_name, running
from tasks.settle import settle
from tasks.stage import CHANGES, CUSTOMER_CASES, stage


@flow(name="sync_subscriptions", flow_run_name=run_name)
def sync_subscriptions(
    dry_run: bool = False,
    full: bool = False,
    ids: list[str] | None = None,
    since: float | None = None,
    repair: bool = False,
) -> RunReport:
    """Chargebee customers and subscriptions become m3ter accounts and account plans.

    Args:
        dry_run: Decide and explain, but write nothing to m3ter.
        full: Read everything, not only what changed since the last run.
        ids: Only these subscriptions, or subscriptions of these customers.
        since: Read what changed since this instant (epoch seconds) instead of the last run's.
        repair: Bring back what somebody changed in m3ter by hand.
    """
    return sync(Request(dry_run, full, tuple(ids or ()), since, repair=repair))


def sync(request: Request) -> RunReport:
    """The stages, for whatever was asked for."""
    with running("sync_subscriptions", request) as run:
        extract_customers(run)
        extract_asked(run)
        recovered = recover_missed(run)
        extract_plans(run)
        refer(run, own_slice=True)
        stage(run, CHANGES)
        extract_owners(run)
        find_existing(run)
        find_edited(run)
        stage(run, CUSTOMER_CASES)
        change_set, delivered = decide_subscriptions(run), None
        if not request.dry_run:
            record(run, change_set, KINDS, subject)
            delivered = deliver(run, SUBSCRIPTION_WAVES)
            settle(run, KINDS)
        return publish(run, build(run, change_set, delivered=delivered, recovered=recovered))
