"""What metered items come to: usages of a term gathered into lines of the invoice that ends it."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from meterbridge.sandbox.chargebee.invoice_rows import LineDraft, line_row, with_totals
from meterbridge.sandbox.table import Row

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World


def metered_item(world: World, price_id: str) -> Row | None:
    """The metered item of an item price, None for any other: the price itself does not say."""
    price = world.chargebee.item_prices.get(price_id)
    item = world.chargebee.items.get(price["item_id"]) if price else None
    return item if item is not None and item.get("metered") else None


def bill_term(world: World, invoice: Row, subscription_id: str, start: int, end: int) -> Row:
    """The invoice ends a term from `start` to `end` (epoch seconds, half-open): it gathers that term's usages."""
    world.chargebee.metered_terms.setdefault(invoice["id"], {})[subscription_id] = (start, end)
    return gather(world, invoice)


def gather(world: World, invoice: Row) -> Row:
    """Bring the invoice's metered lines up to date, and link the usages that are in them."""
    state = world.chargebee
    terms = state.metered_terms.get(invoice["id"], {})
    changed = invoice
    for subscription_id, (start, end) in terms.items():
        for price_id in sorted(state.ever_held.get(subscription_id, ())):
            item = metered_item(world, price_id)
            if item is not None:
                changed = _line(world, changed, item, (subscription_id, price_id, start, end))
    return changed if changed is invoice else state.save(state.invoices, with_totals(changed))


def unlink(world: World, invoice_id: str) -> None:
    """A voided invoice lets its usages go."""
    state = world.chargebee
    for usage in state.usages.find("invoice_id", invoice_id):
        state.save(state.usages, usage | {"invoice_id": None, "line_item_id": None})


def _line(world: World, invoice: Row, item: Row, place: tuple[str, str, int, int]) -> Row:
    subscription_id, price_id, start, end = place
    state = world.chargebee
    usages = [
        usage
        for usage in state.usages.find("subscription_id", subscription_id)
        if usage["item_price_id"] == price_id
        and start <= usage["usage_date"] < end
        and usage.get("invoice_id") in (None, invoice["id"])
    ]
    if not usages:
        return invoice
    quantity = _quantity(item, usages)
    line = _row(world, invoice, place, quantity)
    others = [each for each in invoice["line_items"] if each["id"] != line["id"]]
    for usage in usages:
        if usage.get("invoice_id") is None:
            state.save(state.usages, usage | {"invoice_id": invoice["id"], "line_item_id": line["id"]})
    return invoice | {"line_items": [*others, line]}


def _row(world: World, invoice: Row, place: tuple[str, str, int, int], quantity: Decimal) -> Row:
    subscription_id, price_id, start, end = place
    price = world.chargebee.item_prices.get(price_id) or {}
    draft = LineDraft(
        entity_type=f"{price['item_type']}_item_price",
        entity_id=price_id,
        description=str(price["external_name"]),
        unit_amount=price["price"],
        date_from=start,
        date_to=end,
        subscription_id=subscription_id,
        pricing_model=price.get("pricing_model"),
    )
    there = [
        each["id"]
        for each in invoice["line_items"]
        if each["metered"]
        and (each["subscription_id"], each["entity_id"], each["date_from"]) == (subscription_id, price_id, start)
    ]
    row = line_row(world, invoice["id"], invoice["customer_id"], draft)
    amount = int((quantity * price["price"]).quantize(Decimal(1), ROUND_HALF_UP))
    row |= {"metered": True, "quantity": int(quantity), "amount": amount}
    if quantity != int(quantity):
        row["quantity_in_decimal"] = f"{quantity:f}"
    return row | ({"id": there[0]} if there else {})


def _quantity(item: Row, usages: list[Row]) -> Decimal:
    values = [Decimal(usage["quantity"]) for usage in sorted(usages, key=lambda usage: usage["usage_date"])]
    match item.get("usage_calculation", "sum_of_usages"):
        case "last_usage":
            return values[-1]
        case "max_usage":
            return max(values)
    return sum(values, Decimal(0))
