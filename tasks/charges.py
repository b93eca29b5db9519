"""Charges on one pending invoice: confirmed right before, written one at a time, every answer checked."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.chargebee import requests
from connectors.chargebee.models import Invoice
from connectors.transport import Request
from meterbridge.errors import BrokenInvariant
from meterbridge.ledger.intents import IntentRow
from meterbridge.rules.booked import Wish
from meterbridge.rules.records import InvoiceLine
from meterbridge.staging.moments import instant

logger = logging.getLogger(__name__)


def render(row: IntentRow) -> Request:
    """The exact request of a charge, stored before it is sent."""
    payload = row.payload
    shared: dict[str, Any] = {
        "date_from": payload["date_from"],
        "date_to": payload["date_to"],
        "subscription_id": None if payload.get("unnamed") else payload["subscription_id"],
        "comment": f"meterbridge {payload['reference']}",
    }
    if payload["method"] == "add_charge_item":
        return requests.add_charge_item(
            payload["invoice_id"], item_price_id=payload["item_price_id"], unit_price=payload["amount"], **shared
        )
    if payload["method"] == "add_charge":
        return requests.add_charge(
            payload["invoice_id"], amount=payload["amount"], description=payload["description"], **shared
        )
    raise BrokenInvariant("MB-INVARIANT", f"no Chargebee request for {payload['method']}")


def item_price(row: IntentRow) -> str | None:
    """The charge item price that the row books, if any."""
    price: str | None = row.payload.get("item_price_id")
    return price


def wish(row: IntentRow) -> Wish:
    """The line that the row asks for."""
    payload = row.payload
    is_item = payload["method"] == "add_charge_item"
    return Wish(
        entity_type="charge_item_price" if is_item else "adhoc",
        entity_id=payload.get("item_price_id") if is_item else None,
        reference=payload["reference"],
        date_from=payload["date_from"],
        date_to=payload["date_to"],
        subscription_id=payload["subscription_id"],
        amount=payload["amount"],
    )


def wish_of(known: Mapping[str, Any]) -> Wish:
    """The line that a charge stands as by the ledger, from its row or state there."""
    return Wish(
        entity_type=known["entity_type"],
        entity_id=known["entity_id"],
        reference=known["reference"],
        date_from=int(known["date_from"]),
        date_to=int(known["date_to"]),
        subscription_id=known["subscription_id"],
        amount=int(known["amount"]),
    )


def lines_of(invoice: Invoice) -> list[InvoiceLine]:
    """The invoice's lines as rules take them; a line without a subscription is the invoice's own one's."""
    return [
        InvoiceLine(
            id=line.id,
            entity_type=line.entity_type,
            entity_id=line.entity_id,
            description=line.description or "",
            date_from=instant(line.date_from),
            date_to=instant(line.date_to),
            amount=line.amount or 0,
            subscription_id=line.subscription_id or invoice.subscription_id,
        )
        for line in invoice.line_items
        if line.id is not None
    ]


def signature(line: InvoiceLine) -> str:
    """What equal lines share even when their ids are renewed as the draft closes."""
    dates = [int(d.timestamp()) if d else 0 for d in (line.date_from, line.date_to)]
    return "|".join(
        map(str, [line.entity_type, line.entity_id or "", line.description, *dates, line.subscription_id, line.amount])
    )


def baseline(lines: Sequence[InvoiceLine]) -> dict[str, Any]:
    """What stood before a send: line ids, and a count per signature for when the draft closes meanwhile."""
    return {"line_ids": [line.id for line in lines], "signatures": dict(Counter(signature(line) for line in lines))}
