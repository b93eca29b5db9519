"""The small worlds of the crash matrix, and what happens in them before the run that is harmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from meterbridge.sandbox.chargebee.invoice_rows import close_draft
from meterbridge.sandbox.clock import epoch, rfc3339
from meterbridge.sandbox.scenarios import build
from meterbridge.sandbox.scenarios.chargebee_seed import (
    SubscriptionSeed,
    put_customer,
    put_item,
    put_price,
    put_subscription,
)
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.world import World

JANUARY = epoch(2026, 1, 1)
API = "api-pro-EUR-Monthly"


def pair() -> World:
    """Two customers side by side, one with two products."""
    world = build("empty")
    put_customer(world, "cust-left", "Left Ltd", "EUR")
    put_subscription(world, SubscriptionSeed("sub-left", "cust-left", (API,), JANUARY))
    put_customer(world, "cust-right", "Right Ltd", "EUR")
    put_subscription(world, SubscriptionSeed("sub-right", "cust-right", (API, "storage-EUR-Monthly"), JANUARY))
    return world


def metered() -> World:
    """Two subscriptions of a customer, each with two metered items."""
    world = build("empty")
    put_metered(world, {"calls-EUR-Monthly": "sum_of_usages", "seats-EUR-Monthly": "last_usage"})
    return world


def put_metered(world: World, calculations: Mapping[str, str]) -> None:
    """Two subscriptions of a customer with these metered items: item price to how its usage is counted."""
    with world.clock.held(epoch(2026, 3, 16, 12) * 1000):
        for price, calculation in calculations.items():
            item = price.partition("-")[0]
            put_item(world, item, "addon", item.title(), calculation=calculation)
            put_price(world, price, item, "EUR", 7, unit="month")
        put_customer(world, "cust", "Metered Ltd", "EUR")
        for subscription in ("sub-a", "sub-b"):
            put_subscription(world, SubscriptionSeed(subscription, "cust", (API, *calculations), JANUARY))


def bill_of(world: World, customer_id: str) -> Row:
    """The customer's one bill."""
    (bill,) = [row for row in world.m3ter.bills.rows() if row["accountCode"] == customer_id]
    return bill


def repeat_a_line(world: World, customer_id: str = "cust-left") -> None:
    """The customer's bill gets its first line twice: same charge item price, same dates, same amount."""
    bill = bill_of(world, customer_id)
    at = next(n for n, line in enumerate(bill["lineItems"]) if line["lineItemType"] == "USAGE")
    # Whole cents, so that rounding does not tell the two apart.
    first = {**bill["lineItems"][at], "convertedSubtotal": Decimal("34.00")}
    again = {
        **first,
        "id": world.m3ter.ids.uuid("repeated", first["id"]),
        "sequenceNumber": 1 + max(line["sequenceNumber"] for line in bill["lineItems"]),
    }
    lines = [*bill["lineItems"][:at], first, *bill["lineItems"][at + 1 :], again]
    total = sum(line["convertedSubtotal"] for line in lines)
    world.m3ter.bills.put(bill["id"], {**bill, "lineItems": lines, "billTotal": total}, world.clock.now_ms())


def odd_cents(world: World) -> None:
    """The bill's two lines are 10.335 each: 20.67 together, but 20.68 when each is rounded by itself."""
    (bill,) = world.m3ter.bills.rows()
    lines = [{**line, "convertedSubtotal": Decimal("10.335")} for line in bill["lineItems"]]
    total = sum(line["convertedSubtotal"] for line in lines)
    world.m3ter.bills.put(bill["id"], {**bill, "lineItems": lines, "billTotal": total}, world.clock.now_ms())


def recalculate(world: World) -> None:
    """m3ter calculates every bill again: amounts are the same, lines have other ids."""
    for bill in list(world.m3ter.bills.rows()):
        lines = [{**line, "id": world.m3ter.ids.uuid("recalculated", line["id"])} for line in bill["lineItems"]]
        changed = {
            "lineItems": lines,
            "version": bill["version"] + 1,
            "lastCalculatedDate": rfc3339(world.clock.now_ms()),
        }
        world.m3ter.bills.put(bill["id"], {**bill, **changed}, world.clock.now_ms())


def raise_quantity(world: World) -> None:
    """The subscription changes materially: its account plan must end and a new one begin."""
    state = world.chargebee
    for row in list(state.subscriptions.rows()):
        items = [{**item, "quantity": 3} for item in row["subscription_items"]]
        changed = state.save(state.subscriptions, {**row, "subscription_items": items})
        customer = state.customers.get(row["customer_id"]) or {}
        state.emit("subscription_changed", {"subscription": changed, "customer": customer})


def cancel(world: World) -> None:
    """The subscription ends: its account plan must end with it."""
    state = world.chargebee
    for row in list(state.subscriptions.rows()):
        changed = state.save(
            state.subscriptions, {**row, "status": "cancelled", "cancelled_at": world.clock.now() - 3600}
        )
        customer = state.customers.get(row["customer_id"]) or {}
        state.emit("subscription_cancelled", {"subscription": changed, "customer": customer})


def an_hour_later(world: World) -> None:
    """Beyond the hold-back: the next incremental run sees what changed."""
    world.advance(3600)


def close_drafts(world: World) -> None:
    """Every draft becomes its final invoice."""
    for row in [row for row in world.chargebee.invoices.rows() if row["status"] == "pending"]:
        close_draft(world, row)


def no_draft_comes(world: World) -> None:
    """The subscription has ended and its draft has closed: no pending invoice will come for the bill."""
    state = world.chargebee
    for row in list(state.subscriptions.rows()):
        ended = {"status": "cancelled", "cancelled_at": world.clock.now(), "next_billing_at": None}
        state.save(state.subscriptions, row | ended)
    close_drafts(world)


def amounts(*euros: str) -> Callable[[World], None]:
    """m3ter calculates the one bill again, to these amounts."""

    def change(world: World) -> None:
        (bill,) = world.m3ter.bills.rows()
        lines = [
            {**line, "convertedSubtotal": Decimal(amount)}
            for line, amount in zip(bill["lineItems"], euros, strict=False)
        ]
        total = sum(line["convertedSubtotal"] for line in lines)
        now = {"version": bill["version"] + 1, "lastCalculatedDate": rfc3339(world.clock.now_ms())}
        world.m3ter.bills.put(bill["id"], {**bill, **now, "lineItems": lines, "billTotal": total}, world.clock.now_ms())

    return change
