"""Received events, once each: hints to read a record again, never the truth. No payload is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select, update

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import inbox
from meterbridge.ledger.transaction import Reader, Writer, chunks, insert_new


@dataclass(frozen=True, slots=True)
class Event:
    """What a webhook told: ``source`` is the vendor, ``resource`` and ``resource_id`` name what to read again.

    ``occurred_at`` is in epoch seconds, None where the vendor does not say.
    """

    source: str
    event_id: str
    event_type: str
    resource: str
    resource_id: str
    occurred_at: float | None = None


@dataclass(frozen=True, slots=True)
class InboxRow:
    """An event in the inbox; ``id`` is for :func:`done`."""

    id: int
    event: Event


def put(tx: Writer, event: Event) -> bool:
    """Keep an event; False if it is here already."""
    row = {
        "connection": tx.connection,
        "source": event.source,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "resource": event.resource,
        "resource_id": event.resource_id,
        "occurred_at": event.occurred_at,
        "received_at": EpochNow(),
    }
    return insert_new(tx, inbox, row, ["connection", "source", "event_id"])


def pending(rx: Reader, limit: int = 1_000) -> list[InboxRow]:
    """Events not yet done, in the order of arrival."""
    query = select(inbox).where(inbox.c.connection == rx.connection, inbox.c.done_at.is_(None))
    return [
        InboxRow(
            row.id,
            Event(row.source, row.event_id, row.event_type, row.resource, row.resource_id, row.occurred_at),
        )
        for row in rx.execute(query.order_by(inbox.c.id).limit(limit))
    ]


def done(tx: Writer, ids: Iterable[int]) -> int:
    """Close events; returns how many were pending."""
    closed = 0
    for some in chunks(ids):
        ours = (inbox.c.connection == tx.connection) & inbox.c.id.in_(some) & inbox.c.done_at.is_(None)
        closed += tx.execute(update(inbox).where(ours).values(done_at=EpochNow())).rowcount
    return closed
