"""m3ter's mappings follow the charges: made, pointed elsewhere, taken away."""

import pytest

from meterbridge.rules.bills import decide_bill
from meterbridge.rules.charge_mappings import Held, Moved, Names, mapping_intents
from meterbridge.rules.found_mappings import Booked, Found, of_bills
from tests.unit.bill_world import applied, bill, case, draft, line, policy

NAMES = Names("Bill", "Invoice", "BillLineItem", "InvoiceLineItem")
BILL = ("Bill", "bill1", "draft1")
LINE = ("BillLine", "bill1", "l1")
FIVE = bill(line("l1", "5"))


def held(the_bill=FIVE):
    [one] = applied(case(the_bill))
    return Held(one.key, "draft1", "li-1", ("l1",))


def decided(the_bill, standing=()):
    return decide_bill(case(the_bill, standing=standing, invoices=(draft(1),)), policy())


def told(intents):
    return sorted((one.action, *one.key) for one in intents)


def test_a_charge_is_mapped_once_with_its_bill():
    assert told(mapping_intents(decided(FIVE), NAMES)) == [("create", *BILL), ("create", *LINE)]
    assert told(mapping_intents(decided(FIVE), NAMES, known={BILL})) == [("create", *LINE)]


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        pytest.param("l1", [("update", *LINE)], id="the-bill-line-kept-its-id"),
        pytest.param("l9", [("create", "BillLine", "bill1", "l9"), ("delete", *LINE)], id="it-got-another"),
    ],
)
def test_a_replaced_line_takes_its_mapping_along(again, expected):
    changed = bill(line(again, "7", pricing_id="pricing-l1"))
    intents = mapping_intents(decided(changed, applied(case(FIVE))), NAMES, known={BILL, LINE}, held=[held()])
    assert told(intents) == expected


def test_a_removed_line_takes_its_mappings_away():
    gone = decided(bill(line("l1", "0")), applied(case(FIVE)))
    intents = mapping_intents(gone, NAMES, known={BILL, LINE}, held=[held()])
    assert told(intents) == [("delete", *BILL), ("delete", *LINE)]


@pytest.mark.parametrize(
    ("line_id", "expected"),
    [
        pytest.param("li-1", [("update", *BILL)], id="line-ids-kept"),
        pytest.param("x-1", [("update", *BILL), ("update", *LINE)], id="line-ids-renewed"),
    ],
)
def test_mappings_follow_a_draft_to_its_final(line_id, expected):
    moved = Moved(held(), "4711", line_id)
    after = Held(held().key, "4711", line_id, ("l1",))
    known = {BILL, LINE}
    assert told(mapping_intents([], NAMES, known=known, held=[after], moved=[moved])) == expected


def test_a_mapping_that_a_stopped_run_left_behind_is_taken_away():
    assert told(mapping_intents([], NAMES, known={LINE}, bills={"bill1"})) == [("delete", *LINE)]
    assert mapping_intents([], NAMES, known={LINE}) == []


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param({LINE: "li-0"}, [("update", *LINE)], id="at-the-line-before"),
        pytest.param({LINE: "li-1"}, [], id="right"),
        pytest.param({}, [], id="not-kept"),
    ],
)
def test_a_mapping_that_a_stopped_run_did_not_point_elsewhere_is_pointed_there(points, expected):
    assert told(mapping_intents([], NAMES, known={BILL, LINE}, held=[held()], points=points)) == expected


def test_a_bill_line_that_two_charges_claim_stays_mapped_as_it_is():
    one = held()
    both = [one, Held(("bill1", "sub1", "before"), "4711", "li-0", ("l1",))]
    known = {BILL, LINE, ("Bill", "bill1", "4711")}
    assert mapping_intents([], NAMES, known=known, held=both, points={LINE: "li-1"}) == []


HERE = Held(("bill1", "sub1", "cut"), "draft1", "li-1", ("l1",))
THERE = Held(("bill1", "sub2", "cut"), "draft2", "li-2", ("l1",))
OTHER = ("Bill", "bill1", "draft2")
LINE_THERE, LINE_HERE = (*LINE, "sub2"), (*LINE, "sub1")


