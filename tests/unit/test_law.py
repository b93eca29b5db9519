"""The law of money: portions of a bill judged together; amounts in minor units, worked out by hand."""

from dataclasses import replace
from decimal import Decimal

import pytest

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.records import InFlight, InvoiceLine, Ref
from tests.unit.bill_world import APRIL, MARCH, MAY, applied, bill, case, draft, line, plan, policy, told

MEMO = {"plan": None, "product": None}


def owned_by(number, name, amount, **changes):
    """A line of plan1 that belongs to subscription ``number`` by the bill's account plans."""
    return line(name, amount, pricing_id="pricing-x", **changes), plan_of(number)


def plan_of(number):
    return replace(plan(number), plan_id="plan1")


def charged(number, amount, invoice="old", **changes):
    """What the ledger knows once a line of that amount is charged to a subscription."""
    own, account_plan = owned_by(number, "l1", amount)
    [one] = applied(case(bill(own), plans=(account_plan,)))
    return replace(one, line_id="li-1", invoice_id=invoice, **changes)


def old(status="paid", amount=1000, number=1, customer="cust"):
    """The invoice that holds the charged line."""
    held = InvoiceLine("li-1", "adhoc", None, "", MARCH, APRIL, amount, f"sub{number}")
    return draft(1, held, id="old", status=status, strong=True, subscription_id=f"sub{number}", customer_id=customer)


def moved(amount="10", *, status="paid", standing=None, extra=(), **changes):
    """A bill whose line belongs to sub2 by now, though 10.00 of it stand for sub1."""
    own, account_plan = owned_by(2, "l1", amount)
    world = {
        "plans": (account_plan, plan(3)),
        "standing": (standing or charged(1, "10"),),
        "invoices": (old(status), draft(2, at=MAY)),
        **changes,
    }
    return case(bill(own, *extra), **world)


def decide(world, **settings):
    return told(decide_bill(world, policy(**settings)))


# --- a line changes its subscription ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["posted", "payment_due", "not_paid", "paid"])
def test_a_line_that_moved_is_not_charged_again_where_it_stands_on_a_closed_invoice(status):
    decisions = decide_bill(moved(status=status), policy())
    assert told(decisions) == [("unchanged", "sub2"), ("unchanged", "sub1")]
    assert [one.reason for one in decisions] == [
        "bill bill1: 10.00 EUR of subscription sub2 stand for subscription sub1 (the line moved)",
        "bill bill1: 10.00 EUR of subscription sub1 count for subscription sub2 (the line moved)",
    ]


def test_what_a_moved_line_gained_is_all_that_is_sent():
    assert decide(moved("12")) == [("create", "sub2", 200), ("unchanged", "sub1")]


def test_what_a_moved_line_lost_stays_with_who_has_it():
    assert decide(moved("7")) == [("unchanged", "sub2"), ("MB-BILL-CHANGED", "sub1", -300)]


def test_a_moved_line_on_an_open_draft_is_added_only_once_its_removal_is_proven():
    decisions = decide_bill(moved(status="pending"), policy())
    assert told(decisions) == [("create", "sub2", 1000), ("remove", "sub1", -1000)]
    create, removal = decisions
    assert create.depends_on == (Ref("charge_removal", removal.key),)


def test_a_moved_line_waits_while_its_first_charge_has_no_answer():
    first = charged(1, "10")
    flying = InFlight("charge", first.key, 1000, "EUR", "cust")
    world = replace(moved(), standing=(), in_flight=(flying,))
    assert [one[:2] for one in decide(world)] == [("waiting", "sub2"), ("waiting", "sub1")]


def test_another_line_of_another_subscription_is_no_moved_one():
    own, account_plan = owned_by(2, "l1", "10", segment={"region": "eu"})
    world = case(bill(own), plans=(account_plan,), standing=(charged(1, "10"),), invoices=(old(), draft(2, at=MAY)))
    assert decide(world) == [("MB-BILL-OVERDRAWN", "sub2", 1000), ("MB-BILL-OVERDRAWN", "sub1", -1000)]
    assert decide(world, net_across_subscriptions=True) == [("unchanged", "sub2"), ("unchanged", "sub1")]


