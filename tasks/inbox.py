"""Micro-batches of the inbox: taken, closed when the sync of what they name has ended, tried again, given up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import httpx
from prefect.exceptions import PrefectException

from connectors.hints import NOTHING, SAMPLE
from meterbridge.errors import MeterbridgeError, OutcomeUnknown, RetriableError, SetupError
from meterbridge.ledger import inbox, quarantine
from meterbridge.ledger.ledger import Ledger
from meterbridge.ledger.transaction import Writer
from meterbridge.rules.records import Kind, Quarantined
from tasks.report import RunReport
from tasks.runs import Request

logger = logging.getLogger(__name__)

Source = Literal["chargebee", "m3ter"]

TRIES = 5
FIRST_WAIT_SECONDS = 5.0
HELD_WAIT_SECONDS = 10.0
KEEP_SECONDS = 35 * 86_400
"""Done events are kept this long: Chargebee repeats one for three and a half days, people look back for weeks."""

PASSING = (RetriableError, SetupError, OutcomeUnknown, PrefectException, httpx.HTTPError)
"""Trouble that says nothing about the events: vendor, ledger, credentials or Prefect's server."""

FLOWS: dict[Source, str] = {"chargebee": "sync_subscriptions", "m3ter": "sync_bills"}
RECORDS: dict[str, Kind] = {"subscription": "account_plan", "customer": "account", "bill": "charge"}
"""What a scheduled run calls the thing that an event's resource becomes: there an event that is given up shows."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one vendor that are synced together."""

    source: Source
    rows: tuple[inbox.InboxRow, ...] = field(repr=False)

    @property
    def request(self) -> Request | None:
        """What to sync; None when no event of the batch concerns anything of ours."""
        events = [row.event for row in self.rows if row.event.resource not in (NOTHING, SAMPLE)]
        if not events:
            return None
        if any(event.resource == "bills" for event in events):
            return Request()  # some bill: the window of an ordinary run has it
        return Request(ids=tuple(dict.fromkeys(event.resource_id for event in events)), hints=tuple(events))


def take(ledger: Ledger, source: Source, limit: int) -> Batch | None:
    """The next events that are due, oldest first; None when there are none.

    Events that failed before go in smaller company each time, at last alone, so that
    the one that cannot pass is found and the others do not suffer for it.
    """
    with ledger.read() as rx:
        rows = inbox.pending(rx, limit, source=source, due_only=True)
    if not rows:
        return None
    attempts = rows[0].attempts
    alike = [row for row in rows if row.attempts == attempts]
    return Batch(source, tuple(alike[: company(limit, attempts)]))


def company(limit: int, attempts: int) -> int:
    """How many events are tried together after so many failures.

    >>> [company(500, attempts) for attempts in range(4)]
    [500, 25, 1, 1]
    """
    return max(1, limit // 20**attempts) if attempts < 2 else 1


@contextmanager
def settling(ledger: Ledger, batch: Batch) -> Iterator[list[RunReport]]:
    """Close the batch when the block ends well; give its events back when it does not. The block appends its report."""
    reports: list[RunReport] = []
    try:
        yield reports
    except PASSING:
        raise  # nothing is known against the events: they wait where they are
    except Exception as failure:
        _give_back(ledger, batch, failure)
        raise
    with ledger.write() as tx:
        if any(report.held for report in reports):
            inbox.later(tx, (row.id for row in batch.rows), wait=HELD_WAIT_SECONDS)
        else:
            inbox.done(tx, (row.id for row in batch.rows))
            inbox.forget(tx, ledger.now() - KEEP_SECONDS)
        tx.commit()
    logger.info("events drained", extra={"source": batch.source, "count": len(batch.rows)})


def _give_back(ledger: Ledger, batch: Batch, failure: Exception) -> None:
    trouble = failure.message if isinstance(failure, MeterbridgeError) else type(failure).__name__
    with ledger.write() as tx:
        for row in batch.rows:
            if row.attempts + 1 < TRIES:
                inbox.failed(tx, row, trouble, wait=FIRST_WAIT_SECONDS * 2**row.attempts)
            else:
                _give_up(tx, batch, row, trouble)
        tx.commit()
    logger.warning("events failed", extra={"source": batch.source, "count": len(batch.rows), "trouble": trouble})


def _give_up(tx: Writer, batch: Batch, row: inbox.InboxRow, trouble: str) -> None:
    """Set the record aside that an event names; the next scheduled run decides it again."""
    inbox.done(tx, [row.id], trouble=trouble)
    kind = RECORDS.get(row.event.resource)
    if kind is not None:
        message = f"event {row.event.event_id} ({row.event.event_type}) failed {TRIES} times: {trouble}"
        aside = Quarantined(kind, (row.event.resource_id,), "MB-EVENT", message)
        quarantine.put(tx, FLOWS[batch.source], aside, "inbox")
