"""/invoices/{id}/…: lines of a pending invoice, added and taken away."""

from __future__ import annotations

from meterbridge.sandbox.chargebee.call import Call, invalid_state, not_found, refusal, wrong_value
from meterbridge.sandbox.chargebee.invoice_rows import LineDraft, line_row, with_totals
from meterbridge.sandbox.chargebee.invoices import add_comment, charge_item_price, pending_invoice
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()


@routes.post(
    "/invoices/{id}/add_charge",
    "amount",
    "description",
    "line_item[date_from]",
    "line_item[date_to]",
    "comment",
    "subscription_id",
)
def add_charge(call: Call, invoice_id: str) -> Row:
    amount = call.required_integer("amount", least=1)
    description = call.required("description", longest=250)
    date_from, date_to = call.period("line_item[date_from]", "line_item[date_to]")
    comment = call.text("comment", longest=300)
    invoice = pending_invoice(call, invoice_id)
    line = LineDraft(
        entity_type="adhoc",
        description=description,
        unit_amount=amount,
        date_from=invoice["date"] if date_from is None else date_from,
        date_to=invoice["date"] if date_to is None else date_to,
        subscription_id=_subscription(call, invoice),
    )
    return _with_line(call, invoice, line, comment)


@routes.post(
    "/invoices/{id}/add_charge_item",
    "item_price[item_price_id]",
    "item_price[quantity]",
    "item_price[unit_price]",
    "item_price[date_from]",
    "item_price[date_to]",
    "comment",
    "subscription_id",
)
def add_charge_item(call: Call, invoice_id: str) -> Row:
    price_id = call.required("item_price[item_price_id]", longest=100)
    quantity = call.integer("item_price[quantity]", least=1) or 1
    unit_price = call.integer("item_price[unit_price]", least=0)
    date_from, date_to = call.period("item_price[date_from]", "item_price[date_to]")
    comment = call.text("comment", longest=300)
    invoice = pending_invoice(call, invoice_id)
    if not call.world.switches.metered_billing:
        raise refusal(400, "configuration_incompatible", "This API operation is not enabled for this site")
    price = charge_item_price(call, price_id, invoice["currency_code"])
    if unit_price is None or not call.world.switches.price_override:
        unit_price = price["price"]
    if unit_price == 0 and not call.world.switches.zero_price_charge_item:
        raise wrong_value("item_price[unit_price]", "should be greater than 0")
    line = LineDraft(
        entity_type="charge_item_price",
        entity_id=price_id,
        description=price["external_name"],
        unit_amount=unit_price,
        quantity=quantity,
        date_from=invoice["date"] if date_from is None else date_from,
        date_to=invoice["date"] if date_to is None else date_to,
        subscription_id=_subscription(call, invoice),
        pricing_model=price["pricing_model"],
    )
    return _with_line(call, invoice, line, comment)


@routes.post("/invoices/{id}/delete_line_items", "line_items[id][]")
def delete_line_items(call: Call, invoice_id: str) -> Row:
    wanted = [group.required("id", longest=40) for group in call.groups("line_items")]
    if not wanted:
        raise wrong_value("line_items[id]", "cannot be blank")
    invoice = pending_invoice(call, invoice_id)
    there = {line["id"] for line in invoice["line_items"]}
    for line_id in wanted:
        if line_id not in there:
            raise not_found("line_items[id]", line_id)
    left = [line for line in invoice["line_items"] if line["id"] not in wanted]
    return _changed(call, invoice, left)


def _subscription(call: Call, invoice: Row) -> str | None:
    """The line's subscription: the one named, else the invoice's own."""
    named = call.text("subscription_id", longest=50)
    own = invoice.get("subscription_id")
    if named is None:
        return own
    subscription = call.existing(call.state.subscriptions, named, "subscription_id")
    if own is not None and named != own:
        raise wrong_value("subscription_id", f"the invoice belongs to {own}")
    if subscription["customer_id"] != invoice["customer_id"] and not _pays_for(call, subscription, invoice):
        raise invalid_state(f"{named} belongs to another customer")
    return named


def _pays_for(call: Call, subscription: Row, invoice: Row) -> bool:
    owner = call.state.customers.get(subscription["customer_id"]) or {}
    return bool(owner.get("relationship", {}).get("invoice_owner_id") == invoice["customer_id"])


def _with_line(call: Call, invoice: Row, line: LineDraft, comment: str | None) -> Row:
    row = line_row(call.world, invoice["id"], invoice["customer_id"], line)
    add_comment(call, invoice["id"], comment)
    return _changed(call, invoice, [*invoice["line_items"], row])


def _changed(call: Call, invoice: Row, lines: list[Row]) -> Row:
    row = call.state.save(call.state.invoices, with_totals(invoice | {"line_items": lines}))
    call.state.emit("pending_invoice_updated", {"invoice": row})
    return {"invoice": row}
