"""Money for which no pending invoice will come: where the setting says, once, whatever happens on the way."""

import pytest

from flows.reconcile import reconcile
from meterbridge.errors import RetriableError
from meterbridge.sandbox.chargebee.charges import invoice_now
from meterbridge.sandbox.scenarios.chargebee_seed import put_customer
from tests.flows.billed_month import BilledMonth, asides, lose_ledger

CREATE, UNBILLED = "create_for_charge_items_and_charges", "/unbilled_charges"
PATHS = {"create": CREATE, "unbilled": UNBILLED}
WAYS = pytest.mark.parametrize("way", ["create", "unbilled"])


def without_draft(open_sandbox, way, **more):
    """A month that was billed, but its draft has closed and the subscription has ended."""
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_NO_PENDING_INVOICE=way, **more)
    end(month)
    month.final = month.close()
    return month


def end(month):
    state = month.world.chargebee
    with month.world.lock:
        for row in list(state.subscriptions.rows()):
            now = month.world.clock.now()
            state.save(state.subscriptions, row | {"status": "cancelled", "cancelled_at": now, "next_billing_at": None})


def unbilled(month):
    rows = month.world.chargebee.unbilled_charges.rows()
    return sorted(row["amount"] for row in rows if not row["deleted"])


def standing(month):
    """All of ours that stands at Chargebee, on invoices or off them, in minor units."""
    return sum(month.ours()) + sum(unbilled(month))


def calls(month, way):
    return [one for one in month.writes() if one.path.endswith(PATHS[way])]


def sweep(month):
    """The unbilled charges go on an invoice."""
    with month.world.lock:
        waiting = [row for row in month.world.chargebee.unbilled_charges.rows() if not row["deleted"]]
        return invoice_now(month.world, waiting, waiting[0]["subscription_id"])


def test_create_makes_one_pending_invoice_with_all_lines_and_maps_it(open_sandbox):
    month = without_draft(open_sandbox, "create")
    report = month.charge()
    assert report.quarantined == []
    assert report.applied["charge_set.create"] == 1
    assert len(calls(month, "create")) == 1
    draft = month.draft
    assert sum(month.ours(draft)) == month.total()
    texts = [line["description"] for line in draft["line_items"]]
    assert len(set(texts)) == 2
    assert all(text.endswith("]") and "[mb:" in text for text in texts)
    assert month.mapped("Bill") == [(month.bill["id"], draft["id"])]
    lines = sorted(line["id"] for line in draft["line_items"])
    assert sorted(external for _, external in month.mapped("BillLineItem")) == lines
    month.world.log.clear()
    assert month.charge().writes == 0
    assert month.writes() == []
    assert reconcile.fn().totals["EUR"]["difference"] == 0


def test_unbilled_leaves_the_charges_for_the_next_invoice_and_follows_them_there(open_sandbox):
    month = without_draft(open_sandbox, "unbilled")
    report = month.charge()
    assert report.quarantined == []
    assert sum(unbilled(month)) == month.total()
    assert month.mapped("Bill") == []
    assert reconcile.fn().totals["EUR"]["difference"] == 0
    assert month.charge().writes == 0
    billed = sweep(month)
    month.world.log.clear()
    report = month.charge()
    assert (report.quarantined, month.writes()) == ([], [])
    assert standing(month) == month.total()
    assert {invoice for invoice, _, _ in month.charges()} == {billed["id"]}
    assert month.mapped("Bill") == [(month.bill["id"], billed["id"])]
    assert len(month.mapped("BillLineItem")) == 2
    assert reconcile.fn().totals["EUR"]["difference"] == 0
    assert month.charge().writes == 0


@pytest.mark.parametrize("paid_since", ["before", "meanwhile"])
def test_unbilled_charges_are_followed_to_the_invoice_of_whoever_pays(open_sandbox, paid_since):
    month = without_draft(open_sandbox, "unbilled")
    state = month.world.chargebee

    def pays():
        [owned] = [row for row in state.customers.rows() if row["id"] == "cust-single"]
        put_customer(month.world, "holding", "Holding", "EUR")
        state.save(state.customers, owned | {"relationship": {"invoice_owner_id": "holding"}})

    if paid_since == "before":
        pays()
    assert month.charge().quarantined == []
    if paid_since == "meanwhile":
        pays()
    billed = sweep(month)
    assert billed["customer_id"] == "holding"
    assert month.charge().waiting == []
    assert {invoice for invoice, _, _ in month.charges()} == {billed["id"]}
    month.pass_days(2)
    assert (month.charge().quarantined, standing(month)) == ([], month.total())


@WAYS
@pytest.mark.parametrize(("harm", "minutes"), [("commit_then_drop", 1), ("commit_then_drop", 31), ("drop_before", 31)])
def test_a_lost_answer_books_once_however_late_the_rerun(open_sandbox, way, harm, minutes):
    month = without_draft(open_sandbox, way)
    month.world.faults.add([{"match": {"path": PATHS[way], "method": "POST"}, "harm": harm, "times": -1}])
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()
    month.world.advance(60 * minutes)
    reports = [month.charge()]
    for _ in range(2):
        month.world.advance(360)
        reports.append(month.charge())
    assert standing(month) == month.total()
    assert (reports[-1].writes, reports[-1].quarantined, reports[-1].held) == (0, [], 0)
    if harm == "drop_before":
        assert (reports[0].held, reports[0].exit_code) == (1, 3)  # two looks apart from each other come first


