"""/subscriptions/{id}/…: changes, cancellation, reactivation, move."""

from __future__ import annotations

from meterbridge.sandbox.chargebee.call import Call, invalid_state, refusal, wrong_value
from meterbridge.sandbox.chargebee.renewals import cancel_now, schedule_next, term_invoice, with_items
from meterbridge.sandbox.chargebee.state import ScheduledChange
from meterbridge.sandbox.chargebee.subscriptions import ITEM_PARAMS, items_sent
from meterbridge.sandbox.chargebee.terms import day_of, term_end
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()
_LIVING = ("future", "in_trial", "active", "non_renewing")
_CANCELLABLE = (*_LIVING, "paused")
_CHANGE_OPTIONS = ("immediately", "end_of_term", "specific_date")
_CANCEL_OPTIONS = ("immediately", "end_of_term", "specific_date")


def _living(call: Call, subscription_id: str, states: tuple[str, ...] = _LIVING) -> Row:
    row = call.existing(call.state.subscriptions, subscription_id)
    if row["status"] not in states:
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
    "start_date",
    "trial_end",
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
    now = call.state.clock.now()
    at = call.required_integer("changes_scheduled_at") if option == "specific_date" else now
    if option == "end_of_term" or at > now:
        return _schedule(call, before, items, None if option == "end_of_term" else at)
    if at < before.get("current_term_start", now):
        raise wrong_value("changes_scheduled_at", "should not be before the current term")
    call.state.scheduled.pop(subscription_id, None)
    cleared = {"has_scheduled_changes": False, "changes_scheduled_at": None}
    row = with_items(call.world, before, items) | cleared | _instants(call, before, now)
    row |= {name: call.params[name] for name in ("meta_data", "po_number") if name in call.params}
    for name in ("create_pending_invoices", "auto_close_invoices"):
        if name in call.params:
            row[name] = call.boolean(name)
    row = call.state.save(call.state.subscriptions, row)
    schedule_next(call.world, row)
    if at < now:
        shown = {"changes_scheduled_at": at} if call.world.switches.backdated_keeps_instant else {}
        answer = _answer(call, row | shown, "subscription_changed_with_backdating")
        return answer | {"subscription": row}
    return _answer(call, row, "subscription_changed")


def _instants(call: Call, before: Row, now: int) -> Row:
    """A future subscription's start and a trial's end may be changed until they are reached."""
    changed: Row = {}
    for name, states in (("start_date", ("future",)), ("trial_end", ("future", "in_trial"))):
        at = call.integer(name)
        if at is None:
            continue
        if before["status"] not in states:
            raise invalid_state(f"{name} of {before['id']} is in the past")
        if at <= now:
            raise wrong_value(name, "should be in the future")
        changed |= {name: at, "next_billing_at": at}
    return changed


@routes.post("/subscriptions/{id}/change_term_end", "term_ends_at", "prorate", "invoice_immediately")
def change_term_end(call: Call, subscription_id: str) -> Row:
    """A trial is extended or shortened, an active subscription's term ends at another instant."""
    before = _living(call, subscription_id)
    at = call.required_integer("term_ends_at")
    if at <= call.state.clock.now():
        raise wrong_value("term_ends_at", "should be in the future")
    match before["status"]:
        case "future" | "in_trial":
            changed = {"trial_end": at, "next_billing_at": at}
            changed |= {"cancelled_at": at} if "cancelled_at" in before else {}
            event_type = "subscription_trial_extended"
        case "non_renewing":
            changed, event_type = {"current_term_end": at, "cancelled_at": at}, "subscription_changed"
        case _:
            changed, event_type = {"current_term_end": at, "next_billing_at": at}, "subscription_changed"
            call.state.anchors[subscription_id] = day_of(at)  # the terms that follow begin on that day
    row = call.state.save(call.state.subscriptions, before | changed)
    schedule_next(call.world, row)
    return _answer(call, row, event_type)


