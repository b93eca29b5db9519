"""Find the customer that pays for a bill, once Chargebee has merged customers."""

from __future__ import annotations

from dataclasses import replace

from meterbridge.rules.records import BillCase


def with_successors(case: BillCase) -> BillCase:
    """The case with those among its payers that a payer was merged into.

    An invoice never changes its customer but with all that belongs to it. So where every invoice that was a payer's
    when we charged it is another customer's by now, and so are the bill's subscriptions, that one pays.
    """
    shown = {invoice.id: invoice.customer_id for invoice in case.invoices}
    held = [one for one in case.standing if one.customer_id in case.payers and one.invoice_id in shown]
    now = {shown[one.invoice_id] for one in held}
    owners = {one.customer_id for one in case.subscriptions.values()}
    if not held or len(now) > 1 or now & case.payers or owners != now:
        return case
    return replace(case, payers=case.payers | now)
