"""A bill that changed after it was charged: one number per portion, by where its lines stand."""

from dataclasses import replace
from datetime import timedelta

import pytest

from meterbridge.rules.bills import decide_bill, decide_vanished
from meterbridge.rules.keys import reference
from meterbridge.rules.records import Intent, InvoiceLine, Ref
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
    policy,
    stand,
    told,
)

CLOSED = ["posted", "payment_due", "not_paid", "paid"]


def on(status, *amounts, **changes):
    """A strongly read invoice with the lines that were charged, at these amounts."""
    lines = (
        InvoiceLine(f"li-{n}", "adhoc", None, f"[{n}]", None, None, amount, "sub1") for n, amount in enumerate(amounts)
    )
    return draft(1, *lines, status=status, strong=True, **changes)


# --- pending: replaced ------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "expected"), REPLACED)
def test_lines_on_a_pending_invoice_are_replaced(wanted, expected):
    again = bill(*(line(f"l{n}", amount, n) for n, amount in enumerate(wanted, 1)))
    assert told(decide(again, charged(FIVE), on("pending", 500))) == expected


def test_the_new_line_waits_for_the_old_one_to_be_gone():
    removal, creation = decide(bill(line("l1", "7")), charged(FIVE), on("pending", 500))
    assert (removal.kind, removal.scope, removal.payload["line_ids"]) == ("charge_removal", "invoice:draft1", ["li-0"])
    assert creation.depends_on == (Ref("charge_removal", (*creation.key, "li-0")),)
    assert creation.scope == "invoice:draft1"


def test_lines_that_are_right_stay_where_they_are():
    before = bill(line("l1", "5"), line("l2", "3", 2))
    after = bill(line("l1", "5"), line("l2", "4", 2))
    assert told(decide(after, charged(before), on("pending", 500, 300))) == [
        ("remove", "sub1", -300),
        ("create", "sub1", 400),
    ]


def test_equal_sums_send_nothing_whatever_single_lines_did():
    before = bill(line("l1", "5"), line("l2", "3", 2))
    after = bill(line("l1", "2"), line("l2", "6", 2))
    for status in ("pending", "paid"):
        assert told(decide(after, charged(before), on(status, 500, 300), draft(1, id="next"))) == [
            ("unchanged", "sub1")
        ]


def test_a_replacement_counts_the_room_it_makes():
    changes = {"policy_changes": {"max_invoice_lines": 1}}
    assert told(decide(bill(line("l1", "7")), charged(FIVE), on("pending", 500), **changes)) == [
        ("remove", "sub1", -500),
        ("create", "sub1", 700),
    ]


def test_a_recalculation_waits_until_the_bill_has_settled():
    world = {"now": MAY - timedelta(days=30)}
    decisions = decide(bill(line("l1", "7")), charged(FIVE), on("pending", 500), **world)
    assert [type(one).__name__ for one in decisions] == ["Waiting"]
    assert decisions[0].amount == 200


# --- closed: one correction, or netted, or set aside ----------------------------------------------


@pytest.mark.parametrize("status", CLOSED)
def test_a_shortfall_of_a_closed_invoice_is_one_correction_on_the_next_draft(status):
    before = bill(line("l1", "5"), line("l2", "3", 2))
    after = bill(line("l1", "6"), line("l2", "4.5", 2))
    [intent] = decide(after, charged(before), on(status, 500, 300, id="draft1"), draft(1, id="next", at=MAY))
    assert (intent.action, intent.amount, intent.scope) == ("create", 250, "invoice:next")
    assert intent.payload["description"] == f"Correction: API, 2026-03-01–2026-03-31 [{reference(intent.key)}]"
    assert intent.payload["line_ids"] == []


def test_a_correction_is_charged_once():
    after = bill(line("l1", "7"))
    closed = on("paid", 500)
    [intent] = decide(after, charged(FIVE), closed, draft(1, id="next"))
    standing = (*charged(FIVE), stand(intent))
    assert told(decide(after, standing, closed, draft(1, id="next"))) == [("unchanged", "sub1")]


def test_a_correction_on_the_next_draft_is_replaced_like_any_line():
    closed = on("paid", 500)
    [first] = decide(bill(line("l1", "7")), charged(FIVE), closed, draft(1, id="next"))
    standing = (*charged(FIVE), stand(first))
    removal, second = decide(bill(line("l1", "8")), standing, closed, draft(1, id="next"))
    assert (removal.kind, removal.amount, second.amount, second.key) == ("charge_removal", -200, 300, first.key)


