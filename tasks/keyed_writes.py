"""A write to Chargebee under its intent's own key: written down before it leaves, and what became of it noted."""

from __future__ import annotations

from connectors.transport import Answer, Request
from meterbridge.clock import boottime
from meterbridge.errors import MeterbridgeError, OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import facts, intents
from meterbridge.ledger.intents import IntentRow
from tasks.charges import RESEND_SECONDS
from tasks.runs import Run
from tasks.services import Services

LOOKS_APART_SECONDS = 300
"""Lists lag: what two looks so far apart do not show is not there."""


def mark(work: Services, run: Run, row: IntentRow, request: Request, name: str) -> Request:
    """Commit the row as ``sending``; returns what goes out: after a first attempt exactly what that one stored.

    Args:
        name: What messages call the write.

    Raises:
        RetriableError: MB-HELD, another run has taken the row over.
    """
    with work.ledger.write() as tx:
        if row.state == "ready":
            marked = intents.mark_sending(tx, row.id, run.run_id, request.to_json(), {}, at=work.clock.epoch())
        else:
            request = Request.from_json(row.request) if row.request else request
            marked = intents.reattempt(tx, row.id, run.run_id, at=work.clock.epoch())
        tx.commit()
    if not marked:
        raise RetriableError("MB-HELD", f"the lease on {name} ran out before it was sent")
    return request


def answer(work: Services, run: Run, row: IntentRow, request: Request, name: str) -> Answer:
    """Send what is marked ``sending``. With an answer the write has landed: from then on the row stays so.

    Raises:
        RetriableError: MB-OUTCOME-UNKNOWN, and the row says so; or nothing was executed, and it is as before.
        RecordRefused: Chargebee refuses it; the row is the caller's to close.
        SetupError: Chargebee refuses our credentials.
    """
    try:
        until = boottime() + RESEND_SECONDS
        return work.chargebee.send(request, idempotency_key=row.idempotency_key, resend_until=until)
    except OutcomeUnknown as lost:
        raise unknown(work, run, row, lost, name) from lost
    except RecordRefused:
        raise
    except MeterbridgeError:  # nothing was executed: throttled, or never reached
        with work.ledger.write() as tx:
            intents.unsent(tx, row.id, run.run_id)
            tx.commit()
        raise


def looked_before(work: Services, row: IntentRow) -> bool:
    """Whether a look before this one, so long ago that the lists have caught up, showed nothing either."""
    now, name = work.clock.epoch(), f"looked:{row.id}"
    with work.ledger.write() as tx:
        first = facts.get(tx, name)
        if first is None:
            facts.put(tx, name, str(now))
        tx.commit()
    return first is not None and now - float(first) >= LOOKS_APART_SECONDS


def unknown(work: Services, run: Run, row: IntentRow, lost: OutcomeUnknown, name: str) -> RetriableError:
    """Note that nobody knows what became of the write; returns what to raise."""
    with work.ledger.write() as tx:
        intents.unknown(tx, row.id, run.run_id, lost.message)
        tx.commit()
    return RetriableError("MB-OUTCOME-UNKNOWN", f"{name}: {lost.message}")
