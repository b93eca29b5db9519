"""What must hold after each settle, read off the sandbox's own books, the ledger and the last run's report.

The sums are worked out here once more, from the vendors' rows alone: no rule of the product is asked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from meterbridge.ledger import bills, intents, mappings
from meterbridge.sandbox.clock import parse_rfc3339
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.world import World
from tests.histories.bridge import Bridge
from tests.histories.people import BY_HAND

OURS = ("charge_item_price", "adhoc")
STANDING = ("pending", "posted", "payment_due", "not_paid", "paid")
TOO_MUCH = ("MB-BILL-UNAPPROVED", "MB-BILL-DELETED")
"""Set aside with what stands, not with what is lacking."""


@dataclass(frozen=True)
class Line:
    """One line of ours at Chargebee that counts."""

    invoice_id: str
    line_id: str
    customer_id: str
    subscription_id: str | None
    amount: int


def lines_of_ours(world: World) -> list[Line]:
    """Every charge that stands and that no person typed in."""
    return [
        Line(row["id"], line["id"], row["customer_id"], line.get("subscription_id"), line["amount"])
        for row in world.chargebee.invoices.rows()
        if row["status"] in STANDING and not row["deleted"]
        for line in row["line_items"]
        if line["entity_type"] in OURS and not line["description"].startswith(BY_HAND)
    ]


def minor(bill: Row) -> int:
    """A bill's total in the minor unit of its currency, half away from zero."""
    exact = sum((Decimal(str(line["convertedSubtotal"])) for line in bill["lineItems"]), Decimal(0))
    return int(exact.scaleb(0 if bill["currency"] == "JPY" else 2).quantize(Decimal(1), "ROUND_HALF_UP"))


def customer_of(code: str) -> str:
    """The customer whose account this is, a subscription's own account included."""
    return code.split("~")[0]


@dataclass(frozen=True)
class Ledgered:
    """What the ledger says."""

    charges: Sequence[mappings.Mapping]
    open: Sequence[str]
    portions: Sequence[bills.Portion]
    states: Sequence[bills.BillState]


def ledgered(bridge: Bridge) -> Ledgered:
    """Read it."""
    with bridge.ledger() as ledger, ledger.read() as rx:
        return Ledgered(
            list(mappings.all(rx, "charge", active_only=True)),
            [f"{row.state} {row.kind} {row.key}" for row in intents.open_rows(rx)],
            bills.portions(rx),
            bills.all(rx),
        )


def complaints(bridge: Bridge, report: Any) -> Iterator[str]:
    """What is wrong after a run of ``sync_bills`` that wrote nothing; ``report`` is that run's."""
    known = ledgered(bridge)
    yield from (f"still open: {one}" for one in known.open)
    yield from _twice(bridge.world, known)
    yield from _sums(bridge.world, known, report)


def _twice(world: World, known: Ledgered) -> Iterator[str]:
    """Each line of ours belongs to one charge of the ledger, and each charge's line is where the ledger says."""
    standing = {(one.invoice_id, one.line_id): one for one in lines_of_ours(world)}
    owners = Counter((row.state["invoice_id"], row.remote_id) for row in known.charges if row.remote_id)
    for place, line in standing.items():
        if owners[place] == 0:
            yield f"nobody's line: {line}"
        elif owners[place] > 1 and not all(
            row.state.get("carried") for row in known.charges if row.remote_id == place[1]
        ):
            claims = [(row.key, row.state["amount"]) for row in known.charges if row.remote_id == place[1]]
            yield f"one line, {len(claims)} charges: {line} {claims}"


