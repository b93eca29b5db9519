"""Accounts, account plans and external mappings in m3ter, many in flight. It has no keys: look before sending again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from connectors.m3ter import requests
from connectors.transport import Answer
from meterbridge.errors import BrokenInvariant, OutcomeUnknown, RecordRefused
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Reader, Writer
from meterbridge.rules.records import Key
from tasks.batch import Batch
from tasks.m3ter_writes import AlreadyTrue, made_by, prepare, resolved
from tasks.m3ter_writes import Send as Prepared
from tasks.write_protocol import Done, Send, Step, Write

logger = logging.getLogger(__name__)

STALE_VERSION = (400, 409)
"""How m3ter may answer a PUT whose version is no longer the stored one."""

LISTS_LAG_SECONDS = 600
"""So long after the first send a refusal may be about the very thing that an earlier try of ours made unseen."""


class M3terWrites(Write):
    """See the module."""

    width: ClassVar[int] = 200
    """At 45 requests a second well within a lease."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._work = batch.work
        self._lost: dict[int, OutcomeUnknown | None] = {}
        wanted = {ref for row in batch.rows for ref in _references(row.payload)}
        with self._work.ledger.read() as rx:
            self._known = mappings.remote_ids(rx, wanted | {(row.kind, row.key) for row in batch.rows})

    def look(self, row: IntentRow) -> Step:
        """What an earlier try would have made is looked up first; a change needs the thing as it is now."""
        found = self._prepare(row, look=row.state != "ready")
        if isinstance(found, AlreadyTrue):
            return self._stands(row, found.remote_id, found.found, written=False)
        return Send(found.request)

    def read(self, row: IntentRow, sent: Send, answer: Answer) -> Done:
        """The id of what was made."""
        if sent.request.method == "DELETE":
            return self._stands(row, str(row.payload.get("id", "")), None, written=True)
        made = made_by(row, answer)
        return self._stands(row, str(made["id"]), made, written=True)

    def failed(self, row: IntentRow, sent: Send, failure: RecordRefused | OutcomeUnknown) -> Step:
        """After a lost answer, or a refusal that may mean "already there" or "stale version": look, then send again.

        Once: what a second refusal means stays open while an earlier try may have made the thing unseen.
        """
        if row.id in self._lost:
            return self._end(row, failure)
        if isinstance(failure, RecordRefused) and failure.status not in STALE_VERSION:
            raise failure
        lost = failure if isinstance(failure, OutcomeUnknown) else None
        unseen = self._may_be_there(row, failure)
        try:
            found = self._prepare(row, look=True)
        except RecordRefused as second:
            raise lost or second from second
        if isinstance(found, AlreadyTrue):
            return self._stands(row, found.remote_id, found.found, written=lost is not None)
        if found.request == sent.request and lost is None:
            raise unseen or failure
        self._lost[row.id] = unseen
        return Send(found.request)

    def set_aside(self, tx: Writer, row: IntentRow, refusal: RecordRefused) -> RecordRefused:
        """A refused account code that differs from one of ours only in case gets its own code: both ids are known."""
        if (row.kind, row.action) == ("account", "create"):
            for known in mappings.all(tx, "account", active_only=True):
                names = {name.casefold() for name in (known.key[0], str(known.state.get("code") or ""))}
                if known.key != row.key and row.key[0].casefold() in names:
                    theirs = f"customer {known.key[0]}'s account {known.remote_id}"
                    message = f"customer {row.key[0]}: {theirs} has this id as its code, but for case"
                    return RecordRefused("MB-ACCOUNT-CLASH", message, key=row.key[0], status=refusal.status)
        return refusal

    def overtaken(self, row: IntentRow, done: Done) -> None:
        """A write that left after another run had taken the row over may have made a twin; a mapping's is removed.

        Accounts and account plans cannot have one: m3ter refuses a second code and a second active plan of a product.
        """
        made = done.remote_id
        if not done.written or row.kind != "external_mapping" or row.action == "delete" or not made:
            return
        with self._work.ledger.read() as rx:
            standing = _remote(rx, row.kind, row.key)
        if standing not in (None, made):
            logger.warning("the twin of an external mapping is removed", extra={"key": str(row.key)})
            self._work.m3ter.send(requests.delete_mapping(self._work.m3ter.organization_id, made))

    def _prepare(self, row: IntentRow, *, look: bool) -> Prepared | AlreadyTrue:
        known = self._known
        return prepare(self._work.m3ter, row, lambda *name: known.get(name), look=look, site=self._work.site)

    def _end(self, row: IntentRow, failure: RecordRefused | OutcomeUnknown) -> Step:
        raise self._lost[row.id] or failure

    def _may_be_there(self, row: IntentRow, failure: OutcomeUnknown | RecordRefused) -> OutcomeUnknown | None:
        """What stays unknown of a creation that is refused: an earlier try of ours may be what is in its way."""
        if row.action not in ("create", "replace"):
            return None
        if isinstance(failure, OutcomeUnknown):
            return failure
        now, first = self._work.clock.epoch(), row.first_sent_at
        if row.attempts == 0 or first is None or now - first > LISTS_LAG_SECONDS:
            return None
        return OutcomeUnknown("MB-OUTCOME-UNKNOWN", failure.message, key=str(row.key))

    def _stands(self, row: IntentRow, remote_id: str, shown: Mapping[str, Any] | None, *, written: bool) -> Done:
        def close(tx: Writer) -> bool:
            known = {} if shown is None or row.kind != "account_plan" else _epoch(tx, row, shown)
            return self._close(tx, row, remote_id, known, written=written)

        return Done(close, written=written, remote_id=remote_id)

    def _close(self, tx: Writer, row: IntentRow, remote_id: str, known: Mapping[str, Any], *, written: bool) -> bool:
        """Close the intent and remember what stands; False when another run has taken the row over."""
        state = {**resolved(dict(row.wanted), lambda kind, key: _remote(tx, kind, key)), **known}
        mapping = None
        if row.action != "delete":
            mapping = mappings.Mapping(
                kind=row.kind,
                key=row.key,
                remote_id=remote_id,
                fingerprint=row.fingerprint,
                scope=row.scope.partition(":")[2],
                state=state,
                active=True,
                source_version=row.source_version,
                run_id=self._batch.run.run_id,
            )
        outcome = {"remote_id": remote_id, "written": written}
        if not intents.applied(tx, row.id, self._batch.run.run_id, outcome, mapping=mapping):
            return False
        if row.action == "delete":
            mappings.deactivate(tx, row.kind, row.key)
        for old in state.get("replaces", ()):
            _end(tx, tuple(old), str(state["start"]))
        return True


