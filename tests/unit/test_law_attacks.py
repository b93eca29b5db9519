"""Ways round the law of money that a reviewer tried: each one is shut; amounts in minor units, worked out by hand."""

from dataclasses import replace

import pytest

from meterbridge.rules.bills import decide_bill, decide_vanished
from meterbridge.rules.carry import carry_over
from meterbridge.rules.records import InvoiceLine
from tests.unit.bill_world import APRIL, MARCH, MAY, bill, case, draft, line, policy, stand, subscription, told
from tests.unit.test_law import MEMO, charged, decide, moved, old, owned_by

# --- what went away does not come back because its line changed hands -----------------------------------------------


def test_a_line_whose_draft_is_lost_is_not_charged_to_the_next_subscription():
    """Nobody knows whether the customer paid it: that another subscription has the line now proves nothing."""
    lost = charged(1, "10", draft="lost")
    world = moved(standing=lost, invoices=(draft(2, at=MAY),))
    for on_void in ("hold", "recharge"):
        assert decide(world, on_void=on_void) == [("MB-DRAFT-LOST", "sub2", 1000), ("unchanged", "sub1")]


def test_a_voided_line_that_moved_is_charged_again_only_by_the_setting():
    world = moved(status="voided")
    assert decide(world) == [("MB-VOIDED", "sub2", 1000), ("unchanged", "sub1")]
    assert decide(world, on_void="recharge") == [("create", "sub2", 1000), ("unchanged", "sub1")]


@pytest.mark.parametrize(("left", "missing"), [(0, 1000), (300, 700)])
def test_a_line_edited_by_hand_that_moved_is_charged_again_only_by_the_setting(left, missing):
    lines = (InvoiceLine("li-1", "adhoc", None, "", MARCH, APRIL, left, "sub1"),) if left else ()
    world = moved(invoices=(replace(old("paid"), lines=lines), draft(2, at=MAY)))
    assert decide(world)[0] == ("MB-LINE-CHANGED", "sub2", missing)
    assert decide(world, on_void="recharge")[0] == ("create", "sub2", missing)


def test_once_it_is_charged_again_what_was_voided_holds_nothing_back():
    first = charged(1, "10")
    again = replace(
        first, key=("bill1", "sub2", first.key[2]), subscription_id="sub2", invoice_id="new", line_id="li-2"
    )
    held = InvoiceLine("li-2", "adhoc", None, "", MARCH, APRIL, 1000, "sub2")
    closed = draft(2, held, id="new", status="paid", strong=True)
    world = moved("12", standing=first, invoices=(old("voided"), closed, draft(2, at=MAY)))
    world = replace(world, standing=(first, again))
    assert decide(world) == [("create", "sub2", 200), ("unchanged", "sub1")]


def test_another_line_of_the_same_subscription_is_not_held_by_what_went_away():
    own, account_plan = owned_by(2, "l1", "10", segment={"region": "eu"})
    standing = (charged(1, "10"),)
    world = case(bill(own), plans=(account_plan,), standing=standing, invoices=(old("voided"), draft(2, at=MAY)))
    assert decide(world) == [("create", "sub2", 1000), ("unchanged", "sub1")]


# --- another payer, another currency --------------------------------------------------------------------------------


def in_dollars(invoice, **world):
    """A bill of EUR 12.00 of which USD 10.00 stand on another invoice."""
    own, account_plan = owned_by(1, "l1", "12")
    standing = (replace(charged(1, "10"), currency="USD"),)
    return case(bill(own), plans=(account_plan,), standing=standing, invoices=(invoice, draft(1, at=MAY)), **world)


@pytest.mark.parametrize("released", [1, 1199])
def test_a_release_lets_out_no_more_than_its_amount_beside_another_currency(released):
    assert decide(in_dollars(old(), released=released)) == [("MB-BILL-OVERDRAWN", "sub1", 1200)]


def test_a_release_of_the_whole_lets_the_whole_out_once():
    world = in_dollars(old(), released=1200)
    assert decide(world) == [("create", "sub1", 1200)]


