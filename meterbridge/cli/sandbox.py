"""``meterbridge sandbox``: the imitation of both vendors, alone, until it is stopped."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from meterbridge.errors import RetriableError, SetupError


def sandbox(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    scenario: Annotated[str, typer.Option(help="Which world: demo, single, empty, large or living.")] = "demo",
    seed: Annotated[int, typer.Option(help="The same scenario and seed give the same world.")] = 7,
    subscriptions: Annotated[
        int | None, typer.Option(min=0, help="How many subscriptions the scenario large has; default 20,000.")
    ] = None,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Ignore unknown request parameters, as the vendors do.")
    ] = False,
    latency_ms: Annotated[int, typer.Option(min=0, help="Delay of every answer, milliseconds.")] = 0,
    chargebee_per_minute: Annotated[
        int, typer.Option(min=0, help="Chargebee's rate limit, requests per minute; 0 is none.")
    ] = 0,
    switch: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: a fact about the vendors that is otherwise; repeatable.")
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help="JSON: harm on purpose; repeatable.")] = None,
) -> None:
    """Serve an imitation of Chargebee and m3ter on this machine until Ctrl-C.

    One line of JSON tells the settings that connect to it: export them, and every
    command works on the sandbox. No credentials, no network, nothing is kept.
    """
    from meterbridge.sandbox import run
    from meterbridge.sandbox.scenarios import NAMES

    if scenario not in NAMES:
        raise SetupError("MB-COMMAND", f"there is no scenario {scenario!r}; there are {', '.join(NAMES)}")
    switches, faults = _harm(switch or [], fault or [])
    try:
        run(
            port=port,
            scenario=scenario,
            seed=seed,
            subscriptions=subscriptions,
            lenient=lenient,
            latency_ms=latency_ms,
            chargebee_per_minute=chargebee_per_minute,
            switches=switches,
            faults=faults,
        )
    except OSError as failure:
        message = f"port {port} on 127.0.0.1 cannot be used: {failure.strerror or failure}"
        raise RetriableError("MB-UNAVAILABLE", message, remedy=_OTHER_PORT) from failure


_OTHER_PORT = "Choose another --port, or 0 for a free one."
_SEE = "docs/reference/sandbox.md lists every switch and fault, with an example."


def _harm(switch: list[str], fault: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the switches and faults asked for; what is none of either is refused before anything is served."""
    from meterbridge.sandbox.faults import Faults
    from meterbridge.sandbox.switches import Switches

    try:
        switches = {name: _value(text) for name, _, text in (one.partition("=") for one in switch)}
        faults = [json.loads(one) for one in fault]
        Switches().update(switches)
        Faults().add(faults)
    except (ValueError, TypeError, AttributeError) as failure:
        raise SetupError("MB-COMMAND", f"no switch or fault: {failure}", remedy=_SEE) from failure
    return switches, faults


def _value(text: str) -> Any:
    """A switch's value; one that is no JSON is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