def _epoch(tx: Reader, row: IntentRow, shown: Mapping[str, Any]) -> dict[str, str]:
    """The billing epoch that an account plan has, and the one that was asked for while m3ter keeps another."""
    stands = shown.get("billEpoch")
    before = mappings.get(tx, row.kind, row.key)
    asked = row.payload.get("billEpoch") or (before.state.get("bill_epoch_asked") if before else None)
    found = {"bill_epoch": stands, "bill_epoch_asked": None if asked == stands else asked}
    return {name: str(value) for name, value in found.items() if value is not None}


def _end(tx: Writer, key: Key, end: str) -> None:
    """The ledger's account plan that a replace ended ends at the same instant."""
    old = mappings.get(tx, "account_plan", key)
    if old is None:
        raise BrokenInvariant("MB-INVARIANT", f"the replaced account plan {key} is not in the ledger")
    if str(old.state["start"]) >= end:  # nothing is left of it; both are RFC 3339 text in UTC
        mappings.deactivate(tx, "account_plan", key)
    else:
        mappings.put(tx, replace(old, state={**old.state, "end": end}))


def _remote(tx: Reader, kind: str, key: Key) -> str | None:
    return mappings.remote_ids(tx, [(kind, key)]).get((kind, key))


def _references(value: Any) -> Iterable[tuple[str, Key]]:
    if isinstance(value, dict):
        if set(value) == {"$ref"}:
            yield value["$ref"][0], tuple(value["$ref"][1:])
        else:
            for item in value.values():
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
