"""m3ter writes in batches: prepare by reading, commit as ``sending``, send by threads, commit the outcomes."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from connectors.m3ter import requests
from connectors.transport import Request
from meterbridge.clock import boottime
from meterbridge.errors import BrokenInvariant, MeterbridgeError, OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Reader, Writer
from meterbridge.rules.records import Key
from tasks.m3ter_writes import AlreadyTrue, Send, prepare, remote_id_of, resolved
from tasks.receipts import Receipt
from tasks.runs import Run
from tasks.services import SENDING_SHARE, Services

logger = logging.getLogger(__name__)

CHUNK = 200
"""Rows committed as ``sending`` together: at 45 requests a second well within a lease."""

STALE_VERSION = (400, 409)
"""How m3ter may answer a PUT whose version is no longer the stored one."""

LISTS_LAG_SECONDS = 600
"""So long after the first send a refusal may be about the very thing that an earlier try of ours made unseen."""


@dataclass(slots=True)
class Outcome:
    """What became of one row in this batch.

    ``failure`` OutcomeUnknown: a write may have landed, RecordRefused: it did not and never
    will, any other: nothing was executed. None of them and no ``remote_id``: left to another run.
    """

    row: IntentRow
    remote_id: str | None = None
    failure: MeterbridgeError | None = None
    written: bool = False
    sent: bool = False


def send(work: Services, run: Run, rows: Sequence[IntentRow]) -> Receipt:
    """Deliver the rows; one row's failure stops no other.

    Raises:
        RetriableError: m3ter is down or kept throttling; what was not sent is ready again.
        SetupError: m3ter refuses our credentials.
    """
    receipt = Receipt(claimed=len(rows))
    trouble: MeterbridgeError | None = None
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        if trouble is None:
            outcomes = _send_chunk(work, run, chunk)
            trouble = _record(work, run, outcomes, receipt)
        else:
            _release(work, run, chunk)
    if trouble is not None:
        raise trouble
    return receipt


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Rows at work together: ``until`` when writes may start (on boottime), remote ids by kind and key."""

    work: Services
    run: Run
    until: float
    known: dict[tuple[str, Key], str]

    def prepare(self, row: IntentRow, *, look: bool) -> Send | AlreadyTrue:
        """See :func:`tasks.m3ter_writes.prepare`."""
        return prepare(self.work.m3ter, row, lambda kind, key: self.known.get((kind, key)), look=look)


@dataclass(slots=True)
class _Ready:
    row: IntentRow
    request: Request


def _send_chunk(work: Services, run: Run, rows: Sequence[IntentRow]) -> list[Outcome]:
    until = boottime() + work.settings.lease_seconds * SENDING_SHARE
    with work.ledger.write() as tx:
        intents.renew(tx, [row.id for row in rows], run.run_id, work.settings.lease_seconds)
        known = _resolver(tx, rows)
        tx.commit()
    at_work = _Chunk(work, run, until, known)
    with ThreadPoolExecutor(work.settings.deliver_threads) as pool:
        prepared = list(pool.map(lambda row: _prepare(at_work, row), rows))
        marked = _mark(work, run, [one for one in prepared if isinstance(one, _Ready)])
        groups: dict[str, list[_Ready | Outcome]] = defaultdict(list)
        for one in prepared:
            groups[one.row.scope.casefold()].append(one)  # m3ter takes codes that differ in case for one
        # One write in flight per account: the rows of a scope go out one after the other.
        sent = pool.map(lambda group: [_deliver(at_work, one, marked) for one in group], groups.values())
        return [outcome for group in sent for outcome in group]


def _mark(work: Services, run: Run, ready: Sequence[_Ready]) -> set[int]:
    """Commit the requests before any leaves; returns the ids that may be sent."""
    now = work.clock.epoch()
    fresh = {one.row.id: one.request.to_json() for one in ready if one.row.state == "ready"}
    with work.ledger.write() as tx:
        marked = set(intents.mark_sending_many(tx, fresh, run.run_id, at=now))
        for one in ready:
            again = one.row.state != "ready"
            if again and intents.reattempt(tx, one.row.id, run.run_id, at=now, request=one.request.to_json()):
                marked.add(one.row.id)
        tx.commit()
    return marked


