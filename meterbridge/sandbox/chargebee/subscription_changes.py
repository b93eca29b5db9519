"""/subscriptions/{id}/…: changes, cancellation, reactivation, move."""

from __future__ import annotations

from meterbridge.sandbox.chargebee.call import Call, invalid_state, refusal, wrong_value
from meterbridge.sandbox.chargebee.renewals import cancel_now, schedule_next, term_invoice
from meterbridge.sandbox.chargebee.state import ScheduledChange
from meterbridge.sandbox.chargebee.subscriptions import ITEM_PARAMS, items_sent
from meterbridge.sandbox.chargebee.terms import day_of, term_end
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()
_LIVING = ("future", "active", "non_renewing")
_CHANGE_OPTIONS = ("immediately", "end_of_term", "specific_date")
_CANCEL_OPTIONS = ("immediately", "end_of_term", "specific_date")


def _living(call: Call, subscription_id: str) -> Row:
    row = call.existing(call.state.subscriptions, subscription_id)
    if row["status"] not in _LIVING:
        raise invalid_state(f"the subscription {subscription_id} is {row['status']}")
    return row


def _answer(call: Call, row: Row, event_type: str, invoice: Row | None = None) -> Row:
    customer = call.state.customers.get(row["customer_id"]) or {}
    content: Row = {"subscription": row, "customer": customer}
    if invoice is not None:
        content["invoice"] = invoice
    call.state.emit(event_type, content)
    return content


@routes.post(
    "/subscriptions/{id}/update_for_items",
    "replace_items_list",
    "change_option",
    "changes_scheduled_at",
    "end_of_term",
    "prorate",
    "invoice_immediately",
    "meta_data",
    "po_number",
    "create_pending_invoices",
    "auto_close_invoices",
    *ITEM_PARAMS,
)
def update_for_items(call: Call, subscription_id: str) -> Row:
    before = _living(call, subscription_id)
    option = call.one_of("change_option", _CHANGE_OPTIONS) or "immediately"
    if call.boolean("end_of_term"):
        option = "end_of_term"
    kept = [] if call.boolean("replace_items_list") else before["subscription_items"]
    items = items_sent(call, kept)
    now = call.world.clock.now()
    at = call.required_integer("changes_scheduled_at") if option == "specific_date" else now
    if option == "end_of_term" or at > now:
        return _schedule(call, before, items, None if option == "end_of_term" else at)
    call.state.scheduled.pop(subscription_id, None)
    row = before | {"subscription_items": items, "has_scheduled_changes": False, "changes_scheduled_at": None}
    plan = call.state.item_prices.get(items[0]["item_price_id"]) or {}
    row |= {"billing_period": plan.get("period", 1), "billing_period_unit": plan.get("period_unit", "month")}
    row |= {name: call.params[name] for name in ("meta_data", "po_number") if name in call.params}
    for name in ("create_pending_invoices", "auto_close_invoices"):
        if name in call.params:
            row[name] = call.boolean(name)
    suffix = "_with_backdating" if at < now else ""
    return _answer(call, call.state.save(call.state.subscriptions, row), f"subscription_changed{suffix}")


def _schedule(call: Call, before: Row, items: list[Row], at: int | None) -> Row:
    """Only one change can wait; the subscription shows its old items until then."""
    due = at if at is not None else int(before["current_term_end"])
    call.state.scheduled[before["id"]] = ScheduledChange(due, items)
    # The instant is shown only when it is not the end of the term.
    row = before | {"has_scheduled_changes": True, "changes_scheduled_at": at}
    if at is not None:
        _wake_for_change(call, before["id"], due)
    return _answer(call, call.state.save(call.state.subscriptions, row), "subscription_changes_scheduled")


def _wake_for_change(call: Call, subscription_id: str, at: int) -> None:
    world, state = call.world, call.state

    def apply() -> None:
        change, row = state.scheduled.get(subscription_id), state.subscriptions.get(subscription_id)
        if change is None or change.at != at or row is None:
            return
        del state.scheduled[subscription_id]
        cleared = {"has_scheduled_changes": False, "changes_scheduled_at": None}
        row = state.save(state.subscriptions, row | {"subscription_items": change.items} | cleared)
        customer = state.customers.get(row["customer_id"]) or {}
        state.emit("subscription_changed", {"subscription": row, "customer": customer}, source="scheduled_job")

    world.schedule(at, apply)


