"""Lines with a reference of ours that no row owns, on the invoice between the decision and the first write to it."""

import pytest

from flows import sync_bills
from meterbridge.rules.keys import connection_mark
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from meterbridge.settings import load_settings
from tests.flows.billed_month import OURS, BilledMonth, lose_ledger

OTHER = SubscriptionSeed("sub-other", "cust-other", ("api-pro-EUR-Monthly",), epoch(2026, 1, 1))


def with_another(world):
    """There is another customer."""
    with world.lock:
        put_customer(world, "cust-other", "Other Ltd", "EUR")
        put_subscription(world, OTHER)


def two_customers(open_sandbox):
    """Two customers with a bill each; nothing is charged yet."""
    return BilledMonth(open_sandbox, charge=False, before=[with_another])


def draft_of(month, subscription="sub-single"):
    [found] = [r for r in month.invoices if r["status"] == "pending" and r["subscription_id"] == subscription]
    return found


def ours_on(draft):
    return [line for line in draft["line_items"] if line["entity_type"] in OURS and "[mb:" in line["description"]]


def before_the_first_write(monkeypatch, act):
    """Do something once a run has decided and written down what it wants, and has sent nothing."""
    deliver = sync_bills.deliver

    def after(run, waves):
        act()
        return deliver(run, waves)

    monkeypatch.setattr(sync_bills, "deliver", after)


def put_lines(month, lines):
    """The draft has these lines as well."""
    draft = draft_of(month)
    month.save_invoice(draft | {"line_items": [*draft["line_items"], *lines]})


def bill_of(month, customer):
    return next(bill for bill in month.bills if bill["accountCode"] == customer)


def test_a_line_that_exactly_one_portion_claims_is_taken_over(open_sandbox, monkeypatch):
    """Another host has sent just that: its ledger is lost, its lines come in sight after the decision."""
    month = two_customers(open_sandbox)
    month.charge()
    lines, total = ours_on(draft_of(month)), sum(month.ours())
    draft = draft_of(month)
    month.save_invoice(draft | {"line_items": [one for one in draft["line_items"] if one not in lines]})
    with month.world.lock:
        for row in [row for row in month.world.m3ter.mappings.rows() if row["m3terEntity"] in ("Bill", "BillLineItem")]:
            month.world.m3ter.mappings.remove(row["id"], month.world.clock.now_ms())
    lose_ledger()
    before_the_first_write(monkeypatch, lambda: put_lines(month, lines))
    month.world.log.clear()
    report = month.charge()
    assert (report.quarantined, sum(month.ours()), month.writes()) == ([], total, [])
    assert {line for _, line, _ in month.charges()} >= {line["id"] for line in lines}
    monkeypatch.undo()
    assert (month.charge().intended, month.writes()) == ({}, [])


SECOND, NOBODYS = "a second one of what stands", "of nobody"


@pytest.mark.parametrize(("kind", "code"), [(SECOND, "MB-DOUBLE-CHARGE"), (NOBODYS, "MB-INVOICE-AMBIGUOUS")])
def test_a_line_copied_by_hand_stops_its_own_invoice_and_nobody_else(open_sandbox, monkeypatch, kind, code):
    month = two_customers(open_sandbox)
    if kind == SECOND:
        month.charge()
        for bill in month.bills:
            lines = [line["convertedSubtotal"] for line in bill["lineItems"]]
            month.recalculate(lines[0] + 3, *lines[1:], bill=bill)
    before_the_first_write(monkeypatch, lambda: put_lines(month, [copied(month, kind)]))
    month.world.log.clear()
    report = month.charge()
    monkeypatch.undo()
    bill = bill_of(month, "cust-single")
    assert {(row["key"][0], row["code"]) for row in report.quarantined if row["kind"] == "charge"} == {
        (bill["id"], code)
    }
    assert sum(month.ours(draft_of(month, "sub-other"))) == month.total(bill_of(month, "cust-other"))
    again = month.charge()
    assert {row["key"][0] for row in again.quarantined if row["kind"] == "charge"} == {bill["id"]}
    sent = [entry.path for entry in month.writes() if draft_of(month)["id"] in entry.path]
    assert [path for path in sent if "/add_charge" in path] == []


def copied(month, kind):
    """A line as a person makes it who copies one of ours, or its text with a typing error."""
    draft = draft_of(month)
    if kind == SECOND:
        return ours_on(draft)[-1] | {"id": "li_copied"}
    settings = load_settings()
    mark = connection_mark(settings.connection, settings.chargebee_site, settings.m3ter_org_id)
    line = draft["line_items"][0] | {"entity_type": "adhoc", "subscription_id": "sub-single", "entity_id": None}
    amounts = {"amount": 123, "unit_amount": 123}
    return line | amounts | {"id": "li_copied", "description": f"Copied [mb:0123456789ab-{mark}]"}