def _schedule(call: Call, before: Row, items: list[Row], at: int | None) -> Row:
    """Only one change can wait; the subscription shows its old items until then."""
    if at is None and "current_term_end" not in before:
        raise invalid_state(f"the subscription {before['id']} has no term yet")
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
        row = state.save(state.subscriptions, with_items(world, row, change.items) | cleared)
        customer = state.customers.get(row["customer_id"]) or {}
        state.emit("subscription_changed", {"subscription": row, "customer": customer}, source="scheduled_job")

    world.schedule_site(at, apply)


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
    before = _living(call, subscription_id, _CANCELLABLE)
    option = call.one_of("cancel_option", _CANCEL_OPTIONS) or "immediately"
    if call.boolean("end_of_term"):
        option = "end_of_term"
    now = call.state.clock.now()
    in_trial = before["status"] == "in_trial"
    term_ends_at = int(before.get("trial_end" if in_trial else "current_term_end", now))
    at = now
    if option == "end_of_term":
        at = term_ends_at
    elif option == "specific_date":
        at = call.required_integer("cancel_at")
    reason = call.text("cancel_reason_code")
    if at <= now:
        row, invoice = cancel_now(call.world, before | {"cancel_reason_code": reason}, at)
        answer: Row = {"subscription": row, "customer": call.state.customers.get(row["customer_id"]) or {}}
        return answer | ({"invoice": invoice} if invoice else {})
    if before["status"] == "paused":
        raise invalid_state(f"{subscription_id} is paused: it can be cancelled at once only")
    if at > term_ends_at or (in_trial and at < term_ends_at):
        raise wrong_value("cancel_at", "the sandbox cancels within the current term only, a trial at its end")
    row = before | {"cancelled_at": at, "cancel_schedule_created_at": now, "next_billing_at": None}
    row |= {"cancel_reason_code": reason} | ({} if in_trial else {"status": "non_renewing"})
    row = call.state.save(call.state.subscriptions, row)
    schedule_next(call.world, row)
    return _answer(call, row, "subscription_cancellation_scheduled")


@routes.post("/subscriptions/{id}/remove_scheduled_cancellation")
def remove_scheduled_cancellation(call: Call, subscription_id: str) -> Row:
    before = call.existing(call.state.subscriptions, subscription_id)
    in_trial = before["status"] == "in_trial" and "cancelled_at" in before
    if before["status"] != "non_renewing" and not in_trial:
        raise invalid_state(f"{subscription_id} is {before['status']} without a scheduled cancellation")
    row = before | {"cancelled_at": None, "cancel_schedule_created_at": None, "cancel_reason_code": None}
    row |= {"next_billing_at": before["trial_end" if in_trial else "current_term_end"]}
    row |= {} if in_trial else {"status": "active"}
    row = call.state.save(call.state.subscriptions, row)
    schedule_next(call.world, row)
    return _answer(call, row, "subscription_scheduled_cancellation_removed")


@routes.post("/subscriptions/{id}/reactivate", "reactivate_from", "trial_end", "invoice_immediately")
def reactivate(call: Call, subscription_id: str) -> Row:
    """`activated_at` becomes the reactivation, `started_at` stays what it was."""
    before = call.existing(call.state.subscriptions, subscription_id)
    if before["status"] != "cancelled":
        raise invalid_state(f"{subscription_id} is {before['status']}")
    now = call.state.clock.now()
    at = call.integer("reactivate_from") or now
    if not before["cancelled_at"] <= at <= now:
        raise wrong_value("reactivate_from", "should be between the cancellation and now")
    end = term_end(at, before["billing_period"], before["billing_period_unit"], day_of(at))
    if end <= now:
        raise wrong_value("reactivate_from", "the sandbox reactivates within the present term only")
    call.state.anchors[subscription_id] = day_of(at)
    trial_end = call.integer("trial_end")
    if trial_end is not None and trial_end <= now:
        raise wrong_value("trial_end", "should be in the future")
    cleared = {"cancelled_at": None, "cancel_schedule_created_at": None, "cancel_reason_code": None}
    began = {"status": "active", "activated_at": at, "started_at": before.get("started_at", at)}
    term: Row = {"current_term_start": at, "current_term_end": end, "next_billing_at": end}
    if trial_end is not None:
        began = {"status": "in_trial", "trial_start": at, "trial_end": trial_end, "next_billing_at": trial_end}
        term = {"current_term_start": None, "current_term_end": None}
    row = call.state.save(call.state.subscriptions, before | cleared | term | began)
    customer = call.state.customers.get(row["customer_id"]) or {}
    invoice = None if trial_end else term_invoice(call.world, customer, row, pending=False)
    schedule_next(call.world, row)
    suffix = "_with_backdating" if at < now else ""
    return _answer(call, row, f"subscription_reactivated{suffix}", invoice)


@routes.post("/subscriptions/{id}/move", "to_customer_id")
def move(call: Call, subscription_id: str) -> Row:
    before = _living(call, subscription_id)
    owner = call.required("to_customer_id", longest=50)
    if owner == before["customer_id"]:
        raise refusal(400, "invalid_request", "the subscription is with this customer already", param="to_customer_id")
    call.existing(call.state.customers, owner, "to_customer_id")
    _answer(call, before, "subscription_moved_out")
    row = call.state.save(call.state.subscriptions, before | {"customer_id": owner})
    # Unlike the other changes, the answer holds no customer.
    return {"subscription": _answer(call, row, "subscription_moved_in")["subscription"]}
