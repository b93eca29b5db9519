"""A rebuild takes over all that stands at both vendors: the runs after it write to neither."""

import pytest

from flows.rebuild_ledger import rebuild_ledger
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from flows.undo_run import undo_run
from meterbridge.ledger import mappings
from meterbridge.sandbox.clock import epoch
from meterbridge.sandbox.scenarios.chargebee_seed import SubscriptionSeed, put_customer, put_subscription
from tasks.services import ledger_in_use
from tests.flows.billed_month import asides
from tests.flows.restored import RestoredMonth

KINDS = ("account", "account_plan", "charge", "credit", "external_mapping")
COPIES = pytest.mark.parametrize("copy", ["older", "lost"])
DOLLARS = SubscriptionSeed("sub-dollars", "cust-dollars", ("api-pro-USD-Monthly",), epoch(2026, 1, 1))


def known():
    """Return the ledger's rows: kind, key, id at the vendor. To which draft a bill was mapped at first is history."""
    with ledger_in_use() as ledger, ledger.read() as rx:
        found = [(kind, one.key, one.remote_id) for kind in KINDS for one in mappings.all(rx, kind, active_only=True)]
    return sorted((kind, key[:2] if key[0] == "Bill" else key, remote_id) for kind, key, remote_id in found)


def epochs():
    """The billing epochs that the ledger knows m3ter to have."""
    with ledger_in_use() as ledger, ledger.read() as rx:
        return {one.key: one.state.get("bill_epoch") for one in mappings.all(rx, "account_plan", active_only=True)}


def writes(world):
    """Every write that reached a vendor since the log was cleared."""
    asked = [entry for entry in world.log if entry.method != "GET" and "oauth" not in entry.path]
    return [(entry.vendor, entry.method, entry.path) for entry in asked]


def rebuilt(month, copy, *, told=()):
    """Put an older ledger, or none, in its place and rebuild it, first as a dry run."""
    if copy == "older":
        month.restore()
    else:
        month.lose()
    month.world.log.clear()
    dry = rebuild_ledger.fn(dry_run=True)
    report = rebuild_ledger.fn()
    assert dry.taken_over == report.taken_over
    assert (report.in_doubt, asides(report)) == ([], list(told))
    return report


def writes_after(month):
    """Run both syncs twice after a rebuild; returns their writes. The rebuild itself wrote nothing."""
    assert writes(month.world) == []
    for _ in range(2):
        sync_subscriptions.fn(full=True)
        assert sync_bills.fn().awaiting_approval == []
    return writes(month.world)


def with_dollars(world):
    """Another customer pays in dollars."""
    with world.lock:
        put_customer(world, "cust-dollars", "Dollars Inc", "USD")
        put_subscription(world, DOLLARS)


def two_currencies(open_sandbox, tmp_path):
    """A customer with two subscriptions in euros and one of another customer in dollars."""
    return RestoredMonth(open_sandbox, tmp_path, two=True, before=[with_dollars]).on("one")


def test_a_lost_ledger_of_a_site_that_lives_is_as_it_was(open_sandbox, tmp_path):
    month = RestoredMonth(open_sandbox, tmp_path, scenario="living").on("one")
    month.charge()
    before, days = known(), epochs()
    report = rebuilt(month, "lost")
    assert sorted({*known()} ^ {*before}) == []
    assert epochs() == days
    assert report.taken_over == {"account": 3, "account_plan": 3, "charge": 6, "external_mapping": 15}
    assert writes_after(month) == []


@pytest.mark.parametrize(
    ("copy", "closed", "amount"),
    [("older", False, "-1"), ("older", True, "+1"), ("lost", False, "+1"), ("lost", True, "-1")],
)
def test_what_was_recalculated_since_the_backup_is_taken_over_whole(open_sandbox, tmp_path, copy, closed, amount):
    month = two_currencies(open_sandbox, tmp_path)
    month.back_up()
    month.charge()
    if closed:
        for row in [row for row in month.invoices if row["status"] == "pending"]:
            month.close(row)
        month.pass_days(25)
        month.charge()
    for bill in month.bills:
        month.recalculate(*(str(line["convertedSubtotal"] + int(amount)) for line in bill["lineItems"]), bill=bill)
    month.charge()
    told = asides(month.charge())
    sums, before = month.standing(), known()
    rebuilt(month, copy, told=told)
    assert sorted({*known()} ^ {*before}) == []
    assert (writes_after(month), month.standing()) == ([], sums)


