"""A bill that changed while its charges are unbilled: open, like lines on a draft, until an invoice takes them up."""

from dataclasses import replace

import pytest

from meterbridge.rules.bills import decide_vanished
from meterbridge.rules.records import Ref
from tests.unit.bill_world import (
    FIVE,
    LATER,
    MAY,
    REPLACED,
    bill,
    case,
    charged,
    decide,
    draft,
    line,
    subscription,
    told,
)

ENDED = {"sub1": subscription(1, status="cancelled", next_billing_at=None), "sub2": subscription(2)}
APART = {"no_pending_invoice": "unbilled"}


def unbilled(the_bill):
    """What the ledger knows once the bill's lines are unbilled charges: li-0, li-1, …"""
    return tuple(replace(one, invoice_id="unbilled:sub1") for one in charged(the_bill))


def decide_unbilled(the_bill, standing, *invoices, subscriptions=ENDED, **changes):
    return decide(the_bill, standing, *invoices, policy_changes={**APART, **changes}, subscriptions=subscriptions)


@pytest.mark.parametrize(("wanted", "expected"), REPLACED)
def test_unbilled_charges_are_replaced(wanted, expected):
    again = bill(*(line(f"l{n}", amount, n) for n, amount in enumerate(wanted, 1)))
    assert told(decide_unbilled(again, unbilled(FIVE))) == expected


def test_the_new_call_waits_for_every_unbilled_charge_to_be_gone_and_knows_them():
    before = bill(line("l1", "5"), line("l2", "3", 2), line("l3", "2", 3))
    after = bill(line("l1", "4"), line("l2", "3", 2), line("l3", "1", 3))
    first, second, new = decide_unbilled(after, unbilled(before))
    assert [one.payload["line_ids"] for one in (first, second)] == [["li-0"], ["li-2"]]
    assert {one.scope for one in (first, second)} == {"invoice:unbilled:sub1"}
    assert first.reason.startswith("unbilled charge li-0 of subscription sub1 is deleted: bill bill1 now wants 8.00")
    assert (new.kind, new.payload["method"], new.amount) == ("charge_set", "unbilled", 500)
    assert new.depends_on == (Ref("charge_removal", first.key), Ref("charge_removal", second.key))
    assert new.payload["replaces"] == ["li-0", "li-2"]


def test_unbilled_charges_move_to_a_pending_invoice_where_there_is_one_by_now():
    removal, creation = decide_unbilled(bill(line("l1", "4")), unbilled(FIVE), draft(1))
    assert (removal.kind, creation.kind, creation.amount) == ("charge_removal", "charge", 400)
    assert creation.payload["invoice_id"] == "draft1"
    assert creation.depends_on == (Ref("charge_removal", removal.key),)


@pytest.mark.parametrize("setting", ["quarantine", "create", "unbilled"])
def test_unbilled_charges_are_replaced_where_they_stand_whatever_invoice_is_to_come(setting):
    living = {**ENDED, "sub1": subscription(1)}
    changes = {"subscriptions": living, "no_pending_invoice": setting}
    removal, new = decide_unbilled(bill(line("l1", "4")), unbilled(FIVE), **changes)
    assert (removal.amount, new.payload["method"], new.amount) == (-500, "unbilled", 400)
    waits = decide_unbilled(bill(line("l1", "5"), line("l2", "1", 2)), unbilled(FIVE), **changes)
    assert told(waits) == [("waiting", "sub1", 100, MAY)]


def test_by_another_setting_what_was_unbilled_goes_on_an_invoice_of_its_own():
    removal, new = decide_unbilled(bill(line("l1", "4")), unbilled(FIVE), no_pending_invoice="create")
    assert (removal.kind, new.payload["method"], new.amount) == ("charge_removal", "create_invoice", 400)


def test_of_a_deleted_subscription_nothing_unbilled_is_taken_off_that_cannot_be_put_back():
    gone = {**ENDED, "sub1": subscription(1, status="deleted", next_billing_at=None)}
    four = decide_unbilled(bill(line("l1", "4")), unbilled(FIVE), subscriptions=gone)
    assert told(four) == [("MB-NO-INVOICE", "sub1", -100)]
    assert told(decide_unbilled(bill(line("l1", "0")), unbilled(FIVE), subscriptions=gone)) == [
        ("remove", "sub1", -500)
    ]


@pytest.mark.parametrize(
    ("away", "expected"),
    [
        pytest.param({"draft": "transit", "transit_until": LATER}, ("waiting", "sub1", -100, LATER), id="in-transit"),
        pytest.param({"movable": False}, ("MB-BILL-CHANGED", "sub1", -100), id="not-movable"),
        pytest.param({"adopted": True}, ("MB-BILL-CHANGED", "sub1", -100), id="adopted"),
    ],
)
def test_unbilled_charges_that_are_not_ours_to_replace_stay(away, expected):
    standing = tuple(replace(one, **away) for one in unbilled(FIVE))
    assert told(decide_unbilled(bill(line("l1", "4")), standing)) == [expected]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("keep", [("MB-BILL-UNAPPROVED", "sub1", 500)]), ("remove", [("remove", "sub1", -500)])],
)
def test_unbilled_charges_of_a_bill_that_is_pending_again(setting, expected):
    withdrawn = bill(line("l1", "5"), status="PENDING")
    assert told(decide_unbilled(withdrawn, unbilled(FIVE), on_unapproved=setting)) == expected


def test_unbilled_charges_of_a_deleted_bill_are_taken_back():
    gone = case(bill(status="DELETED"), standing=unbilled(FIVE), invoices=())
    assert told(decide_vanished(gone)) == [("remove", "sub1", -500)]
