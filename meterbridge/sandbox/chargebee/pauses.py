"""/subscriptions/{id}/pause, /resume and what takes their schedules back."""

from __future__ import annotations

from meterbridge.sandbox.chargebee.call import Call, invalid_state, wrong_value
from meterbridge.sandbox.chargebee.renewals import pause_now, resume_now, schedule_next
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()
_PAUSE_OPTIONS = ("immediately", "end_of_term", "specific_date")
_RESUME_OPTIONS = ("immediately", "specific_date")


def _in_state(call: Call, subscription_id: str, status: str) -> Row:
    row = call.existing(call.state.subscriptions, subscription_id)
    if row["status"] != status:
        raise invalid_state(f"the subscription {subscription_id} is {row['status']}")
    return row


def _answer(call: Call, row: Row, event_type: str | None = None) -> Row:
    content: Row = {"subscription": row, "customer": call.state.customers.get(row["customer_id"]) or {}}
    if event_type is not None:
        call.state.emit(event_type, content)
    return content


@routes.post(
    "/subscriptions/{id}/pause",
    "pause_option",
    "pause_date",
    "resume_date",
    "unbilled_charges_handling",
    "invoice_dunning_handling",
)
def pause(call: Call, subscription_id: str) -> Row:
    before = _in_state(call, subscription_id, "active")
    now = call.state.clock.now()
    at = now
    match call.one_of("pause_option", _PAUSE_OPTIONS) or "immediately":
        case "end_of_term":
            at = int(before["current_term_end"])
        case "specific_date":
            at = call.required_integer("pause_date")
            if not now < at <= before["current_term_end"]:
                raise wrong_value("pause_date", "should be in the future, and within the current term")
    resume_at = call.integer("resume_date")
    if resume_at is not None and resume_at <= at:
        raise wrong_value("resume_date", "should be after the pause")
    row = before | {"pause_date": None, "resume_date": None}
    if at > now:
        call.state.resumptions[subscription_id] = resume_at
        row = call.state.save(call.state.subscriptions, row | {"pause_date": at})
        schedule_next(call.world, row)
        return _answer(call, row, "subscription_pause_scheduled")
    return _answer(call, pause_now(call.world, row | {"resume_date": resume_at}, at))


@routes.post("/subscriptions/{id}/remove_scheduled_pause")
def remove_scheduled_pause(call: Call, subscription_id: str) -> Row:
    before = _in_state(call, subscription_id, "active")
    if "pause_date" not in before:
        raise invalid_state(f"{subscription_id} has no scheduled pause")
    call.state.resumptions.pop(subscription_id, None)
    row = call.state.save(call.state.subscriptions, before | {"pause_date": None})
    schedule_next(call.world, row)
    return _answer(call, row, "subscription_scheduled_pause_removed")


@routes.post(
    "/subscriptions/{id}/resume", "resume_option", "resume_date", "charges_handling", "unpaid_invoices_handling"
)
def resume(call: Call, subscription_id: str) -> Row:
    before = _in_state(call, subscription_id, "paused")
    now = call.state.clock.now()
    if (call.one_of("resume_option", _RESUME_OPTIONS) or "immediately") == "immediately":
        return _answer(call, resume_now(call.world, before, now))
    at = call.required_integer("resume_date")
    if at <= now:
        raise wrong_value("resume_date", "should be in the future")
    row = call.state.save(call.state.subscriptions, before | {"resume_date": at})
    schedule_next(call.world, row)
    return _answer(call, row, "subscription_resumption_scheduled")


@routes.post("/subscriptions/{id}/remove_scheduled_resumption")
def remove_scheduled_resumption(call: Call, subscription_id: str) -> Row:
    before = _in_state(call, subscription_id, "paused")
    if "resume_date" not in before:
        raise invalid_state(f"{subscription_id} has no scheduled resumption")
    row = call.state.save(call.state.subscriptions, before | {"resume_date": None})
    return _answer(call, row, "subscription_scheduled_resumption_removed")
