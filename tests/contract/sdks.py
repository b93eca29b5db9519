"""What the vendors' official SDKs know: a judge of the sandbox's endpoints that we do not call ourselves."""

from __future__ import annotations

import functools
import re

from contracts import make
from contracts.chargebee_sdk import operations
from meterbridge.sandbox.chargebee import entry as chargebee
from meterbridge.sandbox.m3ter import entry as m3ter
from meterbridge.sandbox.wire import Routes
from tests.contract import m3ter_sdk
from tests.contract.contract import PREFIXES, Contract, kept


@functools.cache
def beyond(vendor: str) -> Contract:
    """A contract of the endpoints that the sandbox has beyond the kept one."""
    content = _of_chargebee() if vendor == "chargebee" else _of_m3ter()
    return Contract(content, PREFIXES[vendor])


def _of_chargebee() -> m3ter_sdk.Json:
    names = _endpoints(chargebee.ROUTES, "/") - set(kept("chargebee").calls)
    return make.chargebee(make.facts()["chargebee"], sorted(names & set(operations())))


def _of_m3ter() -> m3ter_sdk.Json:
    ours = {_anonymous(name) for name in kept("m3ter").calls}
    wanted = {_anonymous(name) for name in _endpoints(m3ter.ROUTES, "/organizations/{org}/")} - ours
    calls = {name: m3ter_sdk.call(name) for name in m3ter_sdk.calls() if _anonymous(name) in wanted}
    return {"calls": calls, "refusal": kept("m3ter").refusal, "types": {}}


def _endpoints(routes: Routes, root: str) -> set[str]:
    return {f"{route.method} {root}{'/'.join(route.segments)}" for route in routes.entries}


def _anonymous(name: str) -> str:
    """Vendors and we call the parameters of a path by different names."""
    return re.sub(r"\{\w+\}", "{}", name)