def test_a_second_correction_follows_a_first_that_is_closed():
    [first] = decide(bill(line("l1", "7")), charged(FIVE), on("paid", 500), draft(1, id="next"))
    standing = (*charged(FIVE), stand(first))
    closed = (on("paid", 500), draft(1, id="next", status="posted"), draft(1, id="third"))
    [second] = decide(bill(line("l1", "8")), standing, *closed)
    assert (second.amount, second.payload["invoice_id"]) == (100, "third")
    assert second.key != first.key


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(["4"], [("MB-BILL-CHANGED", "sub1", -100)], id="nothing-to-net-against"),
        pytest.param(["4", "3"], [("create", "sub1", 200)], id="netted-against-a-new-line"),
        pytest.param(["4", "1"], [("unchanged", "sub1")], id="netted-whole"),
        pytest.param(["4", "0.4"], [("MB-BILL-CHANGED", "sub1", -60)], id="netted-in-part"),
    ],
)
def test_a_surplus_of_a_closed_invoice_lowers_the_portions_other_lines(after, expected):
    again = bill(*(line(f"l{n}", amount, n) for n, amount in enumerate(after, 1)))
    assert told(decide(again, charged(FIVE), on("paid", 500), draft(1, id="next"))) == expected


def test_a_shortfall_without_a_draft_waits():
    assert told(decide(bill(line("l1", "7")), charged(FIVE), on("paid", 500))) == [("waiting", "sub1", 200, MAY)]


def test_a_charged_line_that_closed_and_one_on_a_draft_add_up():
    before = bill(line("l1", "5"), line("l2", "3", 2))
    first, second = charged(before)
    second = replace(second, invoice_id="next")
    after = bill(line("l1", "6"), line("l2", "2", 2))
    open_one = draft(1, InvoiceLine("li-1", "adhoc", None, "", None, None, 300, "sub1"), id="next", strong=True)
    assert told(decide(after, (first, second), on("paid", 500), open_one)) == [("unchanged", "sub1")]
    after = bill(line("l1", "6.5"), line("l2", "2", 2))
    assert told(decide(after, (first, second), on("paid", 500), open_one)) == [
        ("remove", "sub1", -300),
        ("create", "sub1", 200),
        ("create", "sub1", 150),
    ]


# --- voided, deleted, changed by hand ----------------------------------------------------------------

GONE = {
    "voided": (on("voided", 500, 300), "MB-VOIDED"),
    "deleted": (on("deleted", 500, 300), "MB-VOIDED"),
    "line-taken-off": (on("paid"), "MB-LINE-CHANGED"),
}


@pytest.mark.parametrize(("invoice", "code"), GONE.values(), ids=GONE)
def test_what_went_away_by_hand_is_held_with_its_amount(invoice, code):
    before = bill(line("l1", "5"), line("l2", "3", 2))
    assert told(decide(before, charged(before), invoice, draft(1, id="next"))) == [(code, "sub1", 800)]


@pytest.mark.parametrize(("invoice", "code"), GONE.values(), ids=GONE)
def test_or_charged_again_by_setting(invoice, code):
    before = bill(line("l1", "5"), line("l2", "3", 2))
    changes = {"policy_changes": {"on_void": "recharge"}}
    decisions = decide(before, charged(before), invoice, draft(1, id="next"), **changes)
    assert told(decisions) == [("create", "sub1", 500), ("create", "sub1", 300)]
    assert {one.payload["invoice_id"] for one in decisions} == {"next"}


@pytest.mark.parametrize("on_void", ["hold", "recharge"])
def test_the_other_lines_of_the_portion_still_stand(on_void):
    before = bill(line("l1", "5"), line("l2", "3", 2))
    first, second = charged(before)
    second = replace(second, invoice_id="other", line_id="li-9")
    other = draft(1, InvoiceLine("li-9", "adhoc", None, "", None, None, 300, "sub1"), id="other", status="paid")
    expected = {"hold": ("MB-VOIDED", "sub1", 500), "recharge": ("create", "sub1", 500)}
    changes = {"policy_changes": {"on_void": on_void}}
    decisions = decide(before, (first, second), on("voided", 500), other, draft(1, id="next"), **changes)
    assert told(decisions) == [expected[on_void]]


@pytest.mark.parametrize(
    ("status", "left", "on_void", "expected"),
    [
        pytest.param("pending", 400, "hold", ("MB-LINE-CHANGED", "sub1", 100), id="held"),
        pytest.param("pending", 400, "recharge", ("create", "sub1", 100), id="never-in-full-again"),
        pytest.param("paid", 600, "hold", ("MB-LINE-CHANGED", "sub1", -100), id="raised-by-hand"),
    ],
)
def test_an_edited_line_counts_with_what_is_left_of_it(status, left, on_void, expected):
    changes = {"policy_changes": {"on_void": on_void}}
    assert told(decide(FIVE, charged(FIVE), on(status, left), draft(1, id="next"), **changes)) == [expected]


def test_a_line_that_a_mere_list_lacks_still_stands():
    listed = replace(on("pending"), strong=False)
    assert told(decide(FIVE, charged(FIVE), listed)) == [("unchanged", "sub1")]


def test_a_hold_that_a_person_dismissed_rests():
    assert told(decide(FIVE, charged(FIVE), on("voided", 500), draft(1, id="next"), settled={"sub1": 500})) == [
        ("unchanged", "sub1")
    ]


