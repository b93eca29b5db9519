"""Usage records to Chargebee under ids of our own: what a lost answer did is found by the id, whenever it is asked."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.chargebee import requests
from connectors.transport import Answer, Request
from meterbridge.errors import OutcomeUnknown, RecordRefused
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.metered_usage import usage_id
from tasks.batch import Batch, stored
from tasks.write_protocol import Done, Send, Step, Write

REVISIONS_SOUGHT = 8
"""Chargebee says only that some record stands at a second; each of our ids is a strong read."""

Made = dict[str, Any]


class _ById(Write):
    """What usage records and their removals share: an earlier attempt is looked up by the record's id."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._work = batch.work

    def _there(self, row: IntentRow) -> Made | None:
        return self._work.chargebee.usage_or_none(row.payload["subscription_id"], row.payload["usage_id"])

    def _applied(self, tx: Writer, row: IntentRow, mapping: mappings.Mapping | None, *, written: bool) -> bool:
        return intents.applied(tx, row.id, self._batch.run.run_id, {"written": written}, mapping=mapping)


class UsageRecords(_ById):
    """A record of usage at a second."""

    def look(self, row: IntentRow) -> Step:
        """What an earlier attempt did is looked up first."""
        there = None if row.state == "ready" else self._there(row)
        if there is not None:
            return self._stands(row, there, written=True)
        return Send(stored(row, render(row)), again=self._batch.knows_key(row))

    def read(self, row: IntentRow, sent: Send, answer: Answer) -> Done:
        """The record as the answer shows it."""
        del sent
        body = answer.json()
        made = body.get("usage") if isinstance(body, dict) else None
        return self._stands(row, made if isinstance(made, dict) else None, written=True)

    def failed(self, row: IntentRow, sent: Send, failure: RecordRefused | OutcomeUnknown) -> Step:
        """Another record at that second may be ours, as of an attempt that only a lost ledger knew of."""
        del sent
        if not isinstance(failure, RecordRefused) or failure.vendor_code != "duplicate_entry":
            raise failure
        row, made = self._standing(row)
        if made is None:
            words = f"another record stands at the second of {row.payload['usage_id']}"
            raise RecordRefused("MB-USAGE-CLASH", words) from failure
        return self._stands(row, made, written=False)

    def _standing(self, row: IntentRow) -> tuple[IntentRow, Made | None]:
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

    def _stands(self, row: IntentRow, made: Made | None, *, written: bool) -> Done:
        _check(row, made)
        mapping = mappings.Mapping(
            "usage",
            row.key,
            row.payload["usage_id"],
            row.fingerprint,
            row.scope,
            row.wanted,
            run_id=self._batch.run.run_id,
        )
        return Done(lambda tx: self._applied(tx, row, mapping, written=written), written=written)


class UsageRemovals(_ById):
    """A record of usage that goes again."""

    def look(self, row: IntentRow) -> Step:
        """What an earlier attempt did is looked up first."""
        if row.state != "ready" and self._there(row) is None:
            return self._gone(row, written=True)
        payload = row.payload
        request = requests.delete_usage(subscription_id=payload["subscription_id"], usage_id=payload["usage_id"])
        return Send(stored(row, request), again=self._batch.knows_key(row))

    def read(self, row: IntentRow, sent: Send, answer: Answer) -> Done:
        """An answer says that it is deleted."""
        del sent, answer
        return self._gone(row, written=True)

    def failed(self, row: IntentRow, sent: Send, failure: RecordRefused | OutcomeUnknown) -> Step:
        """Gone already, or invoiced: then it stays. Only the record itself tells which."""
        del sent
        if isinstance(failure, RecordRefused):
            if failure.status == 404 or (failure.status == 409 and self._there(row) is None):
                return self._gone(row, written=False)
            if failure.status == 409:
                words = f"{row.reason}, but {row.payload['usage_id']} is invoiced"
                raise RecordRefused("MB-USAGE-INVOICED", words) from failure
        raise failure

    def _gone(self, row: IntentRow, *, written: bool) -> Done:
        return Done(lambda tx: self._applied(tx, row, _deleted(tx, row), written=written), written=written)


def render(row: IntentRow) -> Request:
    """The exact request of a record, stored before it is sent."""
    payload = row.payload
    return requests.create_usage(
        subscription_id=payload["subscription_id"],
        usage_id=payload["usage_id"],
        item_price_id=payload["item_price_id"],
        quantity=payload["quantity"],
        usage_date=payload["usage_date"],
        note=payload["note"],
    )


def _check(row: IntentRow, made: Made | None) -> None:
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


def _deleted(tx: Writer, row: IntentRow) -> mappings.Mapping | None:
    """The record's mapping as history: its revision is not used again."""
    known = mappings.get(tx, "usage", tuple(row.payload["record"]))
    return replace(known, active=False) if known is not None and known.remote_id == row.payload["usage_id"] else None