def _sums(world: World, known: Ledgered, report: Any) -> Iterator[str]:
    """Per customer and currency: what stands is what the bills want, less what is set aside, waiting or too much."""
    wanted: dict[tuple[str, str], int] = defaultdict(int)
    told: dict[tuple[str, str], list[str]] = defaultdict(list)
    asides = [*report.quarantined, *report.waiting]
    whole = {row["key"][0] for row in asides if len(row["key"]) == 1}
    lost = {row["key"][0] for row in asides if row.get("code") == "MB-DRAFT-LOST"}
    by_id = {row["id"]: row for row in world.m3ter.bills.rows()}
    owner = {state.bill_id: state.account_id for state in known.states}
    codes = {row["id"]: row["code"] for row in world.m3ter.accounts.rows()}
    places: dict[str, tuple[str, str]] = {}
    for bill in by_id.values():
        place = places[bill["id"]] = (customer_of(bill["accountCode"]), bill["currency"])
        if bill["status"] == "APPROVED" and bill["id"] not in whole:
            wanted[place] += minor(bill)
            told[place].append(f"bill {bill['id']} {bill['startDate']} wants {minor(bill)}")
    for row in asides:
        bill_id = row["key"][0]
        if row.get("kind", "charge") != "charge" or bill_id in whole or row.get("amount") is None:
            continue
        code = codes.get(owner.get(bill_id, ""), "")
        place = places.get(bill_id) or (customer_of(code), row["currency"])
        sign = 1 if row.get("code") in TOO_MUCH or by_id.get(bill_id, {}).get("status") != "APPROVED" else -1
        wanted[place] += sign * row["amount"]
        told[place].append(f"{'+' if sign > 0 else '-'} {row['amount']} {row.get('code', 'waiting')} {row['key']}")
    stands: dict[tuple[str, str], int] = defaultdict(int)
    held = {(row.state["invoice_id"], row.remote_id): row for row in known.charges}
    currencies = {row["id"]: row["currency_code"] for row in world.chargebee.invoices.rows()}
    for line in lines_of_ours(world):
        charge = held.get((line.invoice_id, line.line_id))
        if charge is not None and charge.state["bill_id"] in whole:
            continue
        place = (line.customer_id, currencies[line.invoice_id])
        stands[place] += line.amount
        told[place].append(f"line {line.line_id} on {line.invoice_id} {line.amount} {charge and charge.key[:2]}")
    for row in known.charges:
        bill_id, amount = row.state["bill_id"], row.state["amount"]
        if row.state.get("gone_since") and bill_id in places and bill_id not in whole and not lost & {bill_id}:
            stands[places[bill_id]] += amount
            told[places[bill_id]].append(f"in transit {row.state['invoice_id']} {amount} {row.key[:2]}")
    for credit, place in _credits(world):
        stands[place] -= credit
        told[place].append(f"credit {credit}")
    for place in sorted({*wanted, *stands}):
        if wanted[place] != stands[place]:
            yield f"{place}: {stands[place]} stand, {wanted[place]} should:\n      " + "\n      ".join(
                sorted(told[place])
            )


def _credits(world: World) -> Iterator[tuple[int, tuple[str, str]]]:
    """Credits given; nobody but us gives any in a history."""
    for row in world.chargebee.credit_notes.rows():
        if not row["deleted"] and row["status"] != "voided":
            yield row["total"], (row["customer_id"], row["currency_code"])
    for row in world.chargebee.promotional_credits.rows():
        yield row["amount"], (row["customer_id"], row["currency_code"])


def plan_complaints(world: World, report: Any) -> Iterator[str]:
    """No overlap of a product on an account, and what runs in m3ter is what lives at Chargebee."""
    aside = {name for row in report.quarantined for name in row["key"]}
    plans = list(world.m3ter.account_plans.rows())
    yield from _overlaps(plans)
    mapped = defaultdict(list)
    external = {
        row["m3terId"]: row["externalId"] for row in world.m3ter.mappings.rows() if row["m3terEntity"] == "AccountPlan"
    }
    for plan in plans:
        if plan["id"] in external:
            mapped[external[plan["id"]]].append(plan)
    for subscription in world.chargebee.subscriptions.rows():
        for item in subscription["subscription_items"]:
            name = f"{subscription['id']}-{item['item_price_id']}"
            if {subscription["id"], name, subscription["customer_id"]} & aside:
                continue
            yield from _against(subscription, name, mapped.get(name, []))


def _against(subscription: Row, name: str, plans: list[Row]) -> Iterator[str]:
    last = max(plans, key=lambda plan: plan["startDate"], default=None)
    end = last and last.get("endDate")
    status = subscription["status"]
    if status == "active" and not subscription["deleted"]:
        if last is None:
            yield f"{name} is active, no account plan"
        elif end:
            yield f"{name} is active, its account plan ends {end}"
        return
    if last is None or status == "future":
        return
    wanted = subscription.get("cancelled_at")
    if wanted is not None and not end:
        yield f"{name} is {status} at {wanted}, its account plan is open"
    elif wanted is not None and end and not subscription["deleted"] and _epoch(end) > wanted:
        yield f"{name} is {status} at {wanted}, its account plan ends later, {end}"


def _overlaps(plans: list[Row]) -> Iterator[str]:
    by_place = defaultdict(list)
    for plan in plans:
        by_place[plan["accountId"], plan.get("productId")].append(plan)
    for place, rows in by_place.items():
        rows.sort(key=lambda row: row["startDate"])
        for before, after in pairwise(rows):
            if not before.get("endDate") or before["endDate"] > after["startDate"]:
                yield f"two account plans overlap on {place}: {before['code']} and {after['code']}"


def _epoch(text: str) -> int:
    return parse_rfc3339(text) // 1000


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
    places = [
        tuple(row[name] for name in ("m3terEntity", "m3terId", "externalSystem", "externalTable"))
        for row in m3ter.mappings.rows()
    ]
    return {
        "minor units charged": sum(line.amount for line in lines_of_ours(bridge.world)),
        "accounts": len(m3ter.accounts),
        "open account plans of an item that has one": len(intervals) - len({name for name, _ in intervals}),
        "mappings that repeat another one": len(places) - len(set(places)),
    }