def test_a_line_that_a_person_took_off_is_not_charged_because_it_moved():
    first = charged(1, "10")
    world = moved(
        "10",
        extra=(line("l2", "5", 2, plan="plan3", product="p2"),),
        subscriptions={**moved().subscriptions, "sub3": replace(moved().subscriptions["sub2"], id="sub3")},
    )
    world = replace(world, standing=(), undone={"sub1": {"li-1": first.key[2]}})
    world = replace(world, invoices=(*world.invoices, draft(3, at=MAY)))
    assert decide(world) == [("MB-UNDONE", "sub2", 1000), ("create", "sub3", 500)]
    assert decide(replace(world, undone={})) == [("create", "sub2", 1000), ("create", "sub3", 500)]
    assert decide(replace(world, undone={"sub1": {"li-1": "another"}}))[0] == ("create", "sub2", 1000)


# --- another payer, another currency --------------------------------------------------------------------------------


def test_nothing_leaves_while_part_of_the_bill_stands_under_another_payer():
    more = line("l2", "5", 2, plan="plan3", product="p2")
    world = moved(
        "10",
        extra=(more,),
        subscriptions={**moved().subscriptions, "sub3": replace(moved().subscriptions["sub2"], id="sub3")},
        payers=frozenset({"cust"}),
        invoices=(old(customer="other"), draft(2, at=MAY), draft(3, at=MAY)),
    )
    assert [one[:2] for one in decide(world)] == [
        ("unchanged", "sub2"),
        ("MB-BILL-OVERDRAWN", "sub3"),
        ("unchanged", "sub1"),
    ]


@pytest.mark.parametrize("status", ["paid", "pending"])
def test_a_merged_customer_is_no_other_payer(status):
    """Chargebee moved the invoice with all that its customer had."""
    own, account_plan = owned_by(1, "l1", "12")
    stands = replace(charged(1, "10"), customer_id="cust")
    merged = replace(case(bill(own)).subscriptions["sub1"], customer_id="other")
    world = case(
        bill(own),
        plans=(account_plan,),
        standing=(stands,),
        subscriptions={"sub1": merged},
        payers=frozenset({"cust"}),
        invoices=(old(status, customer="other"), draft(1, at=MAY, customer_id="other")),
    )
    created = [one for one in decide(world) if one[0] == "create"]
    assert sum(one[2] for one in created) == (200 if status == "paid" else 1200)
    stayed = replace(stands, key=(*stands.key[:2], "stays"), line_id="li-0", invoice_id="mine")
    line_there = InvoiceLine("li-0", "adhoc", None, "", MARCH, APRIL, 1000, "sub1")
    mine = replace(old(), id="mine", lines=(line_there,))
    half = replace(world, standing=(stands, stayed), invoices=(*world.invoices, mine))
    assert [one for one in decide(half) if one[0] == "create"] == []
    strange = replace(world, standing=(replace(stands, customer_id=None),))
    assert [one for one in decide(strange) if one[0] == "create"] == []


def test_nothing_leaves_while_part_of_the_bill_stands_in_another_currency():
    standing = replace(charged(1, "10"), currency="USD")
    own, account_plan = owned_by(1, "l1", "12")
    world = case(bill(own), plans=(account_plan,), standing=(standing,), invoices=(old(), draft(1, at=MAY)))
    assert decide(world) == [("MB-BILL-OVERDRAWN", "sub1", 1200)]


# --- opposite deltas --------------------------------------------------------------------------------------------------


def opposite(**changes):
    """A bill of 200.00: 300.00 for sub1 and -100.00 for sub2."""
    return case(bill(line("l1", "300"), line("l2", "-100", 2, plan="plan2", product="p2")), **changes)


def test_the_part_above_the_total_waits_with_the_negative_one():
    decisions = decide_bill(opposite(), policy())
    assert told(decisions) == [
        ("create", "sub1", 20000),
        ("MB-BILL-OVERDRAWN", "sub1", 10000),
        ("MB-BILL-OVERDRAWN", "sub2", -10000),
    ]
    assert "subscription sub2" in decisions[1].message
    assert "subscription sub1" in decisions[2].message


def test_the_setting_cancels_them():
    assert decide(opposite(), net_across_subscriptions=True) == [("create", "sub1", 20000), ("unchanged", "sub2")]


def test_a_credit_of_ours_makes_room_once_it_is_proven():
    decisions = decide_bill(opposite(), policy(negative="promotional_credit"))
    create = next(one for one in decisions if told([one])[0][0] == "create")
    [credit] = [one for one in decisions if getattr(one, "kind", "") == "credit"]
    assert (create.amount, create.depends_on) == (30000, (Ref("credit", credit.key),))


@pytest.mark.parametrize(("released", "sent"), [(0, 20000), (4000, 24000), (10000, 30000), (99900, 30000)])
def test_a_release_lets_out_exactly_its_amount(released, sent):
    assert decide(opposite(released=released))[0] == ("create", "sub1", sent)


