"""Received events, once each: hints to read a record again, never the truth. No payload is kept.

An event waits (``done_at`` is empty) until the sync of what it names has ended. One
that fails for a reason of its own waits longer after each try (``try_after``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, or_, select, update

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import inbox
from meterbridge.ledger.transaction import Reader, Writer, chunks, insert_into, insert_new

KEYS = ("connection", "source", "event_id")


@dataclass(frozen=True, slots=True)
class Event:
    """What a webhook told: ``source`` is the vendor, ``resource`` and ``resource_id`` name what to read again.

    ``occurred_at`` is in epoch seconds, None where the vendor does not say; so is
    ``resource_version``, the version of the resource that the event tells of.
    """

    source: str
    event_id: str
    event_type: str
    resource: str
    resource_id: str
    occurred_at: float | None = None
    resource_version: int | None = None


@dataclass(frozen=True, slots=True)
class InboxRow:
    """An event in the inbox; ``id`` is for :func:`done`, ``attempts`` counts tries that failed for its own reason."""

    id: int
    event: Event
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the inbox; ``oldest`` is when the oldest waiting event came, epoch seconds."""

    waiting: int
    oldest: float | None


def put(tx: Writer, event: Event) -> bool:
    """Keep an event; False if it is here already."""
    return insert_new(tx, inbox, {**_columns(tx, event), "received_at": EpochNow()}, KEYS)


def put_all(tx: Writer, events: Sequence[Event]) -> None:
    """Keep many events in one statement; those that are here already stay as they are."""
    if events:
        insert = insert_into(tx, inbox).values(received_at=EpochNow()).on_conflict_do_nothing(index_elements=list(KEYS))
        tx.execute(insert, [_columns(tx, event) for event in events])


def pending(rx: Reader, limit: int = 1_000, *, source: str | None = None, due_only: bool = False) -> list[InboxRow]:
    """Events not yet done, in the order of arrival; of one vendor, and without those that wait for their next try."""
    query = select(inbox).where(inbox.c.connection == rx.connection, inbox.c.done_at.is_(None))
    if source is not None:
        query = query.where(inbox.c.source == source)
    if due_only:
        query = query.where(or_(inbox.c.try_after.is_(None), inbox.c.try_after <= EpochNow()))
    return [
        InboxRow(
            row.id,
            Event(
                row.source,
                row.event_id,
                row.event_type,
                row.resource,
                row.resource_id,
                row.occurred_at,
                row.resource_version,
            ),
            row.attempts or 0,
        )
        for row in rx.execute(query.order_by(inbox.c.id).limit(limit))
    ]


def backlog(rx: Reader) -> Backlog:
    """How many events wait, and since when."""
    query = select(func.count(), func.min(inbox.c.received_at))
    row = rx.execute(query.where(inbox.c.connection == rx.connection, inbox.c.done_at.is_(None))).one()
    return Backlog(int(row[0]), row[1])


def done(tx: Writer, ids: Iterable[int], *, trouble: str | None = None) -> int:
    """Close events, with the trouble that made somebody give them up, if any; returns how many were pending."""
    closed = 0
    for some in chunks(ids):
        ours = (inbox.c.connection == tx.connection) & inbox.c.id.in_(some) & inbox.c.done_at.is_(None)
        closed += tx.execute(update(inbox).where(ours).values(done_at=EpochNow(), trouble=trouble)).rowcount
    return closed


def failed(tx: Writer, row: InboxRow, trouble: str, *, wait: float) -> None:
    """Count one more try of a pending event that failed; it is due again after ``wait`` seconds."""
    ours = (inbox.c.connection == tx.connection) & (inbox.c.id == row.id) & inbox.c.done_at.is_(None)
    values: dict[str, Any] = {"attempts": row.attempts + 1, "try_after": EpochNow() + wait, "trouble": trouble}
    tx.execute(update(inbox).where(ours).values(values))


def later(tx: Writer, ids: Iterable[int], *, wait: float) -> None:
    """Let pending events wait, through no fault of their own; they are due again after ``wait`` seconds."""
    for some in chunks(ids):
        ours = (inbox.c.connection == tx.connection) & inbox.c.id.in_(some) & inbox.c.done_at.is_(None)
        tx.execute(update(inbox).where(ours).values(try_after=EpochNow() + wait))


def forget(tx: Writer, before: float) -> int:
    """Remove events that are done and came before an instant (epoch seconds); returns how many.

    A copy of an event that comes after this is taken for a new one, so keep them longer than vendors repeat.
    """
    old = (inbox.c.connection == tx.connection) & (inbox.c.received_at < before) & inbox.c.done_at.is_not(None)
    return tx.execute(delete(inbox).where(old)).rowcount


def _columns(tx: Writer, event: Event) -> dict[str, Any]:
    return {
        "connection": tx.connection,
        "source": event.source,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "resource": event.resource,
        "resource_id": event.resource_id,
        "occurred_at": event.occurred_at,
        "resource_version": event.resource_version,
    }