def _prepare(chunk: _Chunk, row: IntentRow) -> _Ready | Outcome:
    try:
        found = chunk.prepare(row, look=row.state != "ready")
    except MeterbridgeError as failure:
        return Outcome(row, failure=failure)
    match found:
        case AlreadyTrue(remote_id):
            return Outcome(row, remote_id=remote_id)
        case Send(request):
            return _Ready(row, request)


def _deliver(chunk: _Chunk, one: _Ready | Outcome, marked: set[int]) -> Outcome:
    if isinstance(one, Outcome):
        return one
    if one.row.id not in marked or boottime() > chunk.until:
        return Outcome(one.row, sent=one.row.id in marked and one.row.state != "ready")
    try:
        answer = chunk.work.m3ter.send(one.request)
        return Outcome(one.row, remote_id=_made(one, answer), written=True, sent=True)
    except (OutcomeUnknown, RecordRefused) as failure:
        return _look_again(chunk, one, failure)
    except MeterbridgeError as failure:
        return Outcome(one.row, failure=failure, sent=True)


def _made(one: _Ready, answer: Any) -> str:
    if one.request.method == "DELETE":
        return str(one.row.payload.get("id", ""))
    return remote_id_of(one.row, answer)


def _look_again(chunk: _Chunk, one: _Ready, failure: OutcomeUnknown | RecordRefused) -> Outcome:
    """After a lost answer, or a refusal that may mean "already there" or "stale version": look, then send again.

    What a refusal means stays open while an earlier try may have made the thing and no list shows it yet.
    """
    if isinstance(failure, RecordRefused) and failure.status not in STALE_VERSION:
        return Outcome(one.row, failure=failure)
    lost = failure if isinstance(failure, OutcomeUnknown) else None
    unseen = _may_be_there(chunk, one, failure)
    try:
        found = chunk.prepare(one.row, look=True)
    except MeterbridgeError as second:
        return Outcome(one.row, failure=lost or second, sent=True)
    if isinstance(found, AlreadyTrue):
        return Outcome(one.row, remote_id=found.remote_id, written=lost is not None, sent=True)
    if found.request == one.request and lost is None:
        return Outcome(one.row, failure=unseen or failure, sent=True)
    if not _again(chunk.work, chunk.run, one.row, found.request) or boottime() > chunk.until:
        return Outcome(one.row, failure=lost, sent=True)
    try:
        answer = chunk.work.m3ter.send(found.request)
        return Outcome(one.row, remote_id=_made(_Ready(one.row, found.request), answer), written=True, sent=True)
    except RecordRefused as second:
        return Outcome(one.row, failure=unseen or second, sent=True)
    except MeterbridgeError as second:
        return Outcome(one.row, failure=lost or second, sent=True)


def _may_be_there(chunk: _Chunk, one: _Ready, failure: OutcomeUnknown | RecordRefused) -> OutcomeUnknown | None:
    """What stays unknown of a creation that is refused: an earlier try of ours may be what is in its way."""
    if one.row.action not in ("create", "replace"):
        return None
    if isinstance(failure, OutcomeUnknown):
        return failure
    first = one.row.first_sent_at
    if one.row.state == "ready" or first is None or chunk.work.clock.epoch() - first > LISTS_LAG_SECONDS:
        return None
    return OutcomeUnknown("MB-OUTCOME-UNKNOWN", failure.message, key=str(one.row.key))


def _again(work: Services, run: Run, row: IntentRow, request: Request) -> bool:
    """Write another attempt down before it leaves; False: another run has the row."""
    with work.ledger.write() as tx:
        ours = intents.reattempt(tx, row.id, run.run_id, at=work.clock.epoch(), request=request.to_json())
        tx.commit()
    return ours


