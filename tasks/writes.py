"""One protocol for every write: renew the lease, look again, mark, send, hear the answer, write down, release.

A kind of write is one class (:class:`Write`): what to look for, what to send, how to read the answer and what to
write down. Nothing else renews a lease, marks a row ``sending`` or says what became of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, assert_never

from connectors.transport import Answer
from meterbridge.clock import boottime
from meterbridge.errors import MeterbridgeError, OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import bill_accounts, intents
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.ledger.transaction import chunks
from meterbridge.rules.money import amount_text
from tasks.batch import Batch
from tasks.receipts import Receipt
from tasks.runs import Run
from tasks.services import Services
from tasks.write_protocol import Done, Failed, Later, Left, Open, Outcome, Send, Superseded, Write, Wrong

logger = logging.getLogger(__name__)

BUSY = (409, 429)
"""How a vendor answers a call whose first try it may still be at work on."""

BUSY_SECONDS = 120
"""So long one run waits for that: longer than a vendor works on a write. The row stays open for the next run."""

SHORTEST_PAUSE = 0.5

TAKEN = "the lease on it ran out, another run has it"
LATE = "the lease on it ran out before it was sent"

MOST_UNWRITTEN = 100
"""Outcomes that may wait for the next mark's commit."""


def send(work: Services, run: Run, writes: Open, rows: Sequence[IntentRow]) -> Receipt:
    """Write the rows; one that is refused stops no other.

    Raises:
        RetriableError: A vendor is down or an outcome is unknown; what was not sent is ready again.
        SetupError: A vendor refuses our credentials.
    """
    batch = Batch.open(work, run, rows)
    write = writes(batch)
    try:
        alone, beside = write.lanes(rows)
        for lane in alone:
            _Lane(batch, write).go(lane)
        with ThreadPoolExecutor(work.settings.deliver_threads) as pool:
            list(pool.map(lambda lane: _Lane(batch, write).go(lane), beside))
    finally:
        batch.release()
    if batch.trouble is not None:
        raise batch.trouble
    return batch.receipt


def send_within(batch: Batch, writes: Open, rows: Sequence[IntentRow]) -> None:
    """Write rows that follow from another one of the batch's run, before that one is closed.

    Raises:
        RecordRefused: One was refused; it is closed, and in no quarantine of its own.
        MeterbridgeError: A trouble that passes, or an outcome is unknown.
    """
    inner = Batch.open(batch.work, batch.run, rows, quiet=True)
    try:
        _Lane(inner, writes(inner)).go(rows)
    finally:
        inner.release()
    if inner.trouble is not None:
        raise inner.trouble
    if inner.refusals:
        raise inner.refusals[0]
    if inner.receipt.concluded < len(rows):
        raise RetriableError("MB-HELD", f"the lease on {rows[0].kind} {rows[0].key} ran out before it was sent")


