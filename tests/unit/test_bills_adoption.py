from dataclasses import replace
from datetime import timedelta

import pytest

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.deltas import correction_key
from meterbridge.rules.keys import reference
from meterbridge.rules.records import ChargeRule, Intent, InvoiceLine, Quarantined, Unchanged
from tests.unit.bill_world import APRIL, MARCH, bill, case, draft, line, policy, stand, told

LAST = APRIL - timedelta(seconds=1)
ITEM = (ChargeRule("usage-EUR", product="p1"),)


def mark(the_bill=None, rules=()):
    """The reference of a bill's first charge, as its description carries it."""
    intents = decide_bill(case(the_bill or bill(line("l1", "5"))), policy(charges=rules))
    return f"[{reference(next(one.key for one in intents if isinstance(one, Intent)))}]"


def booked(name, amount, description="", item=None, owner="sub1", start=MARCH, last=LAST):
    kind = "charge_item_price" if item else "adhoc"
    return InvoiceLine(name, kind, item, description, start, last, amount, owner)


def decide(the_bill, *invoices, rules=(), **changes):
    world = {"invoices": invoices or (draft(1), draft(2)), "known": False, **changes}
    return decide_bill(case(the_bill, **world), policy(charges=rules))


ONE = bill(line("l1", "5"))
TWO = bill(line("l1", "5"), line("l2", "3", 2))


@pytest.mark.parametrize(
    "status", ["pending", "posted", "payment_due", "not_paid", "paid"], ids="on-a-{}-invoice".format
)
def test_a_line_with_our_reference_is_adopted(status):
    found = draft(1, booked("li1", 500, f"API: 45, March {mark()}"), status=status)
    [intent, rest] = decide(ONE, found)
    assert (intent.action, intent.amount, intent.scope) == ("adopt", 500, "invoice:draft1")
    assert (intent.payload["invoice_id"], intent.payload["line_id"], intent.payload["amount"]) == ("draft1", "li1", 500)
    assert intent.state["line_id"] == "li1"
    assert rest == Unchanged("charge", ("bill1", "sub1"))


def test_an_equal_charge_item_line_is_adopted():
    decisions = decide(ONE, draft(1, booked("li1", 500, item="usage-EUR")), rules=ITEM)
    assert told(decisions) == [("adopt", "sub1", 500), ("unchanged", "sub1")]


def test_a_line_that_m3ter_maps_is_adopted():
    decisions = decide(ONE, draft(1, booked("li1", 500, "typed by hand")), mapped_invoice_lines={"l1": "li1"})
    assert told(decisions) == [("adopt", "sub1", 500), ("unchanged", "sub1")]


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(booked("li1", 500, "API"), id="words-alone"),
        pytest.param(booked("li1", 500, "[mb:000000000000]"), id="another-reference"),
        pytest.param(booked("li1", 500, item="other-EUR"), id="another-item-price"),
        pytest.param(booked("li1", 500, item="usage-EUR", owner="sub2"), id="another-subscription"),
        pytest.param(booked("li1", 500, item="usage-EUR", last=APRIL), id="another-last-second"),
        pytest.param(booked("li1", 500, item="usage-EUR", start=None), id="no-dates"),
    ],
)
def test_lines_of_others_are_not_adopted(stranger):
    assert told(decide(ONE, draft(1, stranger), rules=ITEM)) == [("create", "sub1", 500)]


def test_a_line_that_the_ledger_gives_to_another_bill_is_not_adopted():
    found = draft(1, booked("li1", 500, item="usage-EUR"))
    assert told(decide(ONE, found, rules=ITEM, owned_lines=frozenset({"li1"}))) == [("create", "sub1", 500)]


def test_a_line_in_another_currency_is_not_adopted():
    found = draft(1, booked("li1", 500, mark()), id="INV-3", status="paid", currency="USD")
    assert told(decide(ONE, found, draft(1))) == [("create", "sub1", 500)]


@pytest.mark.parametrize(
    ("found", "rules", "expected"),
    [
        pytest.param(
            booked("li1", 500, mark()), (), [("adopt", "sub1", 500), ("unchanged", "sub1")], id="our-reference"
        ),
        pytest.param(booked("li1", 500, item="usage-EUR"), ITEM, [("create", "sub1", 500)], id="looks-alone"),
        pytest.param(booked("li1", 500, "typed by hand"), (), [("create", "sub1", 500)], id="mapped"),
    ],
)
def test_where_the_ledger_is_trusted_only_our_reference_tells_of_a_line_that_nobody_owns(found, rules, expected):
    world = draft(1, found)
    assert told(decide(ONE, world, rules=rules, known=True, mapped_invoice_lines={"l1": "li1"})) == expected


