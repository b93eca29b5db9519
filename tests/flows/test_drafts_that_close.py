"""A draft gets another id as it closes: the ledger's charges and m3ter's mappings follow, nothing is charged twice."""

import pytest

from tests.flows.billed_month import BilledMonth, asides


def follows(month, final):
    """The ledger and m3ter name the final invoice and its lines."""
    line_ids = sorted(
        line["id"] for line in final["line_items"] if line["entity_type"] in ("charge_item_price", "adhoc")
    )
    assert [(invoice, line) for invoice, line, _ in sorted(month.charges(), key=lambda c: c[1])] == [
        (final["id"], line_id) for line_id in line_ids
    ]
    assert month.mapped("Bill") == [(month.bill["id"], final["id"])]
    assert sorted(line for _, line in month.mapped("BillLineItem")) == line_ids


@pytest.mark.parametrize("line_ids", ["keep", "renew"])
@pytest.mark.parametrize("draft", ["gone", "readable"])
def test_charges_follow_their_draft_to_the_final_invoice(open_sandbox, line_ids, draft):
    month = BilledMonth(open_sandbox)
    month.world.switches.update({"draft_line_ids_on_close": line_ids, "draft_after_close": draft})
    total = month.total()
    final = month.close()
    month.world.log.clear()
    report = month.charge()
    assert report.quarantined == []
    assert month.writes() == []
    follows(month, final)
    assert sum(month.ours()) == total
    assert month.charge().writes == 0


def test_a_dry_run_leaves_the_ledger_where_it_was(open_sandbox):
    month = BilledMonth(open_sandbox)
    before = month.charges()
    month.close()
    month.charge(dry_run=True)
    assert month.charges() == before


@pytest.mark.parametrize("line_ids", ["keep", "renew"])
def test_a_shortfall_of_a_closed_invoice_is_one_correction_on_the_next_draft(open_sandbox, line_ids):
    month = BilledMonth(open_sandbox)
    month.world.switches.update({"draft_line_ids_on_close": line_ids})
    month.recalculate("50", "7")
    month.charge()
    month.close()
    month.recalculate("51", "8.5")
    report = month.charge()
    assert [row["amount"] for row in report.waiting] == [250]
    month.pass_days(25)  # the next term has begun, with a draft of its own
    assert month.charge().quarantined == []
    assert month.ours(month.draft) == [250]
    assert "Correction" in next(line["description"] for line in month.draft["line_items"] if line["amount"] == 250)
    month.close()
    month.world.log.clear()
    assert month.charge().quarantined == []
    assert month.writes() == []
    assert sum(month.ours()) == 5950


def test_a_surplus_of_a_closed_invoice_is_set_aside_with_the_exact_difference(open_sandbox):
    month = BilledMonth(open_sandbox)
    month.recalculate("50", "7")
    month.charge()
    month.close()
    month.recalculate("49", "7.5")
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -50)]
    assert asides(month.charge()) == [("MB-BILL-CHANGED", -50)]
    month.recalculate("50", "7")
    assert month.charge().quarantined == []


@pytest.mark.parametrize("how", ["voided", "deleted"])
@pytest.mark.parametrize("on_void", ["hold", "recharge"])
def test_a_voided_or_deleted_invoice_is_held_or_charged_again(open_sandbox, how, on_void):
    month = BilledMonth(open_sandbox, METERBRIDGE_ON_VOID=on_void)
    total = month.total()
    final = month.close()
    month.charge()
    if how == "voided":
        month.void(month.world.chargebee.invoices.get(final["id"]))
    else:
        month.save_invoice(month.world.chargebee.invoices.get(final["id"]), deleted=True)
    month.pass_days(25)
    report = month.charge()
    if on_void == "hold":
        assert asides(report) == [("MB-VOIDED", total)]
        assert month.ours(month.draft) == []
        assert asides(month.charge()) == [("MB-VOIDED", total)]
    else:
        assert report.quarantined == []
        assert sum(month.ours(month.draft)) == total
        assert month.charge().writes == 0


def test_a_deleted_draft_is_held(open_sandbox):
    month = BilledMonth(open_sandbox)
    month.save_invoice(month.draft, deleted=True)
    assert asides(month.charge()) == [("MB-VOIDED", month.total())]