def test_what_stands_in_another_currency_is_not_forgotten_once_the_release_is_used():
    """The new charge has a key of its own, so the ledger keeps the line on the paid invoice, and the law its reason."""
    world = in_dollars(old(), released=1200)
    [sent] = decide_bill(world, policy())
    known = {one.key: one for one in (*world.standing, replace(stand(sent), line_id="li-2"))}
    held = InvoiceLine("li-2", "adhoc", None, "", MARCH, APRIL, 1200, "sub1")
    after = replace(world, standing=tuple(known.values()), invoices=(old(), draft(1, held, at=MAY, strong=True)))
    assert decide(after) == [("unchanged", "sub1")]
    more, _ = owned_by(1, "l1", "15")
    assert ("create", "sub1", 1500) not in decide(replace(after, bill=bill(more)))
    assert [one[0] for one in decide(replace(after, bill=bill(more)))] == ["MB-BILL-OVERDRAWN"]


def test_what_a_person_took_off_the_other_invoice_holds_nothing_back():
    """The words are: until nothing stands there any more. Somebody deleted the line there, so nothing does."""
    world = in_dollars(replace(old("pending"), currency="USD", lines=()))
    assert decide(world, on_void="recharge") == [("create", "sub1", 1200)]


# --- a surplus stays with who has paid it ---------------------------------------------------------------------------


def bill_of_the_next_customer(customer):
    """Another bill of sub1, charged on that customer's draft: the subscription went over to that one."""
    drawn = draft(1, id="next", customer_id=customer)
    owned = {"sub1": replace(subscription(1), customer_id=customer)}
    return decide_bill(case(bill(line("l9", "10"), id="bill2"), subscriptions=owned, invoices=(drawn,)), policy())


@pytest.mark.parametrize(
    ("customer", "lowered"),
    [("cust", [("create", "sub1", 700)]), ("other", [("create", "sub1", 1000)])],
)
@pytest.mark.parametrize("deleted", [False, True], ids=["lowered", "deleted"])
def test_a_surplus_lowers_no_charge_of_another_customer(customer, lowered, deleted):
    if deleted:
        held = replace(old(amount=300), lines=(InvoiceLine("li-1", "adhoc", None, "", MARCH, APRIL, 300, "sub1"),))
        gone = case(bill(status="DELETED"), standing=(charged(1, "3"),), invoices=(held,))
        aside = decide_vanished(gone)
    else:
        own, account_plan = owned_by(1, "l1", "7")
        aside = decide_bill(
            case(bill(own), plans=(account_plan,), standing=(charged(1, "10"),), invoices=(old(),)), policy()
        )
    assert [one.surplus for one in aside] == [300]
    after = carry_over([*aside, *bill_of_the_next_customer(customer)])
    assert [one for one in told(after) if one[0] == "create"] == lowered


# --- lines of the bill ----------------------------------------------------------------------------------------------


def test_digits_beyond_the_minor_unit_go_where_there_is_room():
    """0.006 less over 0.00 and 50.00: nobody is left with a cent below nothing."""
    lines = (line("l0", "0.001"), line("l2", "50", 2, plan="plan2", product="p2"), line("m", "-0.007", 3, **MEMO))
    assert decide(case(bill(*lines))) == [("unchanged", "sub1"), ("create", "sub2", 4999)]


@pytest.mark.parametrize(
    ("currency", "amounts", "memo", "sent"),
    [
        ("JPY", ("30", "50"), "-60", [7, 13]),
        ("JPY", ("30.4", "50.4"), "-60.5", [7, 13]),
        ("BHD", ("30", "50"), "-60", [750, 1250]),
    ],
)
def test_allocation_counts_in_the_currency_s_own_units(currency, amounts, memo, sent):
    first, second = amounts
    lines = (line("l1", first), line("l2", second, 2, plan="plan2", product="p2"), line("m", memo, 3, **MEMO))
    world = case(
        bill(*lines, currency=currency),
        subscriptions={f"sub{n}": subscription(n, currency) for n in (1, 2)},
        invoices=tuple(draft(n, currency=currency) for n in (1, 2)),
    )
    decisions = decide(world, three_decimal=2)
    assert [one[2] for one in decisions if one[0] == "create"] == sent
    assert {one[0] for one in decisions} == {"create"}
