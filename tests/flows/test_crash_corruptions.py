"""What else is wrong while a run is harmed: a site that books wrongly, people who type, storms, two runs at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meterbridge.errors import RetriableError
from meterbridge.ledger import intents
from meterbridge.settings import load_settings
from tasks.services import open_ledger
from tests.flows import crash_rig
from tests.flows.billed_month import BilledMonth
from tests.flows.conftest import OpenSandbox
from tests.flows.crash_worlds import repeat_a_line
from tests.flows.test_crash_matrix import crew, told

HALF_AN_HOUR = 1860
CALLS = 3400
"""What the bill of the scenario charges for API calls, in cents; the draft's item price for it is api-usage-EUR."""


def fail_writes(month: BilledMonth, harm: str, path: str = "/add_charge_item", **more: Any) -> None:
    """Every try of a write to this path ends like that; the run gives up."""
    match = {"path": path, "method": "POST", **more}
    month.world.faults.add([{"match": match, "harm": harm, "times": -1, "retry_after": 0}])
    with pytest.raises(RetriableError):
        month.charge()
    month.world.faults.clear()


def calls(month: BilledMonth) -> list[dict[str, Any]]:
    """The draft's lines for API calls."""
    return [line for line in month.draft["line_items"] if line.get("entity_id") == "api-usage-EUR"]


def codes(report: Any) -> list[str]:
    """Codes of what a run set aside."""
    return sorted(row["code"] for row in report.quarantined)


def still_open() -> list[str]:
    """States of intents that nobody has concluded."""
    ledger = open_ledger(load_settings())
    try:
        with ledger.read() as rx:
            return [row.state for row in intents.open_rows(rx)]
    finally:
        ledger.close()


def test_every_corruption_has_a_case() -> None:
    for name in crash_rig.entries("corruptions"):
        case = "test_" + name.replace("-", "_")
        assert isinstance(globals().get(case), Callable), f"no {case}"  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", [False, True], ids=["", "and-the-removal-gets-no-answer"])
def test_price_override_is_ignored(open_sandbox: OpenSandbox, lost: bool) -> None:
    month = BilledMonth(open_sandbox, charge=False)
    month.world.switches.update({"price_override": False})
    if lost:
        fail_writes(month, "commit_then_drop", "/delete_line_items")
    report = month.charge()
    assert codes(report).count("MB-CHARGE-WRONG") == 1
    assert calls(month) == []
    month.world.log.clear()
    assert codes(month.charge()).count("MB-CHARGE-WRONG") == 1
    assert month.writes() == []
    assert still_open() == []


def test_one_of_two_equal_lines_landed(open_sandbox: OpenSandbox) -> None:
    month = BilledMonth(open_sandbox, charge=False)
    repeat_a_line(month.world, "cust-single")
    fail_writes(month, "commit_then_drop")
    assert [line["amount"] for line in calls(month)] == [CALLS]
    month.world.advance(HALF_AN_HOUR)
    assert codes(month.charge()) == []
    assert [line["amount"] for line in calls(month)] == [CALLS, CALLS]
    assert sum(month.ours()) == month.total()
    assert still_open() == []


def type_a_line(month: BilledMonth) -> None:
    """A person adds a line that equals ours in item price, dates, subscription and amount."""
    state, invoice = month.world.chargebee, month.draft
    bill = month.bill
    ours = {
        "id": "li_typed_by_a_person",
        "object": "line_item",
        "subscription_id": invoice["subscription_id"],
        "customer_id": invoice["customer_id"],
        "entity_type": "charge_item_price",
        "entity_id": "api-usage-EUR",
        "description": "API calls",
        "date_from": 1772323200,
        "date_to": 1775001599,
        "unit_amount": CALLS,
        "quantity": 1,
        "amount": CALLS,
    }
    assert (bill["startDate"], bill["endDate"]) == ("2026-03-01", "2026-04-01")
    with month.world.lock:
        state.save(state.invoices, {**invoice, "line_items": [*invoice["line_items"], ours]})


def test_a_person_types_an_equal_line(open_sandbox: OpenSandbox) -> None:
    month = BilledMonth(open_sandbox, charge=False)
    fail_writes(month, "commit_then_drop")
    type_a_line(month)
    month.world.advance(HALF_AN_HOUR)
    month.world.log.clear()
    report = month.charge()
    assert "MB-DOUBLE-CHARGE" in codes(report)
    assert len(calls(month)) == 2
    assert month.writes() == []


def test_a_503_storm_after_a_landed_write(open_sandbox: OpenSandbox) -> None:
    month = BilledMonth(open_sandbox, charge=False)
    fail_writes(month, "commit_then_drop")
    month.world.advance(600)
    fail_writes(month, "status_503")
    assert "unknown" in still_open()
    month.world.advance(HALF_AN_HOUR)
    assert codes(month.charge()) == []
    assert [line["amount"] for line in calls(month)] == [CALLS]
    assert sum(month.ours()) == month.total()
    assert still_open() == []


@pytest.mark.slow
@pytest.mark.parametrize("state", ["new-customer", "bill-approved", "two-equal-lines"])
def test_two_runs_start_at_once(state: str) -> None:
    with crew(1) as (workers, databases):
        crash_rig.points(workers, [state])
        both = {"state": state, "harm": "two runs at once", "story": "together", "at": 0}
        answers = crash_rig.play(workers, [{**both, "database": one} for one in databases for _ in range(3)])
    bad = [one for one in answers if one.problems]
    assert not bad, told(bad)
