"""What two runs are compared by: everything at both vendors, and what the ledger means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from meterbridge.ledger import bills, intents, mappings, quarantine, watermarks
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.keys import key_text
from meterbridge.sandbox import snapshot
from meterbridge.sandbox.world import World
from tests.flows.crash_ledgers import CaseLedger

KINDS = ("account", "account_plan", "external_mapping", "charge")
SHOWN = 12


def final_state(world: World, ledger: CaseLedger) -> dict[str, Any]:
    """JSON; equal for two histories that mean the same."""
    opened = ledger.open()  # type: ignore[attr-defined]
    try:
        with opened.read() as rx:
            meaning = {
                "known": [_known(row) for kind in KINDS for row in mappings.all(rx, kind, active_only=True)],
                "open": [f"{row.state} {row.kind} {key_text(row.key)}" for row in intents.open_rows(rx)],
                "set aside": [f"{row.kind} {key_text(row.key)} {row.code}" for row in quarantine.list(rx, "open")],
                "bills": sorted(_bills(rx)),
                "watermarks": [flow for flow in ("sync_subscriptions", "sync_bills") if watermarks.get(rx, flow)],
            }
    finally:
        opened.close()
    state: dict[str, Any] = json.loads(json.dumps({**snapshot.comparable(world), "ledger": meaning}))
    return state


def _known(row: mappings.Mapping) -> list[Any]:
    return [row.kind, key_text(row.key), row.remote_id, row.state]


def _bills(rx: Reader) -> Iterator[str]:
    for state in bills.all(rx):
        yield f"bill {state.bill_id} {state.status} finished={state.finished}"
    for portion in bills.portions(rx):
        yield f"portion {portion.bill_id} {portion.subscription_id} {portion.state} {portion.wanted}"


def differences(wanted: Any, found: Any, where: str = "") -> list[str]:
    """The first dozen places where two states differ, in words."""
    return list(_differences(wanted, found, where))[:SHOWN]


def _differences(wanted: Any, found: Any, where: str) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted({*wanted, *found}):
            yield from _differences(wanted.get(name), found.get(name), f"{where}/{name}")
    elif isinstance(wanted, list) and isinstance(found, list):
        left = [json.dumps(row, sort_keys=True) for row in wanted]
        right = [json.dumps(row, sort_keys=True) for row in found]
        for row in dict.fromkeys([*left, *right]):
            more = right.count(row) - left.count(row)
            if more:
                yield f"{where}: {abs(more)} {'too many' if more > 0 else 'missing'}: {row[:600]}"
    elif wanted != found:
        yield f"{where}: {wanted!r} became {found!r}"
