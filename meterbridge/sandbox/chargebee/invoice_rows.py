"""Invoice rows and their lines: made, totalled, closed. No parameters, no refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from meterbridge.sandbox.table import Row

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World


@dataclass(frozen=True, slots=True)
class LineDraft:
    """A line before it has an id; amounts in minor units, dates in epoch seconds."""

    entity_type: str
    description: str
    unit_amount: int
    date_from: int
    date_to: int
    quantity: int = 1
    entity_id: str | None = None
    subscription_id: str | None = None
    pricing_model: str | None = None
    entity_description: str | None = None


@dataclass(frozen=True, slots=True)
class InvoiceDraft:
    """What a new invoice is about; `date` in epoch seconds."""

    customer: Row
    currency_code: str
    date: int
    lines: Sequence[LineDraft]
    pending: bool
    subscription_id: str | None = None
    recurring: bool = True
    po_number: str | None = None


def line_row(world: World, invoice_id: str, customer_id: str, line: LineDraft) -> Row:
    """A line is of the customer whose subscription it is for, whoever the invoice goes to."""
    subscription = world.chargebee.subscriptions.get(line.subscription_id or "") or {}
    row = {
        "id": world.ids.short("li_", invoice_id, line.entity_type, line.entity_id, line.description, line.date_from),
        "object": "line_item",
        "subscription_id": line.subscription_id,
        "customer_id": subscription.get("customer_id", customer_id),
        "entity_type": line.entity_type,
        "entity_id": line.entity_id,
        "description": line.description,
        "entity_description": line.entity_description,
        "date_from": line.date_from,
        "date_to": line.date_to,
        "unit_amount": line.unit_amount,
        "quantity": line.quantity,
        "amount": line.unit_amount * line.quantity,
        "pricing_model": line.pricing_model,
        "is_taxed": False,
        "tax_amount": 0,
        "discount_amount": 0,
        "item_level_discount_amount": 0,
        "metered": False,
    }
    return {key: value for key, value in row.items() if value is not None}


def with_totals(invoice: Row) -> Row:
    """sub_total, total and amount_due follow from the lines; the sandbox computes no tax."""
    total = sum(line["amount"] for line in invoice["line_items"])
    due = max(0, total - invoice.get("amount_paid", 0) - invoice.get("amount_adjusted", 0))
    return invoice | {"sub_total": total, "total": total, "amount_due": due, "amount_to_collect": due}


def new_invoice(world: World, draft: InvoiceDraft) -> Row:
    """A pending draft with a temporary id, or a finalised invoice with the next number; the event goes out."""
    state = world.chargebee
    draft = replace(draft, customer=_payer(world, draft.customer))
    invoice = with_totals(_invoice_row(world, draft))
    if not draft.pending:
        invoice = state.save(state.invoices, finalised(world, invoice))
        state.emit("invoice_generated", {"invoice": invoice})
        return invoice
    invoice = state.save(state.invoices, invoice)
    if world.switches.notify_pending_invoices:
        state.emit("pending_invoice_created", {"invoice": invoice})
    _schedule_auto_close(world, draft.customer, invoice)
    return invoice


def _payer(world: World, customer: Row) -> Row:
    """The customer whom another one's invoices go to, its invoice owner; mostly itself."""
    owner = customer.get("relationship", {}).get("invoice_owner_id")
    return world.chargebee.customers.get(owner or "") or customer


def _invoice_row(world: World, draft: InvoiceDraft) -> Row:
    if draft.pending:
        invoice_id = world.ids.short("draft_inv_", draft.customer["id"], draft.subscription_id, draft.date)
    else:
        invoice_id = _next_number(world)
    return {
        "id": invoice_id,
        "object": "invoice",
        "customer_id": draft.customer["id"],
        "subscription_id": draft.subscription_id,
        "recurring": draft.recurring,
        "status": "pending",
        "price_type": "tax_exclusive",
        "currency_code": draft.currency_code,
        "date": draft.date,
        "tax": 0,
        "amount_paid": 0,
        "amount_adjusted": 0,
        "credits_applied": 0,
        "po_number": draft.po_number,
        "net_term_days": draft.customer.get("net_term_days", 0),
        "exchange_rate": 1,
        "first_invoice": False,
        "has_advance_charges": False,
        "term_finalized": True,
        "is_gifted": False,
        "deleted": False,
        "line_items": [line_row(world, invoice_id, draft.customer["id"], line) for line in draft.lines],
    }


def finalised(world: World, invoice: Row) -> Row:
    """The row with `generated_at` and the outcome of the payment."""
    customer = world.chargebee.customers.get(invoice["customer_id"]) or {}
    now = world.chargebee.clock.now()
    invoice = invoice | {"generated_at": now}
    if invoice["total"] == 0 or customer.get("auto_collection") == "on":
        paid = {"status": "paid", "amount_paid": invoice["total"], "paid_at": now}
        return with_totals(invoice | paid)
    status = "posted" if invoice.get("net_term_days") else "payment_due"
    return invoice | {"status": status, "due_date": invoice["date"] + 86_400 * invoice.get("net_term_days", 0)}


def close_draft(world: World, draft: Row) -> Row:
    """The final invoice: another id, the same lines; the draft is gone (reference: KB on drafts in warehouses)."""
    state = world.chargebee
    state.invoices.remove(draft["id"], world.chargebee.clock.now_ms())
    final_id = _next_number(world)
    lines = draft["line_items"]
    new_ids = {line["id"]: line["id"] for line in lines}
    if world.switches.draft_line_ids_on_close == "renew":
        new_ids = {line_id: world.ids.short("li_", final_id, line_id) for line_id in new_ids}
        lines = [line | {"id": new_ids[line["id"]]} for line in lines]
    for usage in state.usages.find("invoice_id", draft["id"]):
        moved = {"invoice_id": final_id, "line_item_id": new_ids.get(usage["line_item_id"])}
        state.save(state.usages, usage | moved)
    invoice = {key: value for key, value in draft.items() if key not in ("resource_version", "updated_at")}
    invoice |= {"id": final_id, "line_items": lines}
    if world.switches.invoice_date_on_close == "closing":
        invoice["date"] = world.chargebee.clock.now()
    if world.switches.comments_survive_close:
        for comment in state.comments.find("entity_id", draft["id"]):
            state.comments.put(comment["id"], comment | {"entity_id": final_id}, world.chargebee.clock.now_ms())
    invoice = state.save(state.invoices, finalised(world, invoice))
    state.closed_drafts[draft["id"]] = invoice
    state.emit("invoice_generated", {"invoice": invoice})
    return invoice


def _schedule_auto_close(world: World, customer: Row, invoice: Row) -> None:
    wait = world.switches.auto_close_seconds
    subscription = world.chargebee.subscriptions.get(invoice.get("subscription_id") or "") or {}
    allowed = subscription.get("auto_close_invoices", customer.get("auto_close_invoices", True))
    if not wait or not allowed:
        return

    def close() -> None:
        from meterbridge.sandbox.chargebee.metered import gather  # it builds on this module

        draft = world.chargebee.invoices.get(invoice["id"])
        if draft is None or draft["status"] != "pending":
            return
        draft = gather(world, draft)
        if draft["line_items"]:
            close_draft(world, draft)

    world.schedule_site(world.chargebee.clock.now() + wait, close)


def _next_number(world: World) -> str:
    number = world.chargebee.next_invoice_number
    world.chargebee.next_invoice_number = number + 1
    return str(number)
