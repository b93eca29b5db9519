"""What of ours stands at Chargebee: lines on invoices and off them, and credits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from meterbridge.sandbox.table import Row
from meterbridge.sandbox.world import World
from tests.histories.people import BY_HAND

OURS = ("charge_item_price", "adhoc")
STANDING = ("pending", "posted", "payment_due", "not_paid", "paid")


@dataclass(frozen=True)
class Line:
    """One line of ours that counts, or an unbilled charge, which has its subscription's place for an invoice.

    ``customer_id`` is the customer whose subscription it is for, whoever pays.
    """

    invoice_id: str
    line_id: str
    customer_id: str
    subscription_id: str | None
    amount: int
    currency: str


def lines_of_ours(world: World) -> list[Line]:
    """Every charge that stands and that no person typed in."""
    lines = [
        _line(world, row["id"], line, row)
        for row in world.chargebee.invoices.rows()
        if row["status"] in STANDING and not row["deleted"]
        for line in row["line_items"]
        if line["entity_type"] in OURS and not line["description"].startswith(BY_HAND)
    ]
    waiting = (row for row in world.chargebee.unbilled_charges.rows() if not row["deleted"])
    return lines + [_line(world, f"unbilled:{row['subscription_id']}", row, row) for row in waiting]


def _line(world: World, place: str, line: Row, invoice: Row) -> Line:
    subscription = world.chargebee.subscriptions.get(line.get("subscription_id") or "") or invoice
    return Line(
        place,
        line["id"],
        subscription["customer_id"],
        line.get("subscription_id"),
        line["amount"],
        invoice["currency_code"],
    )


def credits_given(world: World) -> Iterator[tuple[str, int]]:
    """Ids and amounts of the credits that count and that no person gave."""
    for row in world.chargebee.credit_notes.rows():
        if not row["deleted"] and row["status"] != "voided" and row.get("customer_notes") != BY_HAND:
            yield row["id"], row["total"]
    for row in world.chargebee.promotional_credits.rows():
        yield row["id"], row["amount"]