def test_a_trusted_ledger_does_not_look_at_voided_invoices_for_what_it_does_not_own():
    voided = draft(1, booked("li1", 500, mark()), status="voided", id="INV-1")
    assert told(decide(ONE, voided, draft(1), known=True)) == [("create", "sub1", 500)]


def test_a_line_of_the_ledger_that_another_one_of_its_reference_has_replaced_counts_as_that_one():
    [sent] = (one for one in decide_bill(case(ONE), policy()) if isinstance(one, Intent))
    before = replace(stand(sent, 900), line_id="li-gone")
    world = draft(1, booked("li2", 500, mark()), strong=True)
    assert told(decide(ONE, world, standing=(before,), known=True)) == [("adopt", "sub1", 500), ("unchanged", "sub1")]
    assert told(decide(ONE, draft(1, strong=True), standing=(before,), known=True)) == [
        ("MB-LINE-CHANGED", "sub1", 500)
    ]


@pytest.mark.parametrize("on_void", ["hold", "recharge"])
@pytest.mark.parametrize("gone", ["voided", "deleted", "lost"])
def test_a_line_charged_again_after_a_void_is_known_by_an_older_ledger(gone, on_void):
    [sent] = (one for one in decide_bill(case(ONE), policy()) if isinstance(one, Intent))
    before = replace(stand(sent), draft="lost" if gone == "lost" else "found")
    voided = () if gone == "lost" else (draft(1, booked(before.line_id, 500, mark()), status=gone),)
    again = draft(2, booked("li2", 500, mark()), subscription_id="sub1")
    world = case(ONE, standing=(before,), invoices=(*voided, again))
    taken = decide_bill(world, policy(on_void=on_void))
    assert told(taken) == [("adopt", "sub1", 500), ("unchanged", "sub1")]
    assert taken[0].payload["line_id"] == "li2"
    alone = decide_bill(replace(world, invoices=(*voided, draft(2, subscription_id="sub1"))), policy(on_void=on_void))
    assert all(one.action == "create" for one in alone if isinstance(one, Intent))


def test_a_correction_that_an_older_ledger_does_not_know_is_taken_over():
    [sent] = (one for one in decide_bill(case(ONE), policy()) if isinstance(one, Intent))
    closed = draft(1, booked(f"li-{sent.key[2]}", 500, mark()), id="draft1", status="paid")
    more = bill(line("l1", "8"))
    [correction] = (
        one for one in decide(more, closed, draft(1, id="d2"), standing=(stand(sent),), known=True) if one.amount == 300
    )
    on_it = draft(1, booked("li9", 300, f"Correction [{reference(correction.key)}]"), id="d2")
    for known in (True, False):
        decisions = decide(more, closed, on_it, standing=(stand(sent),), known=known)
        assert told(decisions) == [("adopt", "sub1", 300), ("unchanged", "sub1")]


def test_a_correction_after_one_that_is_gone_is_taken_over():
    [sent] = (one for one in decide_bill(case(ONE), policy()) if isinstance(one, Intent))
    first = replace(stand(sent), key=correction_key("bill1", "sub1", 0), line_id="li8", amount=300, draft="lost")
    second = f"Correction [{reference(correction_key('bill1', 'sub1', 1))}]"
    closed = draft(1, booked(stand(sent).line_id, 500, mark()), status="paid")
    world = {"standing": (stand(sent), first), "known": True}
    decisions = decide(bill(line("l1", "8")), closed, draft(2, booked("li9", 300, second)), **world)
    assert [(one.amount, one.payload["line_id"]) for one in decisions if isinstance(one, Intent)] == [(300, "li9")]


def test_another_connections_reference_is_none_of_ours():
    theirs = mark().replace("]", "-beef]")
    ours = mark().replace("]", "-cafe]")
    for text, expected in ((theirs, "create"), (ours, "adopt"), (mark(), "adopt")):
        decisions = decide_bill(case(ONE, invoices=(draft(1, booked("li1", 500, text)),)), policy(mark="cafe"))
        assert told(decisions)[0][0] == expected


def test_only_the_portions_delta_is_sent():
    found = draft(1, booked("li1", 500, mark()))
    assert told(decide(TWO, found)) == [("adopt", "sub1", 500), ("create", "sub1", 300)]


def test_a_line_is_adopted_at_its_own_amount_and_the_difference_is_told():
    found = draft(1, booked("li1", 480, mark()))
    assert told(decide(ONE, found)) == [("adopt", "sub1", 480), ("MB-BILL-CHANGED", "sub1", 20)]


