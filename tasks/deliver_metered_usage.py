"""Usage records to Chargebee under ids of our own: what a lost answer did is found by the id, whenever it is asked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.chargebee import requests
from connectors.transport import Request
from meterbridge.clock import boottime
from meterbridge.errors import RecordRefused, RetriableError
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.metered_usage import usage_id
from tasks.keyed_writes import answer, mark
from tasks.receipts import Receipt
from tasks.runs import Run
from tasks.services import SENDING_SHARE, Services

logger = logging.getLogger(__name__)

REVISIONS_SOUGHT = 8
"""Chargebee says only that some record stands at a second; each of our ids is a strong read."""


def send(work: Services, run: Run, rows: Sequence[IntentRow]) -> Receipt:
    """Write the records one after the other; one that Chargebee refuses stops no other.

    Raises:
        RetriableError: Chargebee is down or an outcome is unknown; what was not sent is ready again.
        SetupError: Chargebee refuses our credentials.
    """
    desk = _Desk(work, run, rows)
    try:
        for row in rows:
            desk.renew()
            desk.write(row)
    finally:
        with work.ledger.write() as tx:
            for row in rows:
                intents.release(tx, row.id, run.run_id)
            tx.commit()
    return desk.receipt


class _Desk:
    """One batch at work, under one lease."""

    def __init__(self, work: Services, run: Run, rows: Sequence[IntentRow]) -> None:
        self._work = work
        self._run = run
        self._rows = rows
        self._until = boottime() + work.settings.lease_seconds * SENDING_SHARE
        self.receipt = Receipt(claimed=len(rows))

    def renew(self) -> None:
        """Renew the lease once half of it is gone.

        Raises:
            RetriableError: MB-HELD, it ran out and another run has taken over.
        """
        lease = self._work.settings.lease_seconds
        if boottime() > self._until - lease / 2:
            until = boottime() + lease * SENDING_SHARE
            with self._work.ledger.write() as tx:
                ours = intents.renew(tx, [row.id for row in self._rows], self._run.run_id, lease)
                tx.commit()
            if ours:
                self._until = until
        if boottime() >= self._until:
            raise RetriableError("MB-HELD", "the lease on usage records ran out before they were sent")

    def write(self, row: IntentRow) -> None:
        """One write; what an earlier attempt did is looked up first."""
        removal = row.kind == "usage_removal"
        try:
            if row.state != "ready":
                there = self._there(row)
                if removal and there is None:
                    return self._apply(row, written=True)
                if not removal and there is not None:
                    _check(row, there)
                    return self._apply(row, written=True)
            self._send_off(row)
        except RecordRefused as refusal:
            with self._work.ledger.write() as tx:
                self.receipt.set_aside(tx, self._run, row, refusal)
                tx.commit()

    def _send_off(self, row: IntentRow) -> None:
        try:
            made = self._transmit(row)
        except RecordRefused as refusal:
            if row.kind == "usage_removal":
                return self._not_removed(row, refusal)
            if refusal.vendor_code != "duplicate_entry":
                raise
            row, made = self._standing(row)
            if made is None:
                words = f"another record stands at the second of {row.payload['usage_id']}"
                raise RecordRefused("MB-USAGE-CLASH", words) from refusal
            _check(row, made)
            return self._apply(row, written=False)
        if row.kind == "usage":
            _check(row, made)
        return self._apply(row, written=True)

    def _not_removed(self, row: IntentRow, refusal: RecordRefused) -> None:
        if refusal.status == 404:
            return self._apply(row, written=False)
        if refusal.status == 409:
            words = f"{row.reason}, but {row.payload['usage_id']} is invoiced"
            raise RecordRefused("MB-USAGE-INVOICED", words) from refusal
        raise refusal

    def _there(self, row: IntentRow) -> dict[str, Any] | None:
        return self._work.chargebee.usage_or_none(row.payload["subscription_id"], row.payload["usage_id"])

    def _standing(self, row: IntentRow) -> tuple[IntentRow, dict[str, Any] | None]:
        """Our record at that second, and the intent as of then: only a lost ledger knew how often it was replaced."""
        if (made := self._there(row)) is not None:
            return row, made
        first = int(row.wanted["revision"]) + 1
        for revision in range(first, first + REVISIONS_SOUGHT):
            name = {"usage_id": usage_id(row.key, revision)}
            later = replace(row, payload={**row.payload, **name}, wanted={**row.wanted, **name, "revision": revision})
            if (made := self._there(later)) is not None:
                return later, made
        return row, None

    def _transmit(self, row: IntentRow) -> dict[str, Any] | None:
        name = f"usage {row.key}"
        sent = answer(self._work, self._run, row, mark(self._work, self._run, row, render(row), name), name)
        body = sent.json()
        made = body.get("usage") if isinstance(body, dict) else None
        return made if isinstance(made, dict) else None

    def _apply(self, row: IntentRow, *, written: bool) -> None:
        with self._work.ledger.write() as tx:
            found = _deleted(tx, row) if row.kind == "usage_removal" else _made(row, self._run)
            if intents.applied(tx, row.id, self._run.run_id, {"written": written}, mapping=found):
                self.receipt.concluded += 1
                if written:
                    self.receipt.took(row)
            tx.commit()


def render(row: IntentRow) -> Request:
    """The exact request of a write, stored before it is sent."""
    payload = row.payload
    if row.kind == "usage_removal":
        return requests.delete_usage(subscription_id=payload["subscription_id"], usage_id=payload["usage_id"])
    return requests.create_usage(
        subscription_id=payload["subscription_id"],
        usage_id=payload["usage_id"],
        item_price_id=payload["item_price_id"],
        quantity=payload["quantity"],
        usage_date=payload["usage_date"],
        note=payload["note"],
    )


def _check(row: IntentRow, made: dict[str, Any] | None) -> None:
    """Unknown parameters are silently ignored at Chargebee: only what the record shows counts."""
    wanted = {name: row.payload[name] for name in ("item_price_id", "usage_date")} | {"id": row.payload["usage_id"]}
    stands = {name: (made or {}).get(name) for name in wanted}
    try:
        same = Decimal(str((made or {}).get("quantity"))) == Decimal(row.payload["quantity"])
    except InvalidOperation:
        same = False
    if made is None or stands != wanted or not same:
        found = (
            "nothing" if made is None else f"{made.get('id')} with {made.get('quantity')} at {made.get('usage_date')}"
        )
        words = f"{row.payload['usage_id']}: {row.payload['quantity']} was to be recorded, Chargebee shows {found}"
        raise RecordRefused("MB-USAGE-CLASH", words)


def _made(row: IntentRow, run: Run) -> mappings.Mapping:
    return mappings.Mapping(
        "usage", row.key, row.payload["usage_id"], row.fingerprint, row.scope, row.wanted, run_id=run.run_id
    )


def _deleted(tx: Writer, row: IntentRow) -> mappings.Mapping | None:
    """The record's mapping as history: its revision is not used again."""
    known = mappings.get(tx, "usage", tuple(row.payload["record"]))
    return replace(known, active=False) if known is not None and known.remote_id == row.payload["usage_id"] else None