@pytest.mark.parametrize(
    ("known", "points", "expected"),
    [
        pytest.param(set(), {}, [("adopt", *LINE), ("adopt", *LINE_THERE)], id="none is there"),
        pytest.param({LINE}, {LINE: "li-1"}, [("adopt", *LINE_THERE)], id="the first one is"),
        pytest.param({LINE}, {LINE: "li-2"}, [("adopt", *LINE_HERE)], id="the other one is, as the line's own"),
        pytest.param({LINE, LINE_THERE}, {LINE: "li-1", LINE_THERE: "li-2"}, [], id="both are"),
        pytest.param({LINE_THERE}, {LINE_THERE: "li-2"}, [("adopt", *LINE)], id="the second one alone is"),
    ],
)
def test_a_line_that_was_cut_is_mapped_to_each_subscriptions_charge(known, points, expected):
    intents = mapping_intents([], NAMES, known={BILL, OTHER, *known}, held=[HERE, THERE], points=points)
    assert told(intents) == expected
    targets = {one.key: one.payload["externalId"] for one in intents} | points
    assert sorted(targets.values()) == ["li-1", "li-2"]


def test_of_a_line_that_was_cut_the_mapping_goes_with_its_own_charge():
    known = {BILL, OTHER, LINE, LINE_THERE}
    points = {LINE: "li-1", LINE_THERE: "li-2"}
    for stays, gone in ((HERE, LINE_THERE), (THERE, LINE)):
        intents = mapping_intents([], NAMES, known=known, held=[stays], bills={"bill1"}, points=points)
        assert told(intents) == [("delete", *gone)]


def test_a_cut_lines_mapping_follows_each_charge_to_its_final():
    moved = Moved(THERE, "final", "li-9")
    after = Held(THERE.key, "final", "li-9", ("l1",))
    known = {BILL, OTHER, LINE, LINE_THERE}
    points = {LINE: "li-1", LINE_THERE: "li-2", OTHER: "draft2"}
    intents = mapping_intents([], NAMES, known=known, held=[HERE, after], moved=[moved], points=points)
    assert told(intents) == [("update", *OTHER), ("update", *LINE_THERE)]


def test_a_rebuilt_ledger_knows_both_mappings_of_a_line_that_was_cut():
    found = [Found(f"m{number}", "BillLineItem", "l1", "InvoiceLineItem", f"li-{number}") for number in (2, 1)]
    booked = [Booked("bill1", "sub1", "li-1"), Booked("bill1", "sub2", "li-2")]
    keys = {key: one.external_id for key, one in of_bills(found, booked, NAMES, {"l1": "bill1"})}
    assert keys == {LINE: "li-1", LINE_THERE: "li-2"}
    assert mapping_intents([], NAMES, known={BILL, OTHER, *keys}, held=[HERE, THERE], points=keys) == []


def test_what_is_not_permitted_is_not_mapped():
    assert mapping_intents(decided(FIVE), Names.of({})) == []


SECOND = Held(("bill1", "sub1", "second"), "draft1", "li-2", ("l2",))
FOREIGN = ("Account", "cust-1")


@pytest.mark.parametrize("made", range(8))
def test_whichever_of_the_mappings_a_stopped_run_had_made_the_next_one_makes_the_rest(made):
    wanted = [BILL, LINE, ("BillLine", "bill1", "l2")]
    known = {FOREIGN, *(key for n, key in enumerate(wanted) if made >> n & 1)}
    rest = mapping_intents([], NAMES, known=known, held=[held(), SECOND], bills={"bill1"})
    assert told(rest) == sorted(("adopt", *key) for key in wanted if key not in known)
    known |= {one.key for one in rest}
    assert mapping_intents([], NAMES, known=known, held=[held(), SECOND], bills={"bill1"}) == []


@pytest.mark.parametrize("left", range(8))
def test_whichever_of_the_mappings_a_stopped_run_had_not_taken_away_the_next_one_does(left):
    stale = [BILL, LINE, ("BillLine", "bill1", "l2")]
    known = {FOREIGN, *(key for n, key in enumerate(stale) if left >> n & 1)}
    rest = mapping_intents([], NAMES, known=known, bills={"bill1"})
    assert told(rest) == sorted(("delete", *key) for key in known - {FOREIGN})


def test_a_mapping_that_was_pointed_at_the_final_invoice_needs_no_twin():
    after = Held(held().key, "4711", "li-1", ("l1",))
    known = {BILL, LINE}
    points = {BILL: "4711", LINE: "li-1"}
    assert mapping_intents([], NAMES, known=known, held=[after], bills={"bill1"}, points=points) == []