@pytest.mark.parametrize(
    ("harms", "state"),
    [
        pytest.param([("POST", "status_429", -1)], "ready", id="nothing-was-executed"),
        pytest.param([("POST", "commit_then_drop", -1)], "unknown", id="no-answer"),
        pytest.param([("POST", "commit_then_drop", 1), ("GET", "html_503", -1)], "sending", id="answered-but-unread"),
    ],
)
def test_a_write_that_failed_is_sent_anew_only_if_nothing_was_executed(open_sandbox, harms, state):
    month = without_draft(open_sandbox, "create")
    paths = {"POST": PATHS["create"], "GET": r"^/api/v2/invoices/[^/]+$"}
    for method, harm, times in harms:
        spec = {"match": {"path": paths[method], "method": method}, "harm": harm, "times": times}
        month.world.faults.add([spec])
    with pytest.raises(RetriableError):
        month.charge()
    assert month.open_intents() == [("charge_set", state)]
    assert standing(month) == (0 if state == "ready" else month.total())


@WAYS
def test_while_the_lists_do_not_show_it_nothing_is_sent_again(open_sandbox, way):
    month = without_draft(open_sandbox, way)
    month.world.faults.add([{"match": {"path": PATHS[way], "method": "POST"}, "harm": "commit_then_drop", "times": -1}])
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()
    month.world.advance(1_860)
    month.world.switches.update({"list_lag_seconds": 2_000})
    report = month.charge()
    assert report.held == 1
    assert standing(month) == month.total()
    month.world.switches.update({"list_lag_seconds": 0})
    month.world.advance(360)
    month.charge()
    assert (standing(month), month.charge().writes) == (month.total(), 0)


@WAYS
def test_a_bill_recalculated_while_the_answer_is_lost_ends_at_its_new_total(open_sandbox, way):
    month = without_draft(open_sandbox, way)
    month.world.faults.add([{"match": {"path": PATHS[way], "method": "POST"}, "harm": "commit_then_drop", "times": -1}])
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()
    month.recalculate("500", "70")
    for _ in range(4):
        month.world.advance(1_000)
        report = month.charge()
    assert (standing(month), report.quarantined, report.writes) == (57_000, [], 0)


def test_a_recalculated_bill_replaces_the_lines_of_the_created_draft(open_sandbox):
    month = without_draft(open_sandbox, "create")
    month.charge()
    month.recalculate("12.34", "5.66")
    assert month.charge().quarantined == []
    assert (month.ours(month.draft), len(calls(month, "create"))) == ([566, 1234], 1)
    final = month.close()
    month.recalculate("20.00", "5.66")
    assert month.charge().quarantined == []
    assert month.ours(final) == [566, 1234]
    assert standing(month) == 2_566  # the difference went on another invoice of its own
    assert len(calls(month, "create")) == 2


@pytest.mark.parametrize("on_void", ["hold", "recharge"])
@pytest.mark.parametrize("gone", ["void", "delete"])
def test_a_created_invoice_that_a_person_takes_away_is_asked_about_or_charged_again(open_sandbox, on_void, gone):
    month = without_draft(open_sandbox, "create", METERBRIDGE_ON_VOID=on_void)
    month.charge()
    total = month.total()
    if gone == "void":
        month.void(month.close())
    else:
        final = month.close()
        month.charge()
        month.save_invoice(final, deleted=True)
    month.world.advance(600)
    report = month.charge()
    if on_void == "hold":
        assert asides(report) == [("MB-VOIDED", total)]
        assert standing(month) == 0
    else:
        assert (asides(report), standing(month)) == ([], total)
        assert month.charge().writes == 0


@WAYS
def test_a_lost_ledger_finds_what_was_booked(open_sandbox, way):
    month = without_draft(open_sandbox, way)
    month.charge()
    lose_ledger()
    month.world.log.clear()
    assert month.charge().quarantined == []
    assert month.writes() == []
    assert standing(month) == month.total()
    assert {amount for _, _, amount in month.charges()} == {*month.ours(), *unbilled(month)}


@WAYS
def test_a_draft_that_closes_between_reading_and_writing_sends_the_money_where_the_setting_says(open_sandbox, way):
    month = BilledMonth(open_sandbox, charge=False, METERBRIDGE_NO_PENDING_INVOICE=way)
    end(month)
    draft = month.draft
    real = month.world.record

    def close_then_record(vendor, method, path, key):
        if "/add_charge" in path and month.world.chargebee.invoices.get(draft["id"]) is not None:
            month.close(draft)
        return real(vendor, method, path, key)

    month.world.record = close_then_record
    report = month.charge()
    assert {code for code, _ in asides(report)} == {"MB-INVOICE-CLOSED"}
    assert standing(month) == 0
    assert month.charge().quarantined == []
    assert standing(month) == month.total()
    assert len(calls(month, way)) == 1
    assert month.charge().writes == 0


@WAYS
def test_a_price_override_that_the_site_ignores_is_taken_off_again_and_said(open_sandbox, way):
    month = without_draft(open_sandbox, way)
    month.world.switches.update({"price_override": False})
    assert "MB-CHARGE-WRONG" in {row["code"] for row in month.charge().quarantined}
    right = [row for row in month.charges() if row[1].startswith(("li_", "ub_"))]
    assert [amount for _, _, amount in right] == [standing(month)]
    month.charge()
    month.world.log.clear()
    report = month.charge()  # by now nothing is tried any more until somebody says so
    assert (month.writes(), report.exit_code) == ([], 3)
    assert standing(month) == right[0][2]
