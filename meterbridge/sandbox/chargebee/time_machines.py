"""/time_machines/delorean: a test site that goes to another time; its records are dated there, its answers are not."""

from __future__ import annotations

from meterbridge.sandbox.chargebee.call import Call, invalid_state, not_found, wrong_value
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()

NAME = "delorean"
_HALF_A_YEAR = 183 * 86_400


@routes.get("/time_machines/{id}")
def retrieve(call: Call, name: str) -> Row:
    _named(name)
    return _shown(call)


def _named(name: str) -> None:
    if name != NAME:
        raise not_found("time_machine_name", name)


def _shown(call: Call) -> Row:
    state = call.state
    row: Row = {"object": "time_machine", "name": NAME, "time_travel_status": "not_enabled"}
    if state.genesis_time is not None:
        arrived = state.arrives_ms <= call.world.clock.now_ms()
        row["time_travel_status"] = "succeeded" if arrived else "in_progress"
        row["genesis_time"] = state.genesis_time
        row["destination_time"] = state.destination_time
    return {"time_machine": row}


@routes.post("/time_machines/{id}/start_afresh", "genesis_time")
def start_afresh(call: Call, name: str) -> Row:
    """Customers, subscriptions and invoices are erased; the site's time begins anew, half a year ago by default."""
    _named(name)
    at = call.integer("genesis_time") or call.world.clock.now() - _HALF_A_YEAR
    call.world.start_site_afresh(at)
    return _arriving(call, at)


@routes.post("/time_machines/{id}/travel_forward", "destination_time")
def travel_forward(call: Call, name: str) -> Row:
    _named(name)
    if call.state.genesis_time is None:
        raise invalid_state("Time Machine is not enabled: start afresh first")
    at = call.required_integer("destination_time")
    if at <= call.state.clock.now():
        raise wrong_value("destination_time", "should be after the present time of the site")
    call.world.travel_site(at)
    return _arriving(call, at)


def _arriving(call: Call, at: int) -> Row:
    call.state.destination_time = at
    call.state.arrives_ms = call.world.clock.now_ms() + call.world.switches.time_travel_seconds * 1000
    return _shown(call)