class _Lane:
    """Rows written one after the other, or ``width`` at a time.

    What became of a write is written down with the next one's mark: one commit does for two. Until then the row
    stays ``sending``, and after a crash its request is a replay.
    """

    def __init__(self, batch: Batch, write: Write) -> None:
        self._batch = batch
        self._write = write
        self._unwritten: list[tuple[IntentRow, Outcome]] = []
        self._left: set[str] = set()
        self._too_much: dict[int, RecordRefused] = {}

    def go(self, rows: Iterable[IntentRow]) -> None:
        """All rows of the lane; whatever goes wrong here stays here, unless the vendor itself is out of order."""
        try:
            for hand in chunks(rows, self._write.width):
                self._batch.renew()
                mine = [row for row in hand if row.scope not in self._left and self._batch.may_send(row)]
                if mine:
                    self._take(mine)
        except MeterbridgeError as trouble:
            self._batch.stop(trouble)
        try:
            self._write_down()
        except MeterbridgeError as trouble:
            self._batch.stop(trouble)

    def _take(self, rows: Sequence[IntentRow]) -> None:
        if any(row.state != "ready" for row in rows):
            self._write_down()  # what is ours by the ledger must be there before it is asked
        looked = [*zip(rows, self._each(self._look, rows), strict=True)]
        sending = [(row, step) for row, step in looked if isinstance(step, Send)]
        self._batch.renew()  # the look may have taken long
        marked = self._mark(sending)
        scopes: dict[str, list[tuple[IntentRow, Send]]] = {}
        for row, step in sending:
            # m3ter takes codes that differ in case for one.
            scopes.setdefault(row.scope.casefold(), []).append((marked.get(row.id, row), step))
        for row, step in looked:
            if not isinstance(step, Send):
                self._put(row, step)
        for outcomes in self._each(
            lambda some: [self._send(row, step, marked) for row, step in some], list(scopes.values())
        ):
            for row, outcome in outcomes:
                self._put(row, outcome)
        if self._write.width > 1 or len(self._unwritten) >= MOST_UNWRITTEN:
            self._write_down()

    def _each(self, work: Callable[[Any], Any], some: Sequence[Any]) -> list[Any]:
        if len(some) <= 1:
            return [work(one) for one in some]
        with ThreadPoolExecutor(self._batch.work.settings.deliver_threads) as pool:
            return list(pool.map(work, some))

    def _look(self, row: IntentRow) -> Send | Outcome:
        try:
            step = self._write.look(row)
            decides = isinstance(step, Send) or row.action == "net"
            if row.state == "ready" and decides and not self._batch.is_as_decided(row):
                return Superseded()
            return self._corrected(step) if isinstance(step, Wrong) else step
        except MeterbridgeError as failure:
            return Failed(failure)

    def _mark(self, sending: Sequence[tuple[IntentRow, Send]]) -> dict[int, IntentRow]:
        """Commit the rows as ``sending``, and what became of those before them; returns those that may be sent."""
        if not sending:
            return {}
        batch, now = self._batch, self._batch.work.clock.epoch()
        owner, marked = batch.run.run_id, {}
        fresh = {row.id: step.request.to_json() for row, step in sending if row.state == "ready"}
        stood = {row.id: step.baseline for row, step in sending if row.state == "ready"}
        with batch.work.ledger.write() as tx:
            ends = self._close_all(tx)
            self._too_much |= _above_ceilings(tx, [row for row, _ in sending if row.id in fresh])
            fresh = {row_id: request for row_id, request in fresh.items() if row_id not in self._too_much}
            ready = set(intents.mark_sending_many(tx, fresh, owner, baselines=stood, at=now))
            for row, step in sending:
                if row.id in ready or (
                    row.state != "ready" and batch.reattempt(tx, row, step.request, same=step.again)
                ):
                    marked[row.id] = _as_marked(row, step, now)
            tx.commit()
        self._closed(ends)
        return marked

    def _send(self, row: IntentRow, step: Send, marked: Mapping[int, IntentRow]) -> tuple[IntentRow, Outcome]:
        if row.id in self._too_much:
            return row, Failed(self._too_much[row.id])
        if row.id not in marked:
            return row, Left(TAKEN)
        if not self._batch.may_send(row):
            return row, Left(LATE, unsent=True)
        return row, self._transmit(row, step)

    def _transmit(self, row: IntentRow, step: Send) -> Outcome:
        """Send what is marked, and go on as the kind says until it is known what became of it."""
        patience = boottime() + BUSY_SECONDS
        lost: OutcomeUnknown | None = None
        while True:
            try:
                answer = self._batch.transmit(row, step.request, in_doubt=step.again)
            except (RecordRefused, OutcomeUnknown) as failure:
                lost = failure if isinstance(failure, OutcomeUnknown) else lost
                following = self._after(row, step, failure, patience)
            except MeterbridgeError as trouble:
                return Failed(lost or trouble, unsent=True)
            else:
                return self._read(row, step, answer)
            if not isinstance(following, Send):
                return following
            step = following
            with self._batch.work.ledger.write() as tx:
                ours = self._batch.reattempt(tx, row, step.request, same=step.again)
                tx.commit()
            if not ours:
                return Left(TAKEN)
            if not self._batch.may_send(row):
                return Failed(lost) if lost is not None else Left(LATE, unsent=True)
            row = _as_marked(row, step, self._batch.work.clock.epoch())

    def _after(
        self, row: IntentRow, sent: Send, failure: RecordRefused | OutcomeUnknown, patience: float
    ) -> Send | Outcome:
        try:
            if isinstance(failure, OutcomeUnknown) and failure.status in BUSY and self._waited(row, failure, patience):
                step = self._write.look(row)
            else:
                step = self._write.failed(row, sent, failure)
        except (RecordRefused, OutcomeUnknown) as end:
            return Failed(end)
        except MeterbridgeError as trouble:
            is_lost = isinstance(failure, OutcomeUnknown)
            return Failed(failure if is_lost else trouble, unsent=not is_lost)
        return self._corrected(step) if isinstance(step, Wrong) else step

    def _waited(self, row: IntentRow, failure: OutcomeUnknown, patience: float) -> bool:
        """Let the vendor end what it is at work on; False once that has taken too long or the key is not known."""
        waited = BUSY_SECONDS - (patience - boottime())
        pause = max(SHORTEST_PAUSE, min(waited / 2, self._batch.work.settings.lease_seconds / 12))
        if boottime() + pause >= min(patience, self._batch.resend_until(row)):
            return False
        words = {"key": str(row.key), "kind": row.kind, "seconds": pause, "reason": failure.message}
        logger.warning("a write is still at work at the vendor: asked again under the same key", extra=words)
        time.sleep(pause)
        self._batch.renew()
        return self._batch.may_send(row)

    def _read(self, row: IntentRow, step: Send, answer: Answer) -> Outcome:
        try:
            found = self._write.read(row, step, answer)
        except MeterbridgeError as failure:  # it has landed: the row stays as it is, or is set aside
            return Failed(failure)
        return self._corrected(found) if isinstance(found, Wrong) else found

    def _corrected(self, wrong: Wrong) -> Failed:
        """Correct what was booked wrongly; returns what the row is closed with."""
        try:
            self._write_down()
            wrong.correct()
        except MeterbridgeError as failure:
            return Failed(failure)
        return Failed(wrong.refusal)

    # --- what became of the rows

    def _put(self, row: IntentRow, outcome: Outcome) -> None:
        if isinstance(outcome, Left | Later):
            self._left.add(row.scope)
        self._unwritten.append((row, outcome))
        if self._write.width == 1 and not isinstance(outcome, Done):
            self._write_down()

    def _write_down(self) -> None:
        if not self._unwritten:
            return
        with self._batch.work.ledger.write() as tx:
            ends = self._close_all(tx)
            tx.commit()
        self._closed(ends)

    def _close_all(self, tx: Writer) -> list[tuple[IntentRow, Outcome, bool]]:
        return [(row, outcome, self._close(tx, row, outcome)) for row, outcome in self._unwritten]

    def _close(self, tx: Writer, row: IntentRow, outcome: Outcome) -> bool:
        """Write down what became of the row, in the caller's transaction; False if another run has it."""
        owner = self._batch.run.run_id
        match outcome:
            case Done():
                return outcome.close(tx)
            case Superseded():
                return self._batch.supersede(tx, row)
            case Later(why):
                return intents.unknown(tx, row.id, owner, why)
            case Failed(error=OutcomeUnknown() as lost):
                return intents.unknown(tx, row.id, owner, lost.message)
            case Failed(error=RecordRefused() as refusal):
                return self._batch.set_aside(tx, row, self._write.set_aside(tx, row, refusal))
            case Failed(unsent=True) | Left(unsent=True) if intents.unsent(tx, row.id, owner):
                return True
            case Failed() | Left():
                return intents.release(tx, row.id, owner)
            case Wrong():
                raise AssertionError("a wrong line is taken off before its row is closed")
            case _:
                assert_never(outcome)

    def _closed(self, ends: Sequence[tuple[IntentRow, Outcome, bool]]) -> None:
        """Count what is committed."""
        self._unwritten.clear()
        batch = self._batch
        for row, outcome, ours in ends:
            if ours:
                batch.done.add(row.id)
            match outcome:
                case Done(written=written, note=note) if ours:
                    batch.conclude(row, written=written, note=note)
                case Done():
                    self._write.overtaken(row, outcome)
                case Superseded():
                    batch.conclude(row, written=False)
                case Failed(error) if not isinstance(error, RecordRefused):
                    batch.stop(error)
                case Later(why) | Left(why):
                    logger.warning("left open", extra={"run_id": batch.run.run_id, "key": str(row.key), "reason": why})


def _above_ceilings(tx: Writer, rows: Iterable[IntentRow]) -> dict[int, RecordRefused]:
    """Charges for which their bill has no room any more, whatever has been booked for it since they were decided."""
    found = {}
    for row in rows:
        if amount := bill_accounts.above(tx, row.id, row.amount, row.payload, row.wanted):
            bill, money = row.payload["bill_id"], amount_text(amount, row.currency)
            words = f"bill {bill} was charged since this was decided: it would exceed the bill's total by {money}"
            found[row.id] = RecordRefused("MB-BILL-OVERDRAWN", words, key=str(row.key))
    return found


def _as_marked(row: IntentRow, step: Send, now: float) -> IntentRow:
    """The row as it is in the ledger once its attempt is marked."""
    started = row.attempt_started_at if step.again and row.attempt_started_at else now
    return replace(
        row,
        state="sending",
        request=step.request.to_json(),
        first_sent_at=row.first_sent_at or now,
        attempt_started_at=started,
        baseline=dict(step.baseline) if row.state == "ready" else row.baseline,
    )
