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
        pytest.param("7", {"sub1": 200}, [("unchanged", "sub1")], id="a-person-settled-the-difference"),
        pytest.param("7", {"sub1": 100}, [("remove", "sub1", -500), ("create", "sub1", 600)], id="only-a-part"),
    ],
)
def test_what_a_person_settled_is_not_charged_again(now_wanted, settled, expected):
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", now_wanted)), standing=standing, settled=settled)
    assert told(decide_bill(world, policy())) == expected


def test_a_settled_portion_sends_nothing():
    world = case(bill(line("l1", "-5")), settled={"sub1": -500})
    assert told(decide_bill(world, policy())) == [("unchanged", "sub1")]


def test_a_partly_settled_portion_is_not_charged_in_full():
    world = case(bill(line("l1", "5")), settled={"sub1": 200})
    [intent] = decide_bill(world, policy())
    assert intent.amount == 300
    assert intent.reason.endswith("less 200 minor units that stand elsewhere")


def test_a_charged_bill_is_followed_when_bills_since_moves_past_it():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "7")), standing=standing)
    expected = [("remove", "sub1", -500), ("create", "sub1", 700)]
    assert told(decide_bill(world, policy(since=MAY.date()))) == expected


def test_a_line_that_appeared_later_is_sent_alone():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5"), line("l2", "3", 2)), standing=standing)
    assert told(decide_bill(world, policy())) == [("create", "sub1", 300)]


def test_money_moves_to_another_subscription_while_its_draft_is_pending():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5", plan="plan2")), standing=standing)
    assert told(decide_bill(world, policy())) == [("create", "sub2", 500), ("remove", "sub1", -500)]


def test_a_voided_invoice_sets_its_portion_aside():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5")), standing=standing, invoices=(draft(1, status="voided"),))
    assert told(decide_bill(world, policy())) == [("MB-VOIDED", "sub1", 500)]


def test_a_charged_bill_that_is_pending_again_is_set_aside():
    standing = applied(case(bill(line("l1", "5"))))
    world = case(bill(line("l1", "5"), status="PENDING"), standing=standing)
    assert told(decide_bill(world, policy())) == [("MB-BILL-UNAPPROVED", "sub1", 500)]


def test_a_deleted_bill_gives_up_what_is_pending_and_tells_what_is_closed():
    standing = applied(case(bill(line("l1", "5"), line("l2", "3", 2, plan="plan2"), line("l3", "1", 3))))
    world = case(bill(status="DELETED"), standing=standing, invoices=(draft(1), draft(2, status="paid")))
    assert told(decide_vanished(world)) == [
        ("remove", "sub1", -500),
        ("remove", "sub1", -100),
        ("MB-BILL-DELETED", "sub2", 300),
    ]
    assert decide_vanished(case(bill(status="DELETED"))) == []


def test_netting_does_not_pass_for_another_rounding():
    lines = [line("l1", "1.005"), line("l2", "-0.01", 2), line("l3", "1.005", 3, plan="plan2")]
    only_one_draft = {"invoices": (draft(1),)}
    standing = applied(case(bill(*lines), **only_one_draft))
    assert [one.amount for one in standing] == [100]
    decisions = decide_bill(case(bill(*lines), standing=standing, **only_one_draft), policy())
    assert told(decisions) == [("unchanged", "sub1"), ("waiting", "sub2", 100, MAY)]


@pytest.mark.parametrize("remove", [True, False])
def test_a_withdrawn_bill_that_a_person_invoiced_is_asked_about(remove):
    pending = case(bill(line("l1", "5"), status="PENDING"), settled={"sub1": 500})
    [aside] = decide_bill(pending, policy(on_unapproved="remove" if remove else "keep"))
    assert (aside.code, aside.amount, aside.currency, aside.surplus) == ("MB-BILL-UNAPPROVED", 500, "EUR", 0)
    assert "500 settled by hand" in aside.message
    [aside] = decide_vanished(case(bill(status="DELETED"), settled={"sub1": 500}))
    assert (aside.code, aside.amount, aside.surplus) == ("MB-BILL-DELETED", 500, 0)


def test_a_withdrawn_bill_of_which_a_person_took_all_off_is_left_alone():
    pending = case(bill(line("l1", "5"), status="PENDING"), settled={"sub1": -500})
    assert told(decide_bill(pending, policy())) == [("out of scope", "bill1")]
