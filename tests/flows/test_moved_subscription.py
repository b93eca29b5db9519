"""A subscription moves to another customer while its bill waits: the bill stays with who used it."""

from __future__ import annotations

import pytest

from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from tests.flows.billed_month import BilledMonth
from tests.flows.conftest import OpenSandbox
from tests.flows.test_read_up_to_now import post

BILL = [2233, 3400]


@pytest.mark.parametrize("draft", ["pending", "closed"])
def test_the_old_customers_bill_never_goes_on_the_new_ones_invoice(open_sandbox: OpenSandbox, draft: str) -> None:
    """The draft of the account's own customer was passed over for one of the new customer's."""
    month = BilledMonth(open_sandbox, charge=False)
    sandbox = month.sandbox
    if draft == "closed":
        month.close()
    post(sandbox, "/customers", id="globex", company="Globex Ltd", email="finance@globex.example")
    post(sandbox, "/subscriptions/sub-single/move", to_customer_id="globex")
    sync_subscriptions.fn()
    first = sync_bills.fn()
    month.world.advance(35 * 86_400)  # a renewal, with a draft of the new customer's
    later = sync_bills.fn()

    charged = {who: [] for who in ("cust-single", "globex")}
    for invoice in month.invoices:
        charged[invoice["customer_id"]] += month.ours(invoice)
    assert "globex" in {row["customer_id"] for row in month.invoices if row["status"] == "pending"}
    assert charged["globex"] == []
    if draft == "pending":
        assert sorted(charged["cust-single"]) == BILL
        assert (first.quarantined, later.quarantined, later.writes) == ([], [], 0)
    else:
        assert charged["cust-single"] == []
        [aside] = later.quarantined
        assert (aside["code"], aside["amount"]) == ("MB-NO-INVOICE", sum(BILL))
