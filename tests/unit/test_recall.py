"""A lost ledger learns from m3ter's marks which charges another bill's surplus has lowered, and does not send them."""

from dataclasses import replace

import pytest

from meterbridge.rules.bill_lines import is_correction
from meterbridge.rules.bills import decide_bill
from meterbridge.rules.carry import carry_over
from meterbridge.rules.charge_mappings import Names, mapping_intents
from meterbridge.rules.keys import reference
from meterbridge.rules.recall import agree, carried_key, lowered_charge, mark_of, marks_of
from meterbridge.rules.records import Intent, Quarantined, Ref, StandingLine
from meterbridge.rules.standing import take_stock
from tasks.netted_marks import after_marks, netted_intents
from tests.unit.bill_world import bill, case, draft, line, policy, told
from tests.unit.test_bills_adoption import booked

NAMES = Names("Bill", "Invoice", "BillLineItem", "InvoiceLineItem")
TEN = bill(line("l1", "10"))
[PLAIN] = decide_bill(case(TEN), policy())


def part(amount, source="old"):
    return {"bill_id": source, "subscription_id": "sub1", "amount": amount}


def lost(the_bill=TEN, *marks, lines=(), **changes):
    """What is decided of a bill that the ledger does not know, with these marks and these lines on a paid invoice."""
    invoices = (draft(1, *lines, id="INV-1", status="paid"), draft(1))
    return decide_bill(case(the_bill, known=False, invoices=invoices, marks=marks, **changes), policy())


def line_at(amount):
    return booked("li1", amount, f"API [{reference(PLAIN.key)}]")


def surplus(amount):
    return Quarantined("charge", ("old", "sub1"), "MB-BILL-CHANGED", "why", -amount, "EUR", 3)


def test_a_mark_tells_how_much_of_which_charge_for_which_bill():
    assert mark_of(PLAIN.key, part(700)) == f"netted:700:{reference(PLAIN.key)}:old"


def test_a_charge_that_was_lowered_to_nothing_is_not_sent_again():
    decisions = lost(TEN, mark_of(PLAIN.key, part(1000)))
    assert told(decisions) == [("adopt", "sub1", 0), ("unchanged", "sub1")]
    assert decisions[0].key == PLAIN.key
    assert decisions[0].state["carried"] == [part(1000)]


def test_a_lowered_line_is_adopted_with_what_lowered_it():
    decisions = lost(TEN, mark_of(PLAIN.key, part(100)), lines=[line_at(900)])
    assert told(decisions) == [("adopt", "sub1", 900), ("unchanged", "sub1")]
    assert decisions[0].state["carried"] == [part(100)]


def test_what_is_missing_beside_a_lowered_charge_is_sent():
    two = bill(line("l1", "10"), line("l2", "3", 2))
    assert told(lost(two, mark_of(PLAIN.key, part(1000)))) == [("adopt", "sub1", 0), ("create", "sub1", 300)]
    beside_a_line = lost(two, mark_of(PLAIN.key, part(100)), lines=[line_at(900)])
    assert told(beside_a_line) == [("adopt", "sub1", 900), ("create", "sub1", 300)]
    other_amount = lost(two, mark_of(PLAIN.key, part(100)), lines=[line_at(800)])
    assert told(other_amount) == [("adopt", "sub1", 800), ("MB-BILL-CHANGED", "sub1", 400)]


def test_a_lowered_line_that_is_gone_is_told_and_not_sent():
    decisions = lost(TEN, mark_of(PLAIN.key, part(100)), mapped_invoice_lines={"l1": "li-gone"})
    assert told(decisions) == [("MB-LINE-CHANGED", "sub1", 1000)]


def test_without_a_mark_all_is_as_before():
    assert told(lost()) == [("create", "sub1", 1000)]
    assert told(lost(TEN, mark_of(("bill1", "sub1", "other"), part(100)))) == [("create", "sub1", 1000)]


def test_the_other_bill_rests_where_it_shows_the_surplus():
    taken, rest = lost(TEN, mark_of(PLAIN.key, part(1000)))
    assert told(agree([surplus(1000), taken, rest])) == [
        ("unchanged", "sub1"),
        ("adopt", "sub1", 0),
        ("unchanged", "sub1"),
    ]
    left, one, _ = agree([surplus(1200), taken, rest])
    assert (left.amount, one.state["carried"]) == (-200, [part(1000)])


def test_what_the_other_bill_does_not_show_counts_at_this_bill_alone():
    taken, rest = lost(TEN, mark_of(PLAIN.key, part(1000)))
    for others in ([], [surplus(900)]):
        *before, one, _ = agree([*others, taken, rest])
        assert before == others
        assert one.state["carried"] == [{**part(1000), "alone": True}]


