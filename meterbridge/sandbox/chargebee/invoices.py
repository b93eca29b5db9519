"""/invoices: reads, closing, deleting, voiding."""

from __future__ import annotations

from meterbridge.sandbox.chargebee.call import Call, invalid_state, not_found, refusal, wrong_value
from meterbridge.sandbox.chargebee.invoice_rows import InvoiceDraft, LineDraft, close_draft, new_invoice
from meterbridge.sandbox.chargebee.lists import Listing
from meterbridge.sandbox.chargebee.metered import gather, unlink
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()

INVOICES = Listing(
    table=lambda call: call.state.invoices,
    wrap=lambda _call, row: {"invoice": row},
    filters={
        "id": "string",
        "subscription_id": "string",
        "customer_id": "string",
        "status": "enum",
        "recurring": "boolean",
        "price_type": "enum",
        "currency_code": "string",
        "date": "timestamp",
        "paid_at": "timestamp",
        "voided_at": "timestamp",
        "updated_at": "timestamp",
        "total": "number",
        "amount_due": "number",
    },
    sorts=("date", "updated_at"),
    default_sort="date",
    include_deleted=True,
)
routes.add("GET", "/invoices", INVOICES.known(), None, INVOICES)

_VOIDABLE = ("payment_due", "posted", "not_paid")


@routes.get("/invoices/{id}")
def retrieve(call: Call, invoice_id: str) -> Row:
    row = call.state.invoices.get(invoice_id)
    if row is None and call.world.switches.draft_after_close == "readable":
        row = call.state.closed_drafts.get(invoice_id)
    if row is None or row["deleted"]:
        raise not_found("invoice_id", invoice_id)
    return {"invoice": row}


def pending_invoice(call: Call, invoice_id: str) -> Row:
    """The draft, or the vendor's refusal: 404 for an id that was replaced, 409 for a closed invoice."""
    row = call.existing(call.state.invoices, invoice_id, "invoice_id")
    if row["status"] != "pending":
        message = f"the invoice {invoice_id} is {row['status']}, it should be pending"
        if call.world.switches.closed_invoice_write_status == 400:
            raise refusal(400, "invalid_request", message, legacy="operation_not_supported")
        raise invalid_state(message)
    return row


@routes.post("/invoices/{id}/close", "comment", "invoice_note", "remove_general_note", "invoice_date")
def close(call: Call, invoice_id: str) -> Row:
    draft = gather(call.world, pending_invoice(call, invoice_id))
    if not draft["line_items"]:
        raise refusal(400, "invalid_request", f"{invoice_id} has no line items; delete it instead")
    wanted = call.integer("invoice_date")
    if wanted is not None and call.world.switches.invoice_date_on_close == "keep":
        raise wrong_value("invoice_date", "is not allowed by the site's settings")
    add_comment(call, invoice_id, call.text("comment", longest=300))
    return {"invoice": close_draft(call.world, draft)}


@routes.post("/invoices/{id}/void", "comment", "void_reason_code")
def void(call: Call, invoice_id: str) -> Row:
    row = call.existing(call.state.invoices, invoice_id, "invoice_id")
    if row["status"] not in _VOIDABLE or row["amount_paid"] or row["amount_adjusted"]:
        raise invalid_state(f"the invoice {invoice_id} is {row['status']} and cannot be voided")
    add_comment(call, invoice_id, call.text("comment", longest=300))
    voided = {"status": "voided", "voided_at": call.state.clock.now(), "amount_due": 0, "amount_to_collect": 0}
    row = call.state.save(
        call.state.invoices, row | voided | {"void_reason_code": call.text("void_reason_code", longest=100)}
    )
    unlink(call.world, invoice_id)
    call.state.emit("invoice_updated", {"invoice": row})
    return {"invoice": row}


@routes.post("/invoices/{id}/sync_usages")
def sync_usages(call: Call, invoice_id: str) -> Row:
    row = gather(call.world, pending_invoice(call, invoice_id))
    call.state.emit("pending_invoice_updated", {"invoice": row})
    return {"invoice": row}


@routes.post("/invoices/{id}/delete", "comment")
def delete(call: Call, invoice_id: str) -> Row:
    row = call.existing(call.state.invoices, invoice_id, "invoice_id")
    if row["amount_paid"]:
        raise invalid_state(f"the invoice {invoice_id} has payments")
    # The vendor keeps this comment with the subscription, since the invoice is going away.
    add_comment(call, row.get("subscription_id"), call.text("comment", longest=300), "subscription")
    for usage in call.state.usages.find("invoice_id", invoice_id):
        call.state.usages.remove(usage["id"], call.state.clock.now_ms())
    row = call.state.save(call.state.invoices, row | {"deleted": True})
    call.state.emit("invoice_deleted", {"invoice": row})
    return {"invoice": row}