# --- drafts that went away -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draft_state", "wanted", "expected"),
    [
        pytest.param("transit", "5", ("unchanged", "sub1"), id="in-transit-it-counts"),
        pytest.param("transit", "7", ("waiting", "sub1", 200, LATER), id="nothing-is-sent-meanwhile"),
        pytest.param("lost", "5", ("MB-DRAFT-LOST", "sub1", 500), id="lost"),
        pytest.param("ambiguous", "5", ("unchanged", "sub1"), id="ambiguous-it-counts"),
        pytest.param("ambiguous", "7", ("MB-INVOICE-AMBIGUOUS", "sub1", 200), id="ambiguous-nothing-is-sent"),
    ],
)
@pytest.mark.parametrize("on_void", ["hold", "recharge"])
def test_lines_of_a_draft_that_went_away(draft_state, wanted, expected, on_void):
    away = {"draft": draft_state, "transit_until": LATER, "candidates": ("41", "42")}
    standing = tuple(replace(one, **away) for one in charged(FIVE))
    changes = {"policy_changes": {"on_void": on_void}}
    assert told(decide(bill(line("l1", wanted)), standing, draft(1, id="next"), **changes)) == [expected]


def test_an_ambiguous_final_names_its_candidates():
    standing = tuple(replace(one, draft="ambiguous", candidates=("41", "42")) for one in charged(FIVE))
    [decision] = decide(bill(line("l1", "7")), standing, draft(1, id="next"))
    assert "41, 42" in decision.message


# --- no longer approved -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "status", "expected"),
    [
        pytest.param("keep", "pending", [("MB-BILL-UNAPPROVED", "sub1", 500)], id="keep"),
        pytest.param("remove", "pending", [("remove", "sub1", -500)], id="remove"),
        pytest.param("remove", "paid", [("MB-BILL-UNAPPROVED", "sub1", 500)], id="closed-stays"),
    ],
)
def test_a_bill_that_is_pending_again(setting, status, expected):
    changes = {"policy_changes": {"on_unapproved": setting}}
    assert told(decide(bill(line("l1", "5"), status="PENDING"), charged(FIVE), on(status, 500), **changes)) == expected


def test_only_a_bill_that_is_gone_for_good_lowers_others_by_what_stands():
    [aside] = decide(bill(line("l1", "5"), status="PENDING"), charged(FIVE), on("paid", 500))
    assert (aside.amount, aside.surplus) == (500, 0)
    [aside] = decide_vanished(case(FIVE, standing=charged(FIVE), invoices=(on("paid", 500),)))
    assert (aside.code, aside.amount, aside.surplus) == ("MB-BILL-DELETED", 500, 500)


def test_approved_again_after_its_lines_were_removed_it_is_charged_once_more():
    assert told(decide(FIVE, (), on("pending"))) == [("create", "sub1", 500)]


def test_lines_that_a_person_took_off_for_a_withdrawn_bill_are_not_counted_twice():
    settled = {"settled": {"sub1": -500}}
    assert told(decide(bill(line("l1", "5"), status="PENDING"), charged(FIVE), on("pending"), **settled)) == [
        ("unchanged", "sub1")
    ]
    assert told(decide(FIVE, charged(FIVE), on("pending"), **settled)) == [("MB-LINE-CHANGED", "sub1", 500)]


# --- what is adopted is no history -----------------------------------------------------------------------


def test_a_rebuilt_ledger_finds_its_correction_again():
    after = bill(line("l1", "7"))
    [intent] = decide(after, charged(FIVE), on("paid", 500), draft(1, id="next"))
    described = next(one for one in decide_bill(case(FIVE), policy()) if isinstance(one, Intent))
    lines = (
        InvoiceLine("x1", "adhoc", None, described.payload["description"], None, None, 500, "sub1"),
        InvoiceLine("x2", "adhoc", None, intent.payload["description"], None, None, 200, "sub1"),
    )
    found = decide_bill(
        case(after, known=False, invoices=(draft(1, *lines, status="paid"), draft(1, id="n"))), policy()
    )
    assert told(found) == [("adopt", "sub1", 500), ("adopt", "sub1", 200), ("unchanged", "sub1")]


def test_a_rebuilt_ledger_tells_a_mapped_line_from_its_correction():
    after = bill(line("l1", "7"))
    [intent] = decide(after, charged(FIVE), on("paid", 500), draft(1, id="next"))
    lines = (
        InvoiceLine("x1", "adhoc", None, "typed by hand", None, None, 500, "sub1"),
        InvoiceLine("x2", "adhoc", None, intent.payload["description"], None, None, 200, "sub1"),
    )
    found = case(after, known=False, mapped_invoice_lines={"l1": "x1"}, invoices=(draft(1, *lines, status="paid"),))
    assert told(decide_bill(found, policy())) == [
        ("adopt", "sub1", 500),
        ("adopt", "sub1", 200),
        ("unchanged", "sub1"),
    ]


@pytest.mark.parametrize(("booked", "difference"), [(480, 20), (520, -20)])
def test_an_adopted_line_at_another_amount_stays_with_a_person(booked, difference):
    standing = tuple(replace(one, adopted=True, amount=booked) for one in charged(FIVE))
    decisions = decide(FIVE, standing, draft(1, id="next"))
    assert told(decisions) == [("MB-BILL-CHANGED", "sub1", difference)]
