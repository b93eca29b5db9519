"""/unbilled_charges, /credit_notes, /promotional_credits: money beside the pending invoice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterbridge.sandbox.chargebee.call import Call, invalid_state, refusal, wrong_value
from meterbridge.sandbox.chargebee.invoice_rows import InvoiceDraft, new_invoice, with_totals
from meterbridge.sandbox.chargebee.invoices import charge_item_price, currency_mismatched, item_amount
from meterbridge.sandbox.chargebee.lists import Listing
from meterbridge.sandbox.chargebee.renewals import take_up
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

routes = Routes()

UNBILLED_CHARGES = Listing(
    table=lambda call: call.state.unbilled_charges,
    wrap=lambda _call, row: {"unbilled_charge": row},
    filters={"subscription_id": "string", "customer_id": "string", "is_voided": "boolean"},
    include_deleted=True,
)
CREDIT_NOTES = Listing(
    table=lambda call: call.state.credit_notes,
    wrap=lambda _call, row: {"credit_note": row},
    filters={
        "id": "string",
        "customer_id": "string",
        "subscription_id": "string",
        "reference_invoice_id": "string",
        "type": "enum",
        "status": "enum",
        "date": "timestamp",
        "updated_at": "timestamp",
    },
    sorts=("date",),
    default_sort="date",
    include_deleted=True,
)
PROMOTIONAL_CREDITS = Listing(
    table=lambda call: call.state.promotional_credits,
    wrap=lambda _call, row: {"promotional_credit": row},
    filters={"id": "string", "customer_id": "string", "type": "enum", "created_at": "timestamp"},
)
routes.add("GET", "/unbilled_charges", UNBILLED_CHARGES.known(), None, UNBILLED_CHARGES)
routes.add("GET", "/credit_notes", CREDIT_NOTES.known(), None, CREDIT_NOTES)
routes.add("GET", "/promotional_credits", PROMOTIONAL_CREDITS.known(), None, PROMOTIONAL_CREDITS)


@routes.post(
    "/unbilled_charges",
    "subscription_id",
    "currency_code",
    *(f"charges[{name}][]" for name in ("amount", "description", "date_from", "date_to")),
    *(f"item_prices[{name}][]" for name in ("item_price_id", "quantity", "unit_price", "date_from", "date_to")),
)
def create_unbilled(call: Call) -> Row:
    subscription_id = call.required("subscription_id", longest=50)
    subscription = call.existing(call.state.subscriptions, subscription_id, "subscription_id")
    currency = call.text("currency_code", longest=3)
    if currency is not None and currency != subscription["currency_code"]:
        raise currency_mismatched(subscription["currency_code"], "currency_code")
    made = [_unbilled_charge(call, group, subscription) for group in call.groups("charges")]
    made += [_unbilled_item(call, group, subscription) for group in call.groups("item_prices")]
    if not made:
        raise refusal(400, "invalid_request", "at least one charge or item price is needed", param="charges")
    rows = [call.state.save(call.state.unbilled_charges, row) for row in made]
    call.state.emit("unbilled_charges_created", {"unbilled_charges": rows})
    return {"unbilled_charges": rows}


def _unbilled_charge(call: Call, group: Call, subscription: Row) -> Row:
    amount = group.required_integer("amount", least=1)
    own = {
        "entity_type": "adhoc",
        "description": group.required("description", longest=250),
        "unit_amount": amount,
        "quantity": 1,
    }
    return _unbilled(call, group, subscription, own)


def _unbilled_item(call: Call, group: Call, subscription: Row) -> Row:
    price = charge_item_price(call, group.required("item_price_id"), subscription["currency_code"])
    own = {
        "entity_type": "charge_item_price",
        "entity_id": price["id"],
        "description": price["external_name"],
        "unit_amount": item_amount(call, price, group.integer("unit_price", least=0)),
        "quantity": group.integer("quantity", least=1) or 1,
    }
    return _unbilled(call, group, subscription, own)


def _unbilled(call: Call, group: Call, subscription: Row, own: Row) -> Row:
    date_from, date_to = group.period("date_from", "date_to")
    now = call.state.clock.now()
    return own | {
        "id": call.state.ids.short("ub_", subscription["id"], own["description"], date_from),
        "object": "unbilled_charge",
        "customer_id": subscription["customer_id"],
        "subscription_id": subscription["id"],
        "currency_code": subscription["currency_code"],
        "date_from": now if date_from is None else date_from,
        "date_to": now if date_to is None else date_to,
        "amount": own["unit_amount"] * own["quantity"],
        "is_voided": False,
        "deleted": False,
    }


@routes.post("/unbilled_charges/{id}/delete")
def delete_unbilled(call: Call, charge_id: str) -> Row:
    status = call.world.switches.invoiced_charge_status
    if charge_id in call.state.invoiced_charges and status != 404:
        message = f"the unbilled charge {charge_id} is invoiced"
        raise invalid_state(message) if status == 409 else refusal(400, "invalid_request", message)
    before = call.existing(call.state.unbilled_charges, charge_id, "unbilled_charge_id")
    row = call.state.save(call.state.unbilled_charges, before | {"deleted": True})
    call.state.emit("unbilled_charges_deleted", {"unbilled_charge": row})
    return {"unbilled_charge": row}


@routes.post("/unbilled_charges/invoice_unbilled_charges", "subscription_id", "customer_id")
def invoice_unbilled(call: Call) -> Row:
    field = "subscription_id" if call.text("subscription_id") else "customer_id"
    waiting = [row for row in call.state.unbilled_charges.find(field, call.required(field)) if not row["deleted"]]
    if not waiting:
        raise refusal(400, "invalid_request", "there are no unbilled charges")
    return {"invoices": [invoice_now(call.world, waiting, call.text("subscription_id"))]}


def invoice_now(world: World, waiting: list[Row], subscription_id: str | None) -> Row:
    """A closed invoice of these unbilled charges."""
    draft = InvoiceDraft(
        customer=world.chargebee.customers.get(waiting[0]["customer_id"]) or {},
        currency_code=waiting[0]["currency_code"],
        date=world.chargebee.clock.now(),
        lines=[take_up(world, row) for row in waiting],
        pending=False,
        subscription_id=subscription_id,
        recurring=False,
    )
    return new_invoice(world, draft)


_CREDIT_LINE = ("reference_line_item_id", "unit_amount", "quantity", "amount", "description")


@routes.post(
    "/credit_notes",
    "reference_invoice_id",
    "type",
    "total",
    "reason_code",
    "create_reason_code",
    "date",
    "comment",
    "customer_notes",
    *(f"line_items[{name}][]" for name in _CREDIT_LINE),
)
def create_credit_note(call: Call) -> Row:
    invoice_id = call.required("reference_invoice_id", longest=50)
    invoice = call.existing(call.state.invoices, invoice_id, "reference_invoice_id")
    if invoice["status"] in ("pending", "voided"):
        raise invalid_state(f"the invoice {invoice_id} is {invoice['status']}")
    kind = call.one_of("type", ("adjustment", "refundable", "store")) or "adjustment"
    lines = [_credit_line(group, invoice) for group in call.groups("line_items")]
    total = call.integer("total", least=1) or sum(line["amount"] for line in lines)
    room = invoice["amount_due"] if kind == "adjustment" else invoice["amount_paid"]
    credited = [row for row in call.state.credit_notes.find("reference_invoice_id", invoice_id) if not row["deleted"]]
    if kind != "adjustment":
        room -= sum(row["total"] for row in credited if row["type"] != "adjustment")
    if total < 1 or total > room:
        raise wrong_value("total", f"should be between 1 and {room}")
    state = call.state
    note = {
        "id": f"CN-{state.next_credit_note_number}",
        "object": "credit_note",
        "customer_id": invoice["customer_id"],
        "subscription_id": invoice.get("subscription_id"),
        "reference_invoice_id": invoice_id,
        "type": kind,
        "status": "adjusted" if kind == "adjustment" else "refund_due",
        "reason_code": call.text("reason_code"),
        "create_reason_code": call.text("create_reason_code"),
        "customer_notes": call.text("customer_notes"),
        "date": call.integer("date") or call.state.clock.now(),
        "price_type": invoice["price_type"],
        "currency_code": invoice["currency_code"],
        "sub_total": total,
        "total": total,
        "amount_allocated": total if kind == "adjustment" else 0,
        "amount_refunded": 0,
        "amount_available": 0 if kind == "adjustment" else total,
        "line_items": lines,
        "deleted": False,
    }
    return {"credit_note": _book(call, note, invoice), "invoice": state.invoices.get(invoice_id)}


def _book(call: Call, note: Row, invoice: Row) -> Row:
    state = call.state
    state.next_credit_note_number += 1
    row = state.save(state.credit_notes, note)
    adjusts = note["type"] == "adjustment"
    shown = "adjustment_credit_notes" if adjusts else "issued_credit_notes"
    invoice = invoice | {shown: [*invoice.get(shown, []), {"object": shown.removesuffix("s"), **_on_invoice(row)}]}
    if adjusts:
        invoice = with_totals(invoice | {"amount_adjusted": invoice["amount_adjusted"] + note["total"]})
        if invoice["amount_due"] == 0:
            invoice["status"] = "paid"
    state.emit("invoice_updated", {"invoice": state.save(state.invoices, invoice)})
    state.emit("credit_note_created", {"credit_note": row})
    return row


def _on_invoice(note: Row) -> Row:
    """A credit note as its invoice shows it."""
    shown = {f"cn_{name}": note[name] for name in ("id", "total", "date", "status")}
    reasons = {f"cn_{name}": note[name] for name in ("reason_code", "create_reason_code") if note.get(name)}
    return shown | reasons


def _credit_line(group: Call, invoice: Row) -> Row:
    reference = group.required("reference_line_item_id", longest=40)
    original: Row | None = next((line for line in invoice["line_items"] if line["id"] == reference), None)
    if original is None:
        raise wrong_value("line_items[reference_line_item_id]", f"{reference} is not on the invoice")
    quantity = group.integer("quantity", least=1) or 1
    amount = group.integer("amount", least=1) or group.required_integer("unit_amount", least=1) * quantity
    if amount > original["amount"]:
        raise wrong_value("line_items[amount]", f"should be at most {original['amount']}")
    return original | {
        "id": f"cn_{reference}",
        "reference_line_item_id": reference,
        "description": group.text("description", longest=500) or original["description"],
        "unit_amount": amount,
        "quantity": 1,
        "amount": amount,
    }


@routes.post(
    "/promotional_credits/add", "customer_id", "amount", "currency_code", "description", "credit_type", "reference"
)
def add_promotional_credit(call: Call) -> Row:
    customer_id = call.required("customer_id", longest=50)
    customer = call.existing(call.state.customers, customer_id, "customer_id")
    amount = call.required_integer("amount", least=1)
    row = {
        "id": call.state.ids.short("pc_", customer_id, amount),
        "object": "promotional_credit",
        "customer_id": customer_id,
        "type": "increment",
        "amount": amount,
        "currency_code": call.text("currency_code", longest=3) or customer.get("preferred_currency_code"),
        "description": call.required("description", longest=250),
        "credit_type": call.text("credit_type") or "general",
        "reference": call.text("reference", longest=500),
        "created_at": call.state.clock.now(),
    }
    row = {key: value for key, value in row.items() if value is not None}
    call.state.promotional_credits.put(str(row["id"]), row, call.state.clock.now_ms())
    balance = customer.get("promotional_credits", 0) + amount
    customer = call.state.save(call.state.customers, customer | {"promotional_credits": balance})
    call.state.emit("customer_changed", {"customer": customer})
    return {"customer": customer, "promotional_credit": row}