@pytest.mark.parametrize("closed", [False, True], ids=["pending", "as-it-closed"])
@pytest.mark.parametrize("on_void", ["hold", "recharge"])
def test_a_line_taken_off_by_hand_is_held_or_charged_again(open_sandbox, closed, on_void):
    month = BilledMonth(open_sandbox, METERBRIDGE_ON_VOID=on_void)
    month.recalculate("50", "7")
    month.charge()
    kept = [line for line in month.draft["line_items"] if line["amount"] != 700]
    month.save_invoice(month.draft | {"line_items": kept})
    if closed:
        month.close()
        month.pass_days(25)
    report = month.charge()
    if on_void == "hold":
        assert asides(report) == [("MB-LINE-CHANGED", 700)]
        assert month.ours() == [5000]
    else:
        assert report.quarantined == []
        assert month.ours() == [700, 5000]
        assert month.charge().writes == 0


def test_a_draft_without_a_final_is_in_transit_and_lost_after_a_day(open_sandbox):
    month = BilledMonth(open_sandbox, METERBRIDGE_ON_VOID="recharge")
    month.recalculate("50", "7")
    month.charge()
    row = month.draft
    month.world.chargebee.invoices.remove(row["id"], month.world.clock.now_ms())
    report = month.charge()
    assert (report.quarantined, report.waiting) == ([], [])
    month.recalculate("60", "7")
    assert [row["amount"] for row in month.charge().waiting] == [1000]
    month.world.advance(86_400)
    assert asides(month.charge()) == [("MB-DRAFT-LOST", 6700)]
    assert month.writes()[-1].path.endswith("add_charge") or month.writes()[-1].path.endswith("add_charge_item")
    month.save_invoice(row | {"id": "4711", "status": "posted"})  # it comes into sight after all
    report = month.charge()
    assert report.quarantined == []
    assert [row["amount"] for row in report.waiting] == [1000]
    follows(month, month.world.chargebee.invoices.get("4711"))


def test_two_finals_that_fit_equally_are_named(open_sandbox):
    month = BilledMonth(open_sandbox)
    month.world.switches.update({"draft_line_ids_on_close": "renew"})
    final = month.close()
    twin = [line | {"id": f"twin-{line['id']}"} for line in final["line_items"]]
    month.save_invoice(final | {"id": "twin", "line_items": twin})
    assert month.charge().quarantined == []  # what stands is what is wanted, wherever it is
    month.recalculate("60", "7")
    report = month.charge()
    [row] = [row for row in report.quarantined if row["kind"] == "charge"]
    assert row["code"] == "MB-INVOICE-AMBIGUOUS"
    assert "twin" in row["message"]
    assert final["id"] in row["message"]


@pytest.mark.parametrize("setting", ["keep", "remove"])
def test_approved_pending_approved(open_sandbox, setting):
    month = BilledMonth(open_sandbox, METERBRIDGE_ON_UNAPPROVED=setting)
    total = month.total()
    month.turn("PENDING")
    report = month.charge()
    if setting == "keep":
        assert asides(report) == [("MB-BILL-UNAPPROVED", total)]
        assert sum(month.ours()) == total
    else:
        assert report.quarantined == []
        assert (month.ours(), month.mapped("BillLineItem")) == ([], [])
    assert month.charge().writes == 0
    month.turn("APPROVED")
    assert month.charge().quarantined == []
    assert sum(month.ours()) == total
    assert month.charge().writes == 0


@pytest.mark.parametrize("closed", [False, True], ids=["pending", "closed"])
def test_a_deleted_bill_has_total_nought(open_sandbox, closed):
    month = BilledMonth(open_sandbox)
    total = month.total()
    if closed:
        month.close()
    month.delete_bill()
    report = month.charge()
    if closed:
        assert asides(report) == [("MB-BILL-DELETED", total)]
    else:
        assert report.quarantined == []
        assert month.ours() == []
    assert month.charge().writes == 0


def test_a_bill_s_lines_follow_a_draft_that_closes_under_new_line_ids_though_the_bill_is_unchanged(open_sandbox):
    month = BilledMonth(open_sandbox)
    month.world.switches.update({"draft_line_ids_on_close": "renew"})
    final = month.close()
    month.charge()
    theirs = {line["id"] for line in final["line_items"] if line["entity_type"] in ("charge_item_price", "adhoc")}
    assert {line_id for _, line_id in month.mapped("BillLineItem")} == theirs
    month.world.log.clear()
    month.charge()
    assert [one for one in month.world.log if one.method in ("PUT", "DELETE")] == []
