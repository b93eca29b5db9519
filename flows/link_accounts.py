"""Customers are linked to accounts that were there before us, as a person's file says; or taken off them again."""

from __future__ import annotations

from tasks.deliver import deliver
from tasks.engine import flow
from tasks.link import LINK_WAVES, LinkReport, decide_links, record_links, report_links
from tasks.publish import publish
from tasks.runs import Request, running


@flow(name="link_accounts", flow_run_name="link_accounts of {file}")
def link_accounts(file: str, dry_run: bool = False, remove: bool = False) -> LinkReport:
    """Customers are linked to accounts that were there before us, as a person's file says; or taken off them again.

    The next run of sync_subscriptions adopts what is linked.

    Args:
        file: A CSV file with the columns customer_id and account_id or account_code, such as `link suggest` writes.
        dry_run: Judge every line and explain, but write nothing to m3ter.
        remove: Take the customers off these accounts again; what stands in m3ter stays there.
    """
    with running("link_accounts", Request(dry_run)) as run:
        linking, delivered = decide_links(run, file, remove=remove), None
        if not dry_run:
            record_links(run, linking)
            delivered = deliver(run, LINK_WAVES)
        report = report_links(run, linking, delivered)
        publish(run, report)
        return report
