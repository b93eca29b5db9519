"""/_sandbox/…: the clock, the month, faults, switches, the log and the state, for tests and demonstrations."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meterbridge.sandbox import exact_json, snapshot
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.sandbox.wire import HttpReply, HttpRequest

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

PREFIX = "/_sandbox/"


def answer(world: World, request: HttpRequest) -> HttpReply:
    """400 with `{"message": …}` for what cannot be done, 404 for an unknown path."""
    name = (request.method, request.path.removeprefix(PREFIX))
    if name not in _ENDPOINTS:
        return _json(404, {"message": f"there is no {request.method} {request.path}"})
    try:
        body = json.loads(request.body) if request.body else {}
        return _json(200, _ENDPOINTS[name](world, body))
    except (ValueError, TypeError, KeyError) as error:
        return _json(400, {"message": f"{type(error).__name__}: {error}"})


def _json(status: int, body: Any) -> HttpReply:
    return HttpReply(status, exact_json.dumps(body))


def _clock(world: World, _body: Any) -> Any:
    return {"now": world.clock.now(), "now_ms": world.clock.now_ms(), "chargebee_now": world.chargebee.clock.now()}


def _move_clock(world: World, body: Any) -> Any:
    if "to" in body:
        world.advance_to(int(body["to"]))
    else:
        world.advance(float(body["advance"]))
    return _clock(world, body)


def _month(world: World, body: Any) -> Any:
    return use_and_bill(world, **body).as_json()


def _add_faults(world: World, body: Any) -> Any:
    world.faults.add(body if isinstance(body, list) else [body])
    return _faults(world, body)


def _faults(world: World, _body: Any) -> Any:
    return [fault.as_json() for fault in world.faults.active]


def _clear_faults(world: World, body: Any) -> Any:
    world.faults.clear()
    return _faults(world, body)


def _switches(world: World, body: Any) -> Any:
    world.switches.update(body)
    return world.switches.as_json()


def _requests(world: World, _body: Any) -> Any:
    return [each.as_json() for each in world.log]


def _clear_requests(world: World, body: Any) -> Any:
    world.log.clear()
    return _requests(world, body)


_ENDPOINTS: dict[tuple[str, str], Callable[[World, Any], Any]] = {
    ("GET", "clock"): _clock,
    ("POST", "clock"): _move_clock,
    ("POST", "month"): _month,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "switches"): _switches,
    ("POST", "switches"): _switches,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _clear_requests,
    ("GET", "webhooks"): lambda world, _body: world.webhooks.as_json(),
    ("GET", "state"): lambda world, _body: snapshot.comparable(world),
}