def test_adoption_does_not_wait_for_the_bill_to_settle():
    found = draft(1, booked("li1", 500, mark()))
    kinds = [type(one).__name__ for one in decide(TWO, found, now=APRIL)]
    assert kinds == ["Intent", "Waiting"]


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        pytest.param([500, 300], [("adopt", "sub1", 500), ("adopt", "sub1", 300), ("unchanged", "sub1")], id="both"),
        pytest.param([300], [("adopt", "sub1", 300), ("create", "sub1", 500)], id="the-amount-tells-which"),
        pytest.param([400], [("MB-INVOICE-AMBIGUOUS", "sub1", 800)], id="either-could-claim-it"),
        pytest.param([500, 400], [("MB-INVOICE-AMBIGUOUS", "sub1", 800)], id="one-fits-the-other-does-not"),
        pytest.param([500, 300, 300], [("MB-DOUBLE-CHARGE", "sub1", 800)], id="more-lines-than-charges"),
    ],
)
def test_lines_that_two_charges_could_claim_are_told_apart_by_amount_only(amounts, expected):
    lines = [booked(f"li{number}", amount, item="usage-EUR") for number, amount in enumerate(amounts)]
    assert told(decide(TWO, draft(1, *lines), rules=ITEM)) == expected


def test_a_charge_with_its_mapped_line_claims_no_other():
    lines = [booked("li1", 500, item="usage-EUR"), booked("li2", 500, item="usage-EUR")]
    decisions = decide(TWO, draft(1, *lines), rules=ITEM, mapped_invoice_lines={"l1": "li1"})
    assert told(decisions) == [("adopt", "sub1", 500), ("adopt", "sub1", 500), ("MB-BILL-CHANGED", "sub1", -200)]
    assert decisions[0].key != decisions[1].key


def test_two_lines_of_one_reference_are_a_double_charge():
    open_one = draft(1, booked("li1", 500, mark()))
    closed = draft(1, booked("li2", 500, mark()), id="INV-7", status="paid")
    [decision] = decide(ONE, open_one, closed)
    assert decision.code == "MB-DOUBLE-CHARGE"
    assert "li1" in decision.message
    assert "INV-7" in decision.message


def test_a_line_on_a_voided_invoice_is_not_charged_again():
    voided = draft(1, booked("li1", 500, mark()), status="voided")
    assert told(decide(ONE, voided, draft(1, id="draft9"))) == [("MB-VOIDED", "sub1", 500)]


def test_a_line_that_stands_again_after_a_void_is_adopted():
    voided = draft(1, booked("li1", 500, mark()), status="voided")
    assert told(decide(ONE, voided, draft(1, booked("li2", 500, mark()), id="draft9"))) == [
        ("adopt", "sub1", 500),
        ("unchanged", "sub1"),
    ]


def test_a_mapped_line_that_is_nowhere_is_not_charged_again():
    [decision] = decide(ONE, mapped_invoice_lines={"l1": "li-gone"})
    assert (decision.code, decision.amount) == ("MB-LINE-CHANGED", 500)
    assert "li-gone" in decision.message


def test_one_unclear_portion_does_not_hold_the_others():
    both = bill(line("l1", "5"), line("l2", "3", 2, plan="plan2"))
    decisions = decide(both, mapped_invoice_lines={"l1": "li-gone"})
    assert told(decisions) == [("MB-LINE-CHANGED", "sub1", 500), ("create", "sub2", 300)]


@pytest.mark.parametrize("rules", [(), ITEM], ids=["described", "charge-item"])
@pytest.mark.parametrize("grouping", ["line", "product"])
def test_a_lost_ledger_adds_no_charge(rules, grouping):
    world = case(TWO)
    sent = decide_bill(world, policy(charges=rules, charge_grouping=grouping))
    lines = [
        booked(f"li{number}", one.amount, one.payload.get("description", ""), one.payload.get("item_price_id"))
        for number, one in enumerate(sent)
    ]
    closed = draft(1, *lines, id="INV-1", status="paid")
    lost = replace(world, known=False, invoices=(closed, draft(1, id="draft9")))
    again = decide_bill(lost, policy(charges=rules, charge_grouping=grouping))
    assert sorted(one.amount for one in again if isinstance(one, Intent)) == sorted(one.amount for one in sent)
    assert all(one.action == "adopt" for one in again if isinstance(one, Intent))
    assert not [one for one in again if isinstance(one, Quarantined)]
    standing = tuple(stand(one) for one in again if isinstance(one, Intent))
    assert told(
        decide_bill(replace(lost, known=True, standing=standing), policy(charges=rules, charge_grouping=grouping))
    ) == [("unchanged", "sub1")]
