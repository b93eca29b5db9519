"""The ledger's own sum for a bill: what it has noted as charged, credited, settled or under way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, select

from meterbridge.ledger import bills
from meterbridge.ledger.schema import IN_FLIGHT_STATES, intents, mappings
from meterbridge.ledger.transaction import Reader, Writer
from meterbridge.rules.keys import key_text

COUNTED = ("charge", "credit", "settled")


def noted(rx: Reader, bill_id: str, *, but: int | None = None) -> int:
    """Sum what the ledger has noted for a bill, in minor units.

    Charges count with what other bills' surplus took off them. What this bill's own surplus
    took off others' charges does not count: leaving it out can only make the sum too high.

    Args:
        bill_id: The m3ter bill.
        but: The id of an intent that is left out, in whatever state it is.
    """
    total = 0
    found = select(mappings.c.kind, mappings.c.state).where(
        mappings.c.connection == rx.connection,
        mappings.c.kind.in_(COUNTED),
        mappings.c.active.is_(True),
        begins_with(rx, mappings.c.natural_key, bill_id),
    )
    for kind, state in rx.execute(found):
        known = json.loads(state)
        total += known["amount"] + (carried_by(known) if kind == "charge" else 0)
    total += sum(row.wanted for row in bills.portions(rx, bill_id=bill_id) if row.state == "settled")
    return total + _in_flight(rx, bill_id, but)


def above(tx: Writer, intent_id: int, amount: int | None, payload: Mapping[str, Any], wanted: Mapping[str, Any]) -> int:
    """Return by how much a charge would lift the ledger's sum for its bill above the ceiling it was decided under.

    Zero where it stays below, and for charges of before there were ceilings. One transaction at a time asks
    about a bill, so that two runs cannot both fill the same room.

    Args:
        intent_id: The charge's, or the charge set's, intent.
        amount: Minor units.
        payload: What is sent; holds ``bill_id`` and ``ceiling``.
        wanted: What the ledger shall know of the charge.
    """
    if payload.get("ceiling") is None:
        return 0
    tx.take_turn(f"bill {payload['bill_id']}")
    after = noted(tx, payload["bill_id"], but=intent_id) + (amount or 0) + carried_by(wanted)
    return int(max(0, after - payload["ceiling"]))


def carried_by(known: Mapping[str, Any]) -> int:
    """What other bills' surplus took off a charge, from its state; minor units."""
    return sum(part["amount"] for part in known.get("carried", ()))


def _in_flight(rx: Reader, bill_id: str, but: int | None) -> int:
    flying = select(intents.c.id, intents.c.amount, intents.c.wanted).where(
        intents.c.connection == rx.connection,
        intents.c.kind.in_(("charge", "charge_set")),
        intents.c.state.in_(IN_FLIGHT_STATES),
        begins_with(rx, intents.c.natural_key, bill_id),
    )
    rows = [row for row in rx.execute(flying) if row.id != but]
    return sum((row.amount or 0) + carried_by(json.loads(row.wanted or "{}")) for row in rows)


def begins_with(rx: Reader, column: ColumnElement[str], first: str) -> ColumnElement[bool]:
    """True for natural keys whose first part is this one, in a form that an index answers."""
    prefix = f"{key_text((first,))[:-1]},"
    if rx.dialect == "postgresql":
        return column.startswith(prefix, autoescape=True)
    return (column >= prefix) & (column < f"{prefix[:-1]}-")  # the sign after the comma