def add_comment(call: Call, entity_id: str | None, notes: str | None, entity_type: str = "invoice") -> None:
    if notes is None or entity_id is None:
        return
    comment: Row = {
        "id": call.state.ids.short("cmt_", entity_type, entity_id, notes),
        "object": "comment",
        "entity_type": entity_type,
        "entity_id": entity_id,
        "notes": notes,
        "added_by": "full_access_key",
        "type": "user",
        "created_at": call.state.clock.now(),
    }
    call.state.comments.put(comment["id"], comment, call.state.clock.now_ms())


@routes.post(
    "/invoices/create_for_charge_items_and_charges",
    "subscription_id",
    "customer_id",
    "currency_code",
    "po_number",
    "invoice_date",
    "invoice_note",
    "auto_collection",
    "create_pending_invoice",
    *(f"charges[{name}][]" for name in ("amount", "description", "entity_description", "date_from", "date_to")),
    *(
        f"item_prices[{name}][]"
        for name in ("item_price_id", "quantity", "unit_price", "date_from", "date_to", "description")
    ),
)
def create_for_charge_items_and_charges(call: Call) -> Row:
    subscription, customer = _owner(call)
    own = (subscription or {}).get("currency_code") or customer.get("preferred_currency_code", "USD")
    currency = call.text("currency_code", longest=3) or str(own)
    if subscription is not None and currency != subscription["currency_code"]:
        raise currency_mismatched(subscription["currency_code"], "currency_code")
    subscription_id = subscription["id"] if subscription else None
    lines = [_charge(call, group, subscription_id) for group in call.groups("charges")]
    lines += [_item(call, group, subscription_id, currency) for group in call.groups("item_prices")]
    if not lines:
        raise refusal(400, "invalid_request", "at least one charge or item price is needed", param="charges")
    draft = InvoiceDraft(
        customer=customer,
        currency_code=currency,
        date=call.integer("invoice_date") or call.state.clock.now(),
        lines=lines,
        pending=_stays_pending(call),
        subscription_id=subscription_id,
        recurring=False,
        po_number=call.text("po_number", longest=100),
    )
    return {"invoice": new_invoice(call.world, draft)}


def _stays_pending(call: Call) -> bool:
    switches = call.world.switches
    return bool(call.boolean("create_pending_invoice")) and switches.metered_billing and not switches.card_declined


def _owner(call: Call) -> tuple[Row | None, Row]:
    subscription_id, customer_id = call.text("subscription_id"), call.text("customer_id")
    if (subscription_id is None) == (customer_id is None):
        raise refusal(400, "invalid_request", "either subscription_id or customer_id is needed", param="customer_id")
    if subscription_id is not None:
        subscription = call.existing(call.state.subscriptions, subscription_id, "subscription_id")
        return subscription, call.existing(call.state.customers, subscription["customer_id"], "customer_id")
    return None, call.existing(call.state.customers, customer_id or "", "customer_id")


def _charge(call: Call, group: Call, subscription_id: str | None) -> LineDraft:
    amount = group.required_integer("amount", least=1)
    date_from, date_to = group.period("date_from", "date_to")
    now = call.state.clock.now()
    return LineDraft(
        entity_type="adhoc",
        description=group.required("description", longest=250),
        entity_description=group.text("entity_description", longest=500),
        unit_amount=amount,
        date_from=now if date_from is None else date_from,
        date_to=now if date_to is None else date_to,
        subscription_id=subscription_id,
    )


def _item(call: Call, group: Call, subscription_id: str | None, currency: str) -> LineDraft:
    price = charge_item_price(call, group.required("item_price_id", longest=100), currency)
    date_from, date_to = group.period("date_from", "date_to")
    now = call.state.clock.now()
    return LineDraft(
        entity_type="charge_item_price",
        entity_id=price["id"],
        description=group.text("description", longest=250) or price["external_name"],
        unit_amount=item_amount(call, price, group.integer("unit_price", least=0)),
        quantity=group.integer("quantity", least=1) or 1,
        date_from=now if date_from is None else date_from,
        date_to=now if date_to is None else date_to,
        subscription_id=subscription_id,
        pricing_model=price["pricing_model"],
    )


def charge_item_price(call: Call, price_id: str, currency: str) -> Row:
    """An active price of a charge item in this currency, or the refusal."""
    param = "item_price[item_price_id]"
    price = call.existing(call.state.item_prices, price_id, param)
    if price["item_type"] != "charge":
        raise wrong_value(param, f"{price_id} is not a charge item price")
    if price["status"] != "active":
        raise wrong_value(param, f"{price_id} is {price['status']}")
    if price["currency_code"] != currency:
        raise currency_mismatched(currency, param)
    return price


def item_amount(call: Call, price: Row, unit_price: int | None) -> int:
    """The price asked for where the site allows an override; else it is ignored without a word."""
    if unit_price is None or not call.world.switches.price_override:
        return int(price["price"])
    if unit_price == 0 and not call.world.switches.zero_price_charge_item:
        raise wrong_value("item_price[unit_price]", "should be greater than 0")
    return unit_price


def currency_mismatched(expected: str, param: str) -> Exception:
    message = f"currency of the item(s) is different from the expected value '{expected}'"
    return refusal(400, "invalid_request", message, param=param, legacy="currency_mismatched")
