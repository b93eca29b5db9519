"""What must hold after each settle, read off the sandbox's own books, the ledger and the last run's report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from meterbridge.sandbox.world import World
from tests.histories import per_bill
from tests.histories.bridge import Bridge
from tests.histories.known import Known, known
from tests.histories.life import HEIR, PAYER
from tests.histories.lines import credits_given, lines_of_ours


def complaints(bridge: Bridge, report: Any) -> Iterator[str]:
    """What is wrong after a run of ``sync_bills`` that wrote nothing; ``report`` is that run's."""
    says = known(bridge)
    yield from (f"still open: {row.state} {row.kind} {row.key}" for row in says.open)
    yield from _twice(bridge.world, says)
    yield from per_bill.complaints(per_bill.accounts(bridge.world, says, report).values())


def _twice(world: World, known: Known) -> Iterator[str]:
    """Each line of ours belongs to one charge of the ledger, of a bill of the same customer, and so do our credits."""
    owners = Counter((row.state["invoice_id"], row.remote_id) for row in known.charges if row.remote_id)
    codes = {row["id"]: row["accountCode"] for row in world.m3ter.bills.rows()}
    held = {row.remote_id: row for row in known.charges}
    for line in lines_of_ours(world):
        place = (line.invoice_id, line.line_id)
        if owners[place] == 0:
            yield f"nobody's line: {line}"
            continue
        if owners[place] > 1 and not all(
            row.state.get("carried") for row in known.charges if row.remote_id == place[1]
        ):
            claims = [(row.key, row.state["amount"]) for row in known.charges if row.remote_id == place[1]]
            yield f"one line, {len(claims)} charges: {line} {claims}"
        state = held[line.line_id].state
        code = codes.get(state["bill_id"], line.customer_id)
        customer = code.split("~")[0].removesuffix(PAYER).removesuffix(HEIR)
        if (customer, state["currency"]) != (line.customer_id.removesuffix(HEIR), line.currency):
            yield f"a line for a bill of {code} in {state['currency']}: {line}"
    given = {row.remote_id for row in known.credits}
    yield from (f"nobody's credit: {name} {amount}" for name, amount in credits_given(world) if name not in given)


def bridge_counts(bridge: Bridge) -> dict[str, int]:
    """What must not grow when the bridge forgets everything."""
    m3ter = bridge.world.m3ter
    external = {
        row["m3terId"]: row["externalId"] for row in m3ter.mappings.rows() if row["m3terEntity"] == "AccountPlan"
    }
    intervals = [
        (external[plan["id"]], plan["startDate"][:10])
        for plan in m3ter.account_plans.rows()
        if plan["id"] in external and not plan.get("endDate")
    ]
    names = ("m3terEntity", "m3terId", "externalSystem", "externalTable")
    # A bill may stand on several invoices, anything else in one place.
    places = [
        (*(row[name] for name in names), row["externalId"] if row["m3terEntity"] == "Bill" else "")
        for row in m3ter.mappings.rows()
    ]
    return {
        "minor units charged": sum(line.amount for line in lines_of_ours(bridge.world)),
        "accounts": len(m3ter.accounts),
        "open account plans of an item that has one": len(intervals) - len({name for name, _ in intervals}),
        "mappings that repeat another one": len(places) - len(set(places)),
    }