def test_a_charge_lowered_to_nothing_that_grows_sends_only_what_it_grew_by():
    ours = StandingLine(PLAIN.key, "bill1", "sub1", "draft1", "", 0, "EUR", "", movable=False)
    plus = replace(ours, key=("bill1", "sub1", "carried"), amount=1000, carried=True)
    [grown] = decide_bill(case(bill(line("l1", "15")), standing=(ours, plus)), policy())
    assert (grown.action, grown.amount) == ("create", 500)
    assert grown.key != PLAIN.key
    assert take_stock(case(TEN, standing=(ours, plus)), "sub1").total == 1000


def lowered(by):
    return [one for one in carry_over([replace(surplus(by), surplus=by), PLAIN]) if isinstance(one, Intent)]


def marks(decided=(), known=(), held=(), kept=()):
    found = netted_intents(decided, NAMES, known=set(known), held=held, kept=set(kept))
    return [(one.action, one.key, bool(one.depends_on)) for one in found]


def test_marks_are_made_before_the_charge_is_lowered_and_go_with_it():
    mark = mark_of(PLAIN.key, part(1000))
    key = ("Netted", "bill1", mark)
    assert marks(lowered(1000)) == [("create", key, False)]
    assert marks(lowered(1000), known=[key]) == []
    assert marks(held=[(PLAIN.key, mark)]) == [("adopt", key, False)]
    assert marks(held=[(PLAIN.key, mark)], known=[key]) == []
    assert marks(known=[key, ("Bill", "bill1", "draft1")]) == [("delete", key, False)]
    assert marks([PLAIN], known=[key], held=[(PLAIN.key, mark)]) == [("delete", key, False)]
    assert netted_intents(lowered(1000), Names.of({}), known=set(), held=()) == []


@pytest.mark.parametrize("by", [1000, 300], ids=["to-nothing", "in-part"])
def test_a_lowered_charge_waits_for_its_mark(by):
    [one] = after_marks(lowered(by), NAMES)
    assert one.depends_on == (Ref("external_mapping", ("Netted", "bill1", mark_of(PLAIN.key, part(by)))),)
    assert after_marks([PLAIN], NAMES) == [PLAIN]
    assert after_marks(lowered(by), Names.of({})) == lowered(by)
    taken, _ = lost(TEN, mark_of(PLAIN.key, part(1000)))
    assert after_marks([taken], NAMES) == [taken]


def test_the_mark_of_a_charge_that_is_taken_over_comes_after_it():
    """Else a ledger that was stopped between the two would know the mark and not the charge."""
    taken, _ = lost(TEN, mark_of(PLAIN.key, part(1000)))
    [one] = netted_intents([taken], NAMES, known=set(), held=())
    assert (one.action, one.depends_on) == ("adopt", (Ref("charge", PLAIN.key),))


def test_another_lowering_of_a_bill_is_marked_once_the_old_mark_is_gone():
    old = ("Netted", "bill1", mark_of(PLAIN.key, part(300)))
    gone, new = sorted(
        netted_intents(lowered(400), NAMES, known={old}, held=()), key=lambda one: one.action, reverse=True
    )
    assert (gone.action, gone.key, new.action) == ("delete", old, "create")
    assert new.depends_on == (Ref("external_mapping", old),)


def test_the_mark_of_a_charge_under_way_stays():
    key = ("Netted", "bill1", mark_of(PLAIN.key, part(1000)))
    assert marks(known=[key], kept=[key]) == []


def test_a_mark_that_this_ledger_has_made_for_a_charge_to_come_lowers_nothing_yet():
    mark = mark_of(PLAIN.key, part(1000))
    assert told(lost(TEN, mark, marks_to_come=frozenset({mark}))) == [("create", "sub1", 1000)]
    part_of_it = mark_of(PLAIN.key, part(100))
    stands = lost(TEN, part_of_it, lines=[line_at(900)], marks_to_come=frozenset({part_of_it}))
    assert told(stands) == [("adopt", "sub1", 900), ("unchanged", "sub1")]  # it was sent: its answer is lost


def test_a_charge_that_was_to_be_lowered_in_part_is_charged_with_the_rest_by_a_ledger_that_has_lost_it():
    decisions = lost(TEN, mark_of(PLAIN.key, part(300)))
    assert told(decisions) == [("adopt", "sub1", 0), ("create", "sub1", 700)]
    assert is_correction(decisions[1].key[2])


def test_what_no_charge_builds_on_any_more_is_not_marked():
    [charge] = after_marks(lowered(1000), NAMES)
    [mark] = netted_intents([charge], NAMES, known=set(), held=())
    assert marks_of([PLAIN, charge], {("charge", charge.key)}) == {("external_mapping", mark.key)}
    assert marks_of([charge], {("charge", ("b", "s", "c"))}) == set()


def test_a_charge_recalled_from_its_mark_is_on_no_invoice_that_could_be_mapped():
    decisions = lost(TEN, mark_of(PLAIN.key, part(1000)))
    assert mapping_intents(decisions[:1], NAMES) == []
    assert [one[0] for one in marks(decisions[:1])] == ["adopt"]


def test_a_part_knows_its_charge():
    assert lowered_charge(carried_key(PLAIN.key, 1)) == PLAIN.key
