"""Two that work on one bill at the same time: what a run decided from an earlier state of the ledger is never sent."""

from contextlib import contextmanager

from sqlalchemy import update

from flows.approve_bills import approve_bills
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.ledger import quarantine
from meterbridge.ledger.schema import mappings
from meterbridge.settings import load_settings
from tasks import decide_subscriptions
from tasks.change_set import record
from tasks.decide_bills import KINDS, decide_bills, subject
from tasks.deliver import BILL_WAVES, SUBSCRIPTION_WAVES, deliver
from tasks.existing import find_existing
from tasks.extract import extract_customers, extract_plans
from tasks.extract_bills import extract_bills, extract_invoices, find_placements, keep_since
from tasks.extract_hinted import extract_asked
from tasks.follow_invoices import follow_invoices, repoint
from tasks.refer import refer
from tasks.runs import Request, running
from tasks.services import open_ledger
from tasks.settle import settle, settle_bills
from tasks.stage import BILL_CASES, BILLS, CUSTOMER_CASES, INVOICES, SUBSCRIPTIONS, stage
from tests.flows.billed_month import BilledMonth


@contextmanager
def between_deciding_and_recording():
    """The stages of sync_bills; the block runs when everything is decided and nothing is recorded."""
    with running("sync_bills", Request()) as run:
        refer(run, bills_too=True)
        follow_invoices(run)
        extract_bills(run)
        extract_plans(run)
        stage(run, BILLS)
        find_placements(run)
        stage(run, SUBSCRIPTIONS)
        extract_invoices(run)
        stage(run, INVOICES)
        stage(run, BILL_CASES)
        change_set = decide_bills(run)
        yield
        keep_since(run)
        record(run, change_set, KINDS, subject)
        repoint(run)
        deliver(run, BILL_WAVES)
        settle_bills(run)
        settle(run, KINDS)


def test_another_runs_charges_are_not_sent_a_second_time(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    with between_deciding_and_recording():
        sync_bills.fn()
    assert sum(month.ours()) == month.total()
    assert (month.charge().writes, len(month.mapped("BillLineItem"))) == (0, 2)


def test_an_approval_while_a_run_decides_sends_nothing_twice(open_sandbox, monkeypatch):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_BILLS_APPROVAL="required")
    [row] = month.charge().awaiting_approval
    with between_deciding_and_recording():
        approve_bills.fn(row["change_set"], "ann")
        monkeypatch.setenv("METERBRIDGE_BILLS_APPROVAL", "off")  # not even with the gate lifted meanwhile
    assert sum(month.ours()) == month.total()
    after = month.charge()
    assert (after.writes, after.awaiting_approval, after.exit_code) == (0, [], 0)


def test_what_a_run_left_out_is_decided_by_the_next_one(open_sandbox):
    month = BilledMonth(open_sandbox)
    month.recalculate("50", "7")
    with between_deciding_and_recording():
        month.charge()
        month.recalculate("40", "6")
    assert month.ours() == [700, 5000]
    assert month.charge().quarantined == []
    assert month.ours() == [600, 4000]
    assert month.charge().writes == 0


def a_commit_that_came_late():
    """As a transaction leaves it that was begun before another run read the ledger and committed after it."""
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        tx.execute(update(mappings).values(updated_at=mappings.c.updated_at - 3_600))
        tx.commit()
    ledger.close()


def test_what_was_committed_late_is_not_sent_a_second_time_either(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    with between_deciding_and_recording():
        sync_bills.fn()
        a_commit_that_came_late()
    assert sum(month.ours()) == month.total()
    assert (month.charge().writes, len(month.mapped("BillLineItem"))) == (0, 2)


def test_two_runs_that_decided_the_same_customer_make_no_twin_mapping(open_sandbox):
    sandbox = open_sandbox()
    with running("sync_subscriptions", Request()) as run:
        extract_customers(run)
        extract_asked(run)
        extract_plans(run)
        refer(run, own_slice=True)
        stage(run, SUBSCRIPTIONS)
        find_existing(run)
        stage(run, CUSTOMER_CASES)
        change_set = decide_subscriptions.decide_subscriptions(run)
        assert sync_subscriptions.fn().writes == 4
        record(run, change_set, decide_subscriptions.KINDS, decide_subscriptions.subject)
        assert deliver(run, SUBSCRIPTION_WAVES).applied == {}
        assert not settle(run, decide_subscriptions.KINDS)
    assert len(list(sandbox.world.m3ter.mappings.rows())) == 2
    assert sync_subscriptions.fn(full=True).writes == 0


def archive(month, status):
    """All charge item prices of the site: an archived one is refused."""
    state = month.world.chargebee
    with month.world.lock:
        for row in [row for row in state.item_prices.rows() if row["item_type"] == "charge"]:
            state.save(state.item_prices, row | {"status": status})


def test_what_another_run_was_refused_meanwhile_stays_set_aside(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    with month.world.lock:  # one line, of a charge item price: nothing else of the bill tells that somebody wrote
        state, bill = month.world.m3ter, month.bill
        line = max(bill["lineItems"], key=lambda line: line["convertedSubtotal"])
        state.save(state.bills, bill | {"lineItems": [line], "billTotal": line["convertedSubtotal"]}, bill)
    archive(month, "archived")
    with between_deciding_and_recording():
        [refused] = [row for row in sync_bills.fn().quarantined if row["kind"] == "charge"]
        archive(month, "active")  # what was refused would pass by now: to try it again is a person's to say
    for _ in range(2):
        assert month.ours() == []
        report = month.charge()
        assert [row["key"] for row in report.quarantined if row["kind"] == "charge"] == [refused["key"]]
        assert report.writes == 0
    ledger = open_ledger(load_settings())
    with ledger.write() as tx:
        for row in quarantine.list(tx):
            quarantine.retry(tx, row.kind, row.key)
        tx.commit()
    ledger.close()
    assert month.charge().quarantined == []
    assert sum(month.ours()) == month.total()
