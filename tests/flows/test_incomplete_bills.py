"""A bill that m3ter tells of without what a rule needs is set aside by name; the others are charged."""

import pytest

from flows.reconcile import reconcile
from flows.shadow_bills import shadow_bills
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from meterbridge.errors import RetriableError
from meterbridge.ledger import watermarks
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.settings import load_settings
from tasks.services import open_ledger


@pytest.fixture
def sandbox(open_sandbox):
    """Three customers, three approved bills."""
    opened = open_sandbox("large", subscriptions=3)
    sync_subscriptions.fn()
    use_and_bill(opened.world)
    return opened


def lose(sandbox, field, record, path="/bills(/|$)"):
    sandbox.world.faults.add(
        [{"harm": "lose_field", "match": {"path": path}, "times": -1, "field": field, "record": record}]
    )


def set_aside(report):
    return [(row["code"], tuple(row["key"])) for row in report.quarantined]


@pytest.mark.parametrize("field", ["billDate", "status", "convertedSubtotal", "lineItemType"])
def test_an_incomplete_bill_is_set_aside_alone_and_charged_once_it_is_whole(sandbox, field):
    broken, *others = sandbox.world.m3ter.bills.rows()
    lose(sandbox, field, broken["id"])

    first = sync_bills.fn()
    again = sync_bills.fn()

    aside = [("MB-RECORD", (broken["id"],))]
    assert set_aside(first) == set_aside(again) == aside
    assert field in first.quarantined[0]["message"]
    lines = sum(len(bill["lineItems"]) for bill in others)
    assert (first.applied["charge.create"], again.applied) == (lines, {})
    assert [(row["why"], row["code"]) for row in reconcile.fn().explained] == [("quarantined", "MB-RECORD")]
    assert [row["code"] for row in shadow_bills.fn().unreadable] == ["MB-RECORD"]

    sandbox.world.faults.clear()
    whole = sync_bills.fn()
    assert (set_aside(whole), whole.applied["charge.create"]) == ([], len(broken["lineItems"]))


def test_a_bill_that_was_charged_and_comes_incomplete_keeps_its_charges(sandbox):
    broken, *_ = sandbox.world.m3ter.bills.rows()
    sync_bills.fn()
    lose(sandbox, "convertedSubtotal", broken["id"])
    with sandbox.world.lock:
        sandbox.world.m3ter.save(sandbox.world.m3ter.bills, broken | {"locked": True}, broken)

    report = sync_bills.fn()

    assert set_aside(report) == [("MB-RECORD", (broken["id"],))]
    assert report.applied == {}
    assert reconcile.fn().differences == 0


def test_a_listed_bill_without_an_id_stops_the_run_and_the_watermark(sandbox):
    broken, *_ = sandbox.world.m3ter.bills.rows()
    lose(sandbox, "id", broken["id"], path="/bills$")

    with pytest.raises(RetriableError, match="a bill has no id"):
        sync_bills.fn()

    ledger = open_ledger(load_settings())
    with ledger.read() as rx:
        assert watermarks.get(rx, "sync_bills") is None
    ledger.close()