def _record(work: Services, run: Run, outcomes: Sequence[Outcome], receipt: Receipt) -> MeterbridgeError | None:
    """Write the outcomes down in one transaction; returns what must stop the batch, if anything."""
    trouble: MeterbridgeError | None = None
    twins: list[Outcome] = []
    with work.ledger.write() as tx:
        for outcome in outcomes:
            row, failure = outcome.row, outcome.failure
            if failure is None and outcome.remote_id is None:
                intents.release(tx, row.id, run.run_id)
            elif failure is None:
                if not _apply(tx, run, outcome, receipt) and outcome.written:
                    twins.append(outcome)
            elif isinstance(failure, RecordRefused):
                receipt.set_aside(tx, run, row, _explained(tx, row, failure))
            elif isinstance(failure, OutcomeUnknown):
                intents.unknown(tx, row.id, run.run_id, failure.message)
                trouble = trouble or RetriableError("MB-OUTCOME-UNKNOWN", failure.message, key=str(row.key))
            else:
                # The connector says so only when nothing was executed. What was not sent now may have been before.
                if not (outcome.sent and intents.unsent(tx, row.id, run.run_id)):
                    intents.release(tx, row.id, run.run_id)
                trouble = failure
        tx.commit()
    for twin in twins:
        _take_back(work, twin)
    return trouble


def _take_back(work: Services, outcome: Outcome) -> None:
    """A write that left after another run had taken the row over may have made a twin; a mapping's is removed.

    Accounts and account plans cannot have one: m3ter refuses a second code and a second active plan of a product.
    """
    row = outcome.row
    if row.kind != "external_mapping" or row.action == "delete" or outcome.remote_id is None:
        return
    with work.ledger.read() as rx:
        standing = _remote(rx, row.kind, row.key)
    if standing not in (None, outcome.remote_id):
        logger.warning("the twin of an external mapping is removed", extra={"key": str(row.key)})
        work.m3ter.send(requests.delete_mapping(work.m3ter.organization_id, outcome.remote_id))


def _explained(tx: Writer, row: IntentRow, failure: RecordRefused) -> RecordRefused:
    """A refused account code that differs from one of ours only in case gets its own code: both ids are known."""
    if (row.kind, row.action) == ("account", "create"):
        for known in mappings.all(tx, "account", active_only=True):
            if known.key != row.key and known.key[0].casefold() == row.key[0].casefold():
                message = (
                    f"customer {row.key[0]}: customer {known.key[0]}'s account {known.remote_id} differs in case only"
                )
                return RecordRefused("MB-ACCOUNT-CLASH", message, key=row.key[0], status=failure.status)
    return failure


def _apply(tx: Writer, run: Run, outcome: Outcome, receipt: Receipt) -> bool:
    """Close the intent and remember what stands; False when another run has taken the row over."""
    row = outcome.row
    remote_id = outcome.remote_id or ""
    state = resolved(dict(row.wanted), lambda kind, key: _remote(tx, kind, key))
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
            run_id=run.run_id,
        )
    if not intents.applied(
        tx, row.id, run.run_id, {"remote_id": remote_id, "written": outcome.written}, mapping=mapping
    ):
        return False
    receipt.concluded += 1
    if row.action == "delete":
        mappings.deactivate(tx, row.kind, row.key)
    for old in state.get("replaces", ()):
        _end(tx, tuple(old), str(state["start"]))
    if outcome.written:
        receipt.took(row)
    return True


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


def _resolver(tx: Writer, rows: Sequence[IntentRow]) -> dict[tuple[str, Key], str]:
    """Remote ids of everything that the rows refer to, read once for the chunk."""
    wanted = {ref for row in rows for ref in _references(row.payload)} | {(row.kind, row.key) for row in rows}
    return mappings.remote_ids(tx, wanted)


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


def _release(work: Services, run: Run, rows: Sequence[IntentRow]) -> None:
    with work.ledger.write() as tx:
        for row in rows:
            if row.state == "ready":
                intents.release(tx, row.id, run.run_id)
        tx.commit()
