"""What two runs are compared by: everything at both vendors, and what the ledger means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select

from meterbridge.ledger import bills, intents, mappings, quarantine, usage, watermarks
from meterbridge.ledger.ledger import Reader
from meterbridge.ledger.schema import inbox, usage_batches
from meterbridge.rules.keys import key_text
from meterbridge.sandbox import snapshot
from meterbridge.sandbox.world import World
from tests.flows.crash_ledgers import CaseLedger

KINDS = ("account", "account_plan", "external_mapping", "charge", "credit", "undone", "usage")
SHOWN = 12


def final_state(world: World, ledger: CaseLedger, began: int) -> dict[str, Any]:
    """JSON; equal for two histories that mean the same.

    What came to be since the virtual second ``began`` may have come at any time, under any id.
    """
    _undate(world, began)
    opened = ledger.open()
    try:
        with opened.read() as rx:
            meaning = {
                "known": [_known(row) for kind in KINDS for row in mappings.all(rx, kind, active_only=True)],
                "open": [f"{row.state} {row.kind} {key_text(row.key)}" for row in intents.open_rows(rx)],
                "set aside": [f"{row.kind} {key_text(row.key)} {row.code}" for row in quarantine.list(rx, "open")],
                "bills": sorted(_bills(rx)),
                "watermarks": [flow for flow in ("sync_subscriptions", "sync_bills") if watermarks.get(rx, flow)],
                "usage": sorted(_usage(rx)),
                "inbox": sorted(_inbox(rx)),
            }
    finally:
        opened.close()
    named = json.dumps(meaning)
    named = re.sub(r'"invoice_date": (\d+)', lambda m: f'"invoice_date": {min(int(m[1]), began)}', named)
    for passing, lasting in _ids(world):
        named = named.replace(passing, lasting)
    vendors = snapshot.comparable(world)
    vendors["m3ter"]["measurements"] = sorted(_measurements(world))
    state: dict[str, Any] = json.loads(json.dumps({**vendors, "ledger": json.loads(named)}))
    return state


def _undate(world: World, began: int) -> None:
    """What came to be since then did so at that instant."""
    for table in (world.chargebee.invoices, world.chargebee.credit_notes, world.chargebee.promotional_credits):
        for row in [row for row in table.rows() if (row.get("date") or 0) >= began]:
            table.put(row["id"], {**row, "date": began}, world.clock.now_ms())


def _ids(world: World) -> list[tuple[str, str]]:
    """Ids that depend on when a thing was made, and on what it was made for."""
    invoices = list(world.chargebee.invoices.rows())
    drawn = [(line["id"], f"line {line['description']}") for row in invoices for line in row["line_items"]]
    drawn += [(row["id"], f"invoice of {len(row['line_items'])}") for row in invoices]
    drawn += [(row["id"], f"unbilled {row['description']}") for row in world.chargebee.unbilled_charges.rows()]
    return drawn + [(row["id"], f"mapping of {row['m3terId']}") for row in world.m3ter.mappings.rows()]


def _known(row: mappings.Mapping) -> list[Any]:
    return [row.kind, key_text(row.key), row.remote_id, row.state]


def _bills(rx: Reader) -> Iterator[str]:
    for state in bills.all(rx):
        yield f"bill {state.bill_id} {state.status} finished={state.finished}"
    for portion in bills.portions(rx):
        yield f"portion {portion.bill_id} {portion.subscription_id} {portion.state} {portion.wanted}"


def _usage(rx: Reader) -> Iterator[str]:
    """Batches of usage with what each holds; an upload job has the id that m3ter drew."""
    for mapping, input_hash in rx.execute(select(usage_batches.c.mapping, usage_batches.c.input_hash).distinct()).all():
        for batch in usage.batches(rx, mapping, input_hash):
            job = "a job" if batch.job_id else "no job"
            yield f"batch {batch.number} {batch.batch_hash} of {batch.members} {batch.state} by {job} {input_hash}"


def _inbox(rx: Reader) -> Iterator[str]:
    for row in rx.execute(select(inbox)):
        end = "waiting" if row.done_at is None else f"done {row.trouble or ''}"
        yield f"{row.source} {row.event_id} {row.resource} {row.resource_id} {end}"


def _measurements(world: World) -> Iterator[str]:
    """What m3ter will rate; one that came twice is here twice."""
    codes = {row["id"]: row["code"] for row in world.m3ter.accounts.rows()}
    for (account, meter), rows in world.m3ter.usage.rows.items():
        for row in rows:
            measures = {name: str(value) for name, value in row.measures.items()}
            yield f"{codes[account]} {meter} {row.ts_ms} {measures} {row.texts}"


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
