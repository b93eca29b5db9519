import pytest

from meterbridge.rules.bills import decide_bill, decide_vanished
from tests.unit.bill_world import MAY, applied, bill, case, draft, line, policy, told

THREE = (line("l1", "0.335"), line("l2", "0.335", 2), line("l3", "0.33", 3))


def test_a_charged_bill_is_unchanged():
    standing = applied(case(bill(*THREE)))
    assert told(decide_bill(case(bill(*THREE), standing=standing), policy())) == [("unchanged", "sub1")]


def test_only_the_missing_lines_are_sent_and_the_sum_ends_exact():
    standing = applied(case(bill(*THREE)))[1:]
    assert told(decide_bill(case(bill(*THREE), standing=standing), policy())) == [("create", "sub1", 34)]


def test_the_missing_lines_join_those_that_stand():
    standing = applied(case(bill(*THREE), invoices=(draft(1, id="begun"),)))[1:]
    world = case(bill(*THREE), standing=standing, invoices=(draft(1, id="begun", at=MAY), draft(1)))
    [intent] = decide_bill(world, policy())
    assert intent.payload["invoice_id"] == "begun"


def test_units_sent_before_are_kept_by_a_recalculation():
    standing = applied(case(bill(*THREE)))
    moved = (line("l1", "0.334"), line("l2", "0.336", 2), line("l3", "0.33", 3))
    assert told(decide_bill(case(bill(*moved), standing=standing), policy())) == [("unchanged", "sub1")]


@pytest.mark.parametrize(
    ("now_wanted", "settled", "expected"),
    [
        pytest.param("7", {}, ("MB-BILL-CHANGED", "sub1", 200), id="more"),
        pytest.param("4", {}, ("MB-BILL-CHANGED", "sub1", -100), id="less"),
        pytest.param("0", {}, ("MB-BILL-CHANGED", "sub1", -500), id="nothing"),
        pytest.param("7", {"sub1": 200}, ("unchanged", "sub1"), id="a-person-settled-the-difference"),
        pytest.param("7", {"sub1": 100}, ("MB-BILL-CHANGED", "sub1", 100), id="a-person-settled-a-part"),
    ],
)
def test_a_bill_that_changed_is_set_aside_with_the_exact_difference(now_wanted, settled, expected):
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", now_wanted)), standing=standing, settled=settled)
    assert told(decide_bill(world, policy())) == [expected]


def test_the_change_names_the_invoice_and_the_difference():
    standing = applied(case(bill(line("l1", "5"))))
    [decision] = decide_bill(case(bill(line("l1", "7")), standing=standing), policy())
    assert "draft1 (pending)" in decision.message
    assert "2.00 EUR" in decision.message


def test_a_settled_portion_sends_nothing():
    world = case(bill(line("l1", "-5")), settled={"sub1": -500})
    assert told(decide_bill(world, policy())) == [("unchanged", "sub1")]


def test_a_partly_settled_portion_is_not_charged_in_full():
    world = case(bill(line("l1", "5")), settled={"sub1": 200})
    assert told(decide_bill(world, policy())) == [("MB-BILL-CHANGED", "sub1", 300)]


def test_a_charged_bill_is_followed_when_bills_since_moves_past_it():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "7")), standing=standing)
    assert told(decide_bill(world, policy(since=MAY.date()))) == [("MB-BILL-CHANGED", "sub1", 200)]


def test_a_line_that_appeared_later_is_sent_alone():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5"), line("l2", "3", 2)), standing=standing)
    assert told(decide_bill(world, policy())) == [("create", "sub1", 300)]


def test_money_that_moved_to_another_subscription_is_set_aside():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5", plan="plan2")), standing=standing)
    assert told(decide_bill(world, policy())) == [("create", "sub2", 500), ("MB-BILL-CHANGED", "sub1", -500)]


def test_a_voided_invoice_sets_its_portion_aside():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5")), standing=standing, invoices=(draft(1, status="voided"),))
    assert told(decide_bill(world, policy())) == [("MB-VOIDED", "sub1", 500)]


def test_a_charged_bill_that_is_pending_again_is_set_aside():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5"), status="PENDING"), standing=standing)
    assert told(decide_bill(world, policy())) == [("MB-BILL-UNAPPROVED", "sub1", 500)]


def test_a_deleted_bill_sets_every_portion_aside():
    standing = applied(case(bill(line("l1", "5"), line("l2", "3", 2, plan="plan2"), line("l3", "1", 3))))
    assert told(decide_vanished("bill1", standing)) == [
        ("MB-BILL-DELETED", "sub1", 600),
        ("MB-BILL-DELETED", "sub2", 300),
    ]
    assert decide_vanished("bill1", ()) == []


def test_netting_does_not_pass_for_another_rounding():
    lines = [line("l1", "1.005"), line("l2", "-0.01", 2), line("l3", "1.005", 3, plan="plan2")]
    only_one_draft = {"invoices": (draft(1),)}
    standing = applied(case(bill(*lines), **only_one_draft))
    assert [one.amount for one in standing] == [100]
    decisions = decide_bill(case(bill(*lines), standing=standing, **only_one_draft), policy())
    assert told(decisions) == [("unchanged", "sub1"), ("waiting", "sub2", 100, MAY)]