def test_the_second_run_after_a_part_was_sent_writes_nothing():
    first = decide_bill(opposite(), policy())
    standing = (replace(applied_of(first[0]), line_id="li-1"),)
    held = InvoiceLine("li-1", "adhoc", None, "", MARCH, APRIL, 20000, "sub1")
    world = opposite(standing=standing, invoices=(draft(1, held, strong=True), draft(2)))
    assert decide(world) == [("MB-BILL-OVERDRAWN", "sub1", 10000), ("MB-BILL-OVERDRAWN", "sub2", -10000)]


def applied_of(intent):
    from tests.unit.bill_world import stand

    return stand(intent)


def test_a_replaced_line_leaves_no_more_than_the_bill_has_room_for():
    """sub1 has 1.00 too much on a closed invoice; sub2's draft goes from 5.00 to 4.00: only 3.00 of it may stand."""
    one = replace(charged(1, "1"), key=("bill1", "sub1", "gone"), amount=100, line_id="li-0", invoice_id="closed")
    two, account_plan = owned_by(2, "l1", "4")
    standing = (one, charged(2, "5", invoice="draft2"))
    closed = replace(
        old(amount=100), id="closed", lines=(InvoiceLine("li-0", "adhoc", None, "", MARCH, APRIL, 100, "sub1"),)
    )
    open_draft = draft(2, InvoiceLine("li-1", "adhoc", None, "", MARCH, APRIL, 500, "sub2"), strong=True)
    world = case(bill(two), plans=(account_plan,), standing=standing, invoices=(closed, open_draft))
    assert decide(world) == [
        ("remove", "sub2", -500),
        ("create", "sub2", 300),
        ("MB-BILL-OVERDRAWN", "sub2", 100),
        ("MB-BILL-OVERDRAWN", "sub1", -100),
    ]


def test_two_portions_that_go_down_on_their_drafts_are_both_replaced_in_one_run():
    """10.00 and 5.00 stand on two drafts, 9.00 and 4.00 are wanted: both lines come off before one is added."""
    one, first = owned_by(1, "l1", "9")
    two, second = owned_by(2, "l2", "4")
    two = replace(two, plan_id="plan9", pricing_id="pricing-y")
    second = replace(second, plan_id="plan9")
    before = case(bill(replace(one, amount=Decimal(10)), replace(two, amount=Decimal(5))), plans=(first, second))
    standing = tuple(replace(each, line_id=f"li-{n}") for n, each in enumerate(applied(before)))
    drafts = [
        draft(n, InvoiceLine(f"li-{n - 1}", "adhoc", None, "", MARCH, APRIL, amount, f"sub{n}"), strong=True)
        for n, amount in ((1, 1000), (2, 500))
    ]
    world = replace(before, bill=bill(one, two), standing=standing, invoices=tuple(drafts))
    decisions = decide_bill(world, policy())
    assert sorted(told(decisions)) == [
        ("create", "sub1", 900),
        ("create", "sub2", 400),
        ("remove", "sub1", -1000),
        ("remove", "sub2", -500),
    ]
    removals = {Ref("charge_removal", each.key) for each in decisions if each.kind == "charge_removal"}
    assert [{*each.depends_on} for each in decisions if each.kind == "charge"] == [removals, removals]


# --- lines of the bill ------------------------------------------------------------------------------------------------


def prepaid(*memos, first="30", second="50"):
    return bill(line("l1", first), line("l2", second, 2, plan="plan2", product="p2"), *memos)


@pytest.mark.parametrize(
    ("memos", "sent"),
    [
        pytest.param([line("m", "-60", 3, **MEMO)], [750, 1250], id="in-proportion"),
        pytest.param([line("m", "-60", 3, plan=None, product="p3")], [750, 1250], id="no-charge-of-its-product"),
        pytest.param([line("m", "-10", 3, plan=None, product="p2")], [3000, 4000], id="its-product-first"),
        pytest.param([line("m", "-10", 3, **MEMO, referenced_line_id="l1")], [2000, 5000], id="the-line-it-refers-to"),
        pytest.param([line("m", "-0.01", 3, **MEMO)], [3000, 4999], id="a-cent-goes-to-who-lost-most"),
        pytest.param([line("m", "-60", 3, **MEMO, referenced_line_id="l1")], [2000], id="what-its-line-cannot-take"),
        pytest.param([line("m", "-60", 3, plan=None, product="p2")], [2000], id="what-its-product-cannot-take"),
        pytest.param([line("m", "10", 3, **MEMO)], [3000, 5000, 1000], id="a-positive-one-to-the-largest"),
        pytest.param([line("m", "-40", 3, **MEMO), line("n", "-20", 4, **MEMO)], [750, 1250], id="one-after-the-other"),
    ],
)
def test_a_line_of_the_bill_never_holds_it_up(memos, sent):
    decisions = decide_bill(case(prepaid(*memos)), policy())
    assert [one[2] for one in told(decisions) if one[0] == "create"] == sent
    assert {one[0] for one in told(decisions)} <= {"create", "unchanged"}
    assert sum(sent) == sum(one.amount for one in prepaid(*memos).lines) * 100