@routes.post("/subscriptions/{id}/remove_scheduled_changes")
def remove_scheduled_changes(call: Call, subscription_id: str) -> Row:
    before = _living(call, subscription_id)
    if call.state.scheduled.pop(subscription_id, None) is None:
        raise invalid_state(f"{subscription_id} has no scheduled changes")
    row = before | {"has_scheduled_changes": False, "changes_scheduled_at": None}
    return _answer(call, call.state.save(call.state.subscriptions, row), "subscription_scheduled_changes_removed")


@routes.post(
    "/subscriptions/{id}/cancel_for_items",
    "cancel_option",
    "end_of_term",
    "cancel_at",
    "credit_option_for_current_term_charges",
    "unbilled_charges_option",
    "cancel_reason_code",
)
def cancel_for_items(call: Call, subscription_id: str) -> Row:
    before = _living(call, subscription_id)
    option = call.one_of("cancel_option", _CANCEL_OPTIONS) or "immediately"
    if call.boolean("end_of_term"):
        option = "end_of_term"
    now = call.world.clock.now()
    at = now
    if option == "end_of_term":
        at = int(before.get("current_term_end", now))
    elif option == "specific_date":
        at = call.required_integer("cancel_at")
    reason = call.text("cancel_reason_code")
    if at > now:
        if at > before.get("current_term_end", at):
            raise wrong_value("cancel_at", "the sandbox cancels within the current term only")
        row = before | {"status": "non_renewing", "cancelled_at": at, "cancel_schedule_created_at": now}
        row |= {"next_billing_at": None, "cancel_reason_code": reason}
        row = call.state.save(call.state.subscriptions, row)
        schedule_next(call.world, row)
        return _answer(call, row, "subscription_cancellation_scheduled")
    row, invoice = cancel_now(call.world, before | {"cancel_reason_code": reason}, at)
    answer: Row = {"subscription": row, "customer": call.state.customers.get(row["customer_id"]) or {}}
    return answer | ({"invoice": invoice} if invoice else {})


@routes.post("/subscriptions/{id}/remove_scheduled_cancellation")
def remove_scheduled_cancellation(call: Call, subscription_id: str) -> Row:
    before = call.existing(call.state.subscriptions, subscription_id)
    if before["status"] != "non_renewing":
        raise invalid_state(f"{subscription_id} is {before['status']}")
    row = before | {"status": "active", "cancelled_at": None, "cancel_schedule_created_at": None}
    row |= {"next_billing_at": before["current_term_end"]}
    row = call.state.save(call.state.subscriptions, row)
    schedule_next(call.world, row)
    return _answer(call, row, "subscription_scheduled_cancellation_removed")


@routes.post("/subscriptions/{id}/reactivate")
def reactivate(call: Call, subscription_id: str) -> Row:
    before = call.existing(call.state.subscriptions, subscription_id)
    if before["status"] != "cancelled":
        raise invalid_state(f"{subscription_id} is {before['status']}")
    now = call.world.clock.now()
    end = term_end(now, before["billing_period"], before["billing_period_unit"], day_of(now))
    term = {"current_term_start": now, "current_term_end": end, "next_billing_at": end}
    cleared = {"cancelled_at": None, "cancel_schedule_created_at": None, "cancel_reason_code": None}
    began = {"status": "active", "activated_at": now, "started_at": now}
    row = call.state.save(call.state.subscriptions, before | term | cleared | began)
    customer = call.state.customers.get(row["customer_id"]) or {}
    invoice = term_invoice(call.world, customer, row, pending=False)
    schedule_next(call.world, row)
    return _answer(call, row, "subscription_reactivated", invoice)


@routes.post("/subscriptions/{id}/move", "to_customer_id")
def move(call: Call, subscription_id: str) -> Row:
    before = _living(call, subscription_id)
    owner = call.required("to_customer_id", longest=50)
    if owner == before["customer_id"]:
        raise refusal(400, "invalid_request", "the subscription is with this customer already", param="to_customer_id")
    call.existing(call.state.customers, owner, "to_customer_id")
    row = call.state.save(call.state.subscriptions, before | {"customer_id": owner})
    # Unlike the other changes, the answer holds no customer.
    return {"subscription": _answer(call, row, "subscription_moved_in")["subscription"]}
