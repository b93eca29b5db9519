"""Every request to m3ter passes here: token, organisation, size, limits, unknown parameters, then the endpoint."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from meterbridge.sandbox import exact_json
from meterbridge.sandbox.credentials import M3TER_API_KEY, M3TER_API_SECRET, M3TER_ORGANIZATION_ID
from meterbridge.sandbox.m3ter import (
    account_plans,
    accounts,
    bill_jobs,
    bills,
    events,
    mappings,
    measurements,
    notifications,
    organization,
    products,
    uploads,
)
from meterbridge.sandbox.m3ter.call import Call, refusal
from meterbridge.sandbox.wire import HttpReply, HttpRequest, Refusal, Route, merged

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

PREFIX = "/organizations/"
TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
ROUTES = merged(
    module.routes
    for module in (
        accounts,
        account_plans,
        products,
        organization,
        mappings,
        bills,
        bill_jobs,
        measurements,
        uploads,
        events,
        notifications,
    )
)
_LARGEST_BODY = 512_000
_KEY = "Basic " + base64.b64encode(f"{M3TER_API_KEY}:{M3TER_API_SECRET}".encode()).decode()


def admit(world: World, request: HttpRequest) -> None:
    """What is decided before a request starts to run.

    Raises:
        Refusal: Wrong token or organisation, or over the rate limit.
    """
    if request.path == TOKEN_PATH:
        return
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if world.m3ter.tokens.get(token, 0) <= world.clock.now_ms():
        raise refusal(403, "The incoming token is invalid or has expired")
    if not request.path.startswith(f"{PREFIX}{M3TER_ORGANIZATION_ID}/"):
        raise refusal(403, "Forbidden")
    if world.m3ter.window.wait_ms(world.clock.now_ms(), world.switches.m3ter_per_second):
        raise refusal(429, "Too many requests")


def answer(world: World, request: HttpRequest) -> HttpReply:
    """Execute one admitted request."""
    if len(request.body) > _LARGEST_BODY:
        # The firewall answers, not the API: its body is no JSON.
        return HttpReply(403, b"<html><head><title>403 Forbidden</title></head></html>", "text/html")
    try:
        if request.path == TOKEN_PATH:
            return HttpReply(200, exact_json.dumps(_token(world, request)))
        route, values = _route(request)
        call = Call(world, _query(world, request, route), _body(request))
        reply = (route.endpoint or _no_endpoint)(call, *values)
        return HttpReply(200, exact_json.dumps(reply))
    except Refusal as refused:
        return HttpReply(refused.status, exact_json.dumps(refused.body), extra=refused.extra)


def _no_endpoint(*_arguments: object) -> Any:
    raise refusal(404, "not found")


def _token(world: World, request: HttpRequest) -> dict[str, Any]:
    if request.method != "POST":
        raise refusal(404, "not found")
    if request.headers.get("authorization") != _KEY:
        raise refusal(world.switches.m3ter_wrong_key_status, "invalid client")
    if request.headers.get("content-type", "").startswith("application/json"):
        body = _body(request)
        grant = body.get("grant_type") if isinstance(body, dict) else None
    else:
        grant = parse_qs(request.body.decode()).get("grant_type", [None])[-1]
    if grant != "client_credentials":
        raise refusal(400, "unsupported grant_type")
    seconds = world.switches.m3ter_token_seconds
    token = world.ids.short("token_", "m3ter")
    world.m3ter.tokens[token] = world.clock.now_ms() + seconds * 1000
    return {"access_token": token, "token_type": "Bearer", "expires_in": seconds}


def _route(request: HttpRequest) -> tuple[Route, list[str]]:
    segments = tuple(request.path.strip("/").split("/"))[2:]
    route, values, _exists = ROUTES.match(request.method, segments) if segments else (None, [], False)
    if route is None:
        raise refusal(404, f"{request.method} {request.path} is not served by the sandbox")
    return route, values


def _query(world: World, request: HttpRequest, route: Route) -> dict[str, list[str]]:
    if not request.query:
        return {}
    query = parse_qs(request.query, keep_blank_values=True)
    if not world.switches.lenient:
        for name in query:
            if name not in route.known:
                where = f"{request.method} {'/'.join(route.segments)}"
                raise refusal(400, f"{name}: the sandbox does not know this parameter of {where}")
    return query


def _body(request: HttpRequest) -> Any:
    if not request.body:
        return None
    try:
        return exact_json.loads(request.body)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise refusal(400, "the body is not JSON") from error