@COPIES
def test_a_draft_that_closed_since_keeps_its_mappings(open_sandbox, tmp_path, copy):
    month = two_currencies(open_sandbox, tmp_path)
    month.charge()
    month.back_up()
    for row in [row for row in month.invoices if row["status"] == "pending"]:
        month.close(row)
    month.pass_days(25)
    month.charge()
    mapped = [month.mapped(entity) for entity in ("Bill", "BillLineItem")]
    rebuilt(month, copy)
    assert writes_after(month) == []
    assert [month.mapped(entity) for entity in ("Bill", "BillLineItem")] == mapped


@COPIES
def test_what_three_hosts_charged_in_turn_is_taken_over(open_sandbox, tmp_path, copy):
    month = two_currencies(open_sandbox, tmp_path)
    month.back_up()
    for host, amount in (("one", 1), ("two", 2), ("three", 3)):
        month.on(host).charge()
        lines = month.bill["lineItems"]
        month.recalculate(*(str(line["convertedSubtotal"] + amount) for line in lines))
    month.on("two").charge()
    before = known()
    rebuilt(month, copy)
    assert sorted({*known()} ^ {*before}) == []
    for host in ("three", "one", "two"):
        month.on(host)
        if host != "two":  # these homes know of runs that the rebuilt ledger has learned of from another note
            rebuild_ledger.fn()
        assert sync_bills.fn().intended == {}
    assert month.standing() == month.wanted()


def test_mappings_of_what_was_undone_since_the_backup_are_gone(open_sandbox, tmp_path):
    month = two_currencies(open_sandbox, tmp_path)
    charged = month.charge()
    month.back_up()
    undo_run.fn(charged.flow_run_id, "ann")
    assert month.mapped("Bill") == month.mapped("BillLineItem") == []
    month.restore()
    rebuild_ledger.fn()
    month.charge()
    assert (month.standing(), month.mapped("Bill"), month.mapped("BillLineItem")) == (0, [], [])


# --- credits


def credited(open_sandbox, tmp_path, method):
    """A bill of which 1.50, or 5.00 of what stands on a closed invoice, were given back; the backup knows of none."""
    if method == "promotional_credit":
        month = RestoredMonth(open_sandbox, tmp_path, METERBRIDGE_NEGATIVE=method).on("one")
        month.recalculate("1", "-2.5")
        month.back_up()
        month.charge()
        return month, ("1", "-3.5")
    month = RestoredMonth(open_sandbox, tmp_path, METERBRIDGE_NEGATIVE_DELTA=method).on("one")
    month.recalculate("50", "7")
    month.charge()
    month.close()
    month.back_up()
    month.recalculate("45", "7")
    month.charge()
    return month, ("44", "7")


def given(month):
    """Minor units of all credits of ours."""
    state = month.world.chargebee
    notes = [note["total"] for note in state.credit_notes.rows()]
    return sorted([*notes, *(one["amount"] for one in state.promotional_credits.rows())])


@COPIES
@pytest.mark.parametrize("method", ["promotional_credit", "credit_note"])
def test_a_credit_that_was_given_after_the_backup_is_taken_over_at_its_amount(open_sandbox, tmp_path, copy, method):
    month, lower = credited(open_sandbox, tmp_path, method)
    before, once = known(), given(month)
    report = rebuilt(month, copy)
    assert report.taken_over["credit"] == 1
    assert sorted({*known()} ^ {*before}) == []
    assert (writes_after(month), given(month)) == ([], once)
    month.recalculate(*lower)
    told = asides(month.charge())
    assert sum(given(month)) - sum(amount for _, amount in told) == sum(once) + 100
    twice = given(month)
    rebuilt(month, "lost", told=told)
    assert (writes_after(month), given(month)) == ([], twice)


def test_a_credit_of_a_ledger_that_was_lost_untold_counts_at_the_amount_that_was_given(open_sandbox, tmp_path):
    month, lower = credited(open_sandbox, tmp_path, "promotional_credit")
    [once] = given(month)
    month.lose()
    month.on("another host")
    month.recalculate(*lower)
    month.charge()
    month.recalculate(*lower)
    assert (asides(month.charge()), given(month)) == ([("MB-BILL-CHANGED", -100)], [once])


def test_a_credit_that_no_bill_claims_is_told(open_sandbox, tmp_path):
    month, _ = credited(open_sandbox, tmp_path, "promotional_credit")
    [credit] = month.world.chargebee.promotional_credits.rows()
    month.delete_bill()
    month.lose()
    report = rebuild_ledger.fn()
    assert "credit" not in report.taken_over
    assert [one for one in report.questions if str(credit["id"]) in one]
