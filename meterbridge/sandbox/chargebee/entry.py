"""Every request to Chargebee passes here: key, decoding, limits, replays, unknown parameters, then the endpoint."""

from __future__ import annotations

import base64
import hashlib
import math
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from meterbridge.sandbox import exact_json
from meterbridge.sandbox.chargebee import (
    charges,
    comments_events,
    customers,
    invoice_lines,
    invoices,
    items,
    pauses,
    subscription_changes,
    subscriptions,
    time_machines,
    usages,
    webhook_endpoints,
)
from meterbridge.sandbox.chargebee.call import Call, canonical, invalid_state, refusal
from meterbridge.sandbox.chargebee.lists import answer_list
from meterbridge.sandbox.chargebee.state import StoredAnswer
from meterbridge.sandbox.credentials import CHARGEBEE_API_KEY, CHARGEBEE_READONLY_KEY
from meterbridge.sandbox.wire import HttpReply, HttpRequest, Refusal, Route, merged

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

PREFIX = "/api/v2"
ROUTES = merged(
    module.routes
    for module in (
        customers,
        items,
        subscriptions,
        subscription_changes,
        pauses,
        invoices,
        invoice_lines,
        charges,
        usages,
        comments_events,
        time_machines,
        webhook_endpoints,
    )
)
_IDEMPOTENCY_MS = 30 * 60 * 1000
_LOCKED = ("invoices", "subscriptions")
_FORM = "application/x-www-form-urlencoded"


def _basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


_FULL, _READONLY = _basic(CHARGEBEE_API_KEY), _basic(CHARGEBEE_READONLY_KEY)


def idempotency_key(request: HttpRequest) -> str | None:
    return request.headers.get("chargebee-idempotency-key")


def lock_name(request: HttpRequest) -> str | None:
    """The resource that a write holds while it runs: overlapping writes are refused with lock_timeout."""
    parts = request.path[len(PREFIX) :].strip("/").split("/")
    if request.method != "POST" or len(parts) < 2 or parts[0] not in _LOCKED:
        return None
    return "/".join(parts[:2])


def admit(world: World, request: HttpRequest) -> None:
    """What is decided before a request starts to run.

    Raises:
        Refusal: Wrong key, over the rate limit, or the resource or the idempotency key is in use.
    """
    sent = request.headers.get("authorization", "")
    if sent not in (_FULL, _READONLY):
        message = "Sorry, authentication failed. Invalid api key"
        raise refusal(401, "api_authentication_failed", message, kind="untyped")
    if sent == _READONLY and request.method != "GET":
        message = "Sorry, the api key does not have the privilege for this operation"
        raise refusal(403, "api_authorization_failed", message, kind="untyped")
    wait_ms = world.chargebee.window.wait_ms(world.clock.now_ms(), world.switches.chargebee_per_minute)
    if wait_ms:
        raise too_many(math.ceil(wait_ms / 1000))
    lock = lock_name(request)
    key = idempotency_key(request)
    answer = world.chargebee.answers.get(key) if key else None
    in_flight = answer is not None and answer.body is None
    if in_flight and world.switches.in_flight_duplicate_status == 409:
        raise invalid_state("The previous request is still in progress. Please retry the request")
    if in_flight or (lock is not None and lock in world.chargebee.locked):
        message = "another request works on this resource; try again in a moment"
        raise refusal(429, "lock_timeout", message, kind="operation_failed", extra=(("Retry-After", "1"),))


def too_many(retry_after: int) -> Refusal:
    message = "Sorry, the API request limit is exceeded. Try again later"
    extra = (("Retry-After", str(retry_after)),)
    return refusal(429, "api_request_limit_exceeded", message, kind="operation_failed", extra=extra)


def answer(world: World, request: HttpRequest) -> HttpReply:
    """Execute one admitted request, or replay the first answer to its idempotency key."""
    key = idempotency_key(request)
    if key is None or request.method != "POST":
        return _execute(world, request)
    if len(key) > 100:
        return _reply(refusal(400, "param_wrong_value", "the idempotency key is longer than 100 characters"))
    now_ms, answers = world.clock.now_ms(), world.chargebee.answers
    fingerprint = hashlib.sha256(f"{request.path}\n".encode() + request.body).hexdigest()
    stored = answers.get(key)
    if stored is not None and stored.body is not None and stored.expires_ms > now_ms:
        if stored.fingerprint != fingerprint:
            message = "The idempotency key provided has already been used for a different request"
            status = world.switches.key_mismatch_status
            code = "unable_to_process_request" if status == 422 else "invalid_request"
            return _reply(refusal(status, code, message))
        return HttpReply(stored.status, stored.body, extra=(("chargebee-idempotency-replayed", "true"),))
    reply = _execute(world, request)
    is_kept = reply.status < 400 or (reply.status < 429 and world.switches.idempotency_stores_errors)
    if is_kept:
        answers[key] = StoredAnswer(fingerprint, now_ms + _IDEMPOTENCY_MS, reply.status, reply.body)
    else:
        answers.pop(key, None)
    return reply


def _execute(world: World, request: HttpRequest) -> HttpReply:
    try:
        route, values = _route(request)
        call = Call(world, _params(world, request, route))
        if route.endpoint is None:
            return HttpReply(200, exact_json.dumps(answer_list(call, route.listing)))
        return HttpReply(200, exact_json.dumps(route.endpoint(call, *values)))
    except Refusal as refused:
        return _reply(refused)


def _reply(refused: Refusal) -> HttpReply:
    return HttpReply(refused.status, exact_json.dumps(refused.body), extra=refused.extra)


def _route(request: HttpRequest) -> tuple[Route, list[str]]:
    segments = tuple(request.path[len(PREFIX) :].strip("/").split("/"))
    route, values, exists = ROUTES.match(request.method, segments)
    if route is None and exists:
        raise refusal(405, "http_method_not_supported", f"{request.method} is not supported here")
    if route is None:
        raise refusal(404, "resource_not_found", f"The path {request.path} is not served by the sandbox")
    return route, values


def _params(world: World, request: HttpRequest, route: Route) -> dict[str, str]:
    if request.body and not request.headers.get("content-type", "").startswith(_FORM):
        raise refusal(400, "invalid_request", f"the body should be {_FORM}")
    pairs = parse_qsl(request.query, keep_blank_values=True)
    pairs += parse_qsl(request.body.decode(), keep_blank_values=True) if request.body else []
    params = {}
    for name, value in pairs:
        if canonical(name) in route.known:
            params[name] = value
        elif not world.switches.lenient:
            message = f"{name} : the sandbox does not know this parameter of {request.method} {request.path}"
            raise refusal(400, "param_wrong_value", message, param=name, legacy="param_unknown")
    return params