def test_what_the_line_that_a_memo_refers_to_cannot_take_comes_off_the_others():
    memo = line("m", "-35", 3, **MEMO, referenced_line_id="l1")
    third = line("l3", "10", 4, plan="plan3", product="p3")
    world = case(prepaid(memo, third), plans=(plan(1), plan(2), plan(3)), invoices=(draft(1), draft(2), draft(3)))
    world = replace(
        world, subscriptions={**world.subscriptions, "sub3": replace(world.subscriptions["sub2"], id="sub3")}
    )
    assert decide(world)[1:] == [("create", "sub2", 4583), ("create", "sub3", 917)]  # 5.00 over 50.00 and 10.00
    assert ("MB-BILL-OVERDRAWN", "sub1", -500) in decide(world, bill_level_lines="main")


def test_a_line_that_nobody_takes_makes_up_for_what_stands_too_much():
    """sub1 has 5.00 too much for good, sub2 wants 20.00 and a line without a subscription 8.00: 38.00 of 38.00."""
    stands = replace(charged(1, "15"), amount=1500)
    own, account_plan = owned_by(1, "l1", "10")
    lines = (own, line("l2", "20", 2, plan="plan2", product="p2"), line("l9", "8", 3, plan="plan9", product="p9"))
    world = case(bill(*lines), plans=(account_plan, plan(2)), standing=(stands,), invoices=(old(amount=1500), draft(2)))
    assert sorted(decide(world)) == [
        ("MB-BILL-CHANGED", "sub1", -500),
        ("MB-BILL-LINE", "", 800),
        ("create", "sub2", 2000),
    ]
    less = replace(world, bill=bill(*lines[:2], line("l9", "2", 3, plan="plan9", product="p9")))
    assert [one for one in decide(less) if one[0] == "create"] == [("create", "sub2", 1700)]


def test_where_a_line_of_the_bill_goes_does_not_depend_on_ids_or_order():
    lines = [line("l1", "30"), line("l2", "50", 2, plan="plan2", product="p2"), line("m", "-59.99", 3, **MEMO)]
    again = [replace(one, id=f"other-{one.id}", sequence=9 - one.sequence) for one in reversed(lines)]
    amounts = [sorted(one for one in decide(case(bill(*some))) if one[0] == "create") for some in (lines, again)]
    assert amounts[0] == amounts[1] == [("create", "sub1", 750), ("create", "sub2", 1251)]


def test_more_prepayment_than_charges_is_left_over():
    """30 + 50 - 100: 20.00 too much, told in proportion, nothing charged."""
    found = decide(case(prepaid(line("m", "-100", 3, **MEMO))))
    assert {one[0] for one in found} == {"MB-BILL-NEGATIVE"}
    assert sum(one[2] for one in found) == -2000


@pytest.mark.parametrize(
    ("setting", "main", "found"),
    [
        ("hold", {}, [("MB-BILL-LINE", "bill1", 2000)]),
        ("main", {}, [("MB-BILL-LINE", "bill1", 2000)]),
        (
            "main",
            {"cust": "sub2"},
            [("create", "sub1", 2000), ("MB-BILL-OVERDRAWN", "sub1", 1000), ("MB-BILL-OVERDRAWN", "sub2", -1000)],
        ),
    ],
)
def test_the_settings_hold_it_or_give_it_to_the_main_subscription(setting, main, found):
    world = case(prepaid(line("m", "-60", 3, **MEMO)))
    assert decide(world, bill_level_lines=setting, main_subscription=main) == found


def test_the_words_of_a_line_of_the_bill_stand_on_the_invoice():
    memo = line("m", "10", 3, **MEMO, line_item_type="CREDIT_MEMO", description="Goodwill, case 17", product_name=None)
    decisions = decide_bill(case(prepaid(memo)), policy())
    texts = [one.payload["description"] for one in decisions]
    assert any(text.startswith("Goodwill, case 17 [mb:") for text in texts)
