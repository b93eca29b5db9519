"""Webhook events become a targeted sync of the records they name."""

from __future__ import annotations

from flows import sync_bills, sync_subscriptions
from tasks.engine import flow, plain_tasks
from tasks.inbox import Source, settling, take
from tasks.report import RunReport
from tasks.services import ledger_in_use

SYNCS = {"chargebee": sync_subscriptions.sync, "m3ter": sync_bills.sync}


@flow(name="drain_inbox", flow_run_name="drain_inbox of {source}")
def drain_inbox(source: Source = "chargebee", limit: int = 500) -> RunReport | None:
    """Webhook events become a targeted sync of the records they name: one micro-batch.

    Args:
        source: Whose events: Chargebee's name subscriptions and customers, m3ter's bills.
        limit: Most events at once.

    Returns:
        The sync's report; None when nothing waits, or nothing that concerns us.
    """
    with ledger_in_use() as ledger:
        batch = take(ledger, source, limit)
        if batch is None:
            return None
        with settling(ledger, batch) as reports, plain_tasks():
            if batch.request is not None:
                reports.append(SYNCS[source](batch.request))
        return reports[0] if reports else None
