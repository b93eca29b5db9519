"""Before and after a request: mark the row ``sending``, then say what became of it.

Every change is guarded by the owner of the lease: False means that the lease was
lost, somebody else decides about the row now, and the caller must stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, literal, select, update

from meterbridge.ledger import mappings
from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.intent_customers import refuse_held
from meterbridge.ledger.intent_rows import encode
from meterbridge.ledger.schema import IN_FLIGHT_STATES, intents
from meterbridge.ledger.transaction import Writer, chunks

_HELD_STATES = ("ready", *IN_FLIGHT_STATES)
_NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_until": None}
_DONE: dict[str, Any] = {"state": "applied", "error_code": None, "error_message": None, **_NO_LEASE}


@dataclass(frozen=True, slots=True)
class Applied:
    """An outcome for :func:`apply_many`."""

    id: int
    outcome: Mapping[str, Any]
    mapping: mappings.Mapping | None = None


def mark_sending(
    tx: Writer,
    intent_id: int,
    owner: str,
    request: str,
    baseline: Mapping[str, Any] | None = None,
    *,
    at: float | None = None,
) -> bool:
    """Store the exact request and go into ``sending``; commit before the request leaves.

    Args:
        request: The request, as it will be sent and, if need be, sent again.
        baseline: What stands at the target before (JSON values).
        at: Start of the attempt on the sender's clock; by default the database's.

    Returns:
        False: the row is no longer ``ready``, or the lease ran out. Do not send.

    Raises:
        OnHold: MB-ON-HOLD, a person stopped the sending; nothing is changed.
    """
    refuse_held(tx, [intent_id])
    stored = {"request": request, "baseline": encode(baseline or {})}
    return _set(tx, intent_id, owner, *_may_be_sent(), **stored, **_attempt(at))


def mark_sending_many(
    tx: Writer,
    requests: Mapping[int, str],
    owner: str,
    *,
    baselines: Mapping[int, Mapping[str, Any]] | None = None,
    at: float | None = None,
) -> list[int]:
    """:func:`mark_sending` for many rows at once; returns the ids that may be sent, in order."""
    refuse_held(tx, requests)
    marked = _ours(tx, requests, owner, *_may_be_sent())
    statement = (
        update(intents)
        .where(intents.c.id == bindparam("row_id"))
        .values(
            request=bindparam("new_request"),
            baseline=bindparam("new_baseline"),
            updated_at=EpochNow(),
            **_attempt(at),
        )
    )
    if marked:
        known = baselines or {}
        tx.execute(
            statement,
            [
                {"row_id": one, "new_request": requests[one], "new_baseline": encode(known.get(one, {}))}
                for one in marked
            ],
        )
    return marked


def reattempt(tx: Writer, intent_id: int, owner: str, *, at: float | None = None, request: str | None = None) -> bool:
    """A probe proved that nothing landed: a new attempt, with the same idempotency key and the stored request.

    ``request`` replaces the stored one where the vendor has no keys and the old one
    names a version that is no longer the current one.
    """
    refuse_held(tx, [intent_id])
    alive = (intents.c.state.in_(IN_FLIGHT_STATES), intents.c.request.is_not(None), intents.c.lease_until > EpochNow())
    renewed = {} if request is None else {"request": request}
    return _set(tx, intent_id, owner, *alive, **_attempt(at), **renewed)


def applied(
    tx: Writer, intent_id: int, owner: str, outcome: Mapping[str, Any], *, mapping: mappings.Mapping | None
) -> bool:
    """The target is as intended; the mapping, if any, is stored along with it."""
    held = intents.c.state.in_(_HELD_STATES)
    done = _set(tx, intent_id, owner, held, outcome=encode(outcome), **_DONE)
    if done and mapping is not None:
        mappings.put(tx, mapping)
    return done


def apply_many(tx: Writer, owner: str, outcomes: Iterable[Applied]) -> list[int]:
    """:func:`applied` for many rows at once; returns the ids that were the owner's, in order."""
    by_id = {one.id: one for one in outcomes}
    ours = _ours(tx, by_id, owner, intents.c.state.in_(_HELD_STATES))
    statement = (
        update(intents)
        .where(intents.c.id == bindparam("row_id"))
        .values(outcome=bindparam("new_outcome"), updated_at=EpochNow(), **_DONE)
    )
    if ours:
        tx.execute(statement, [{"row_id": one, "new_outcome": encode(by_id[one].outcome)} for one in ours])
        mappings.put(tx, *(found for one in ours if (found := by_id[one].mapping) is not None))
    return ours


def refused(tx: Writer, intent_id: int, owner: str, code: str, message: str) -> bool:
    """The vendor will not have it, or it must not be sent: closed with a reason."""
    held = intents.c.state.in_(_HELD_STATES)
    return _set(tx, intent_id, owner, held, state="refused", error_code=code, error_message=message, **_NO_LEASE)


def unknown(tx: Writer, intent_id: int, owner: str, message: str) -> bool:
    """The request left and no answer came. The lease is given up: whoever comes first may probe."""
    in_flight = intents.c.state.in_(IN_FLIGHT_STATES)
    lost = {"error_code": "MB-OUTCOME-UNKNOWN", "error_message": message}
    return _set(tx, intent_id, owner, in_flight, state="unknown", **lost, **_NO_LEASE)


def supersede(tx: Writer, intent_id: int, owner: str) -> bool:
    """A claimed row turned out to be no longer wanted: closed unsent, the next run decides anew."""
    return _set(tx, intent_id, owner, intents.c.state == "ready", state="superseded", **_NO_LEASE)


def release(tx: Writer, intent_id: int, owner: str) -> bool:
    """Give the lease up. An unsent row can be claimed again; one in ``sending`` or ``unknown`` stays to be probed.

    It never makes a row unsent: a caller that fails after its request left must not
    be able to set the row back by mistake. :func:`unsent` is for those who know.
    """
    return _set(tx, intent_id, owner, intents.c.state.in_(_HELD_STATES), **_NO_LEASE)


def unsent(tx: Writer, intent_id: int, owner: str) -> bool:
    """Take a marked attempt back: it is certain that the vendor executed nothing of it (no connection, 429).

    False for a row that was taken over: what its earlier owner sent may have landed.
    After a first attempt the row is ``ready`` again, as if never sent. After a later
    one it is ``unknown``: what became of the earlier ones is not ours to say.
    """
    first = intents.c.attempts <= 1
    cleared = {name: case((first, None), else_=intents.c[name]) for name in ("request", "baseline", "first_sent_at")}
    return _set(
        tx,
        intent_id,
        owner,
        intents.c.state == "sending",
        state=case((first, "ready"), else_="unknown"),
        attempts=intents.c.attempts - 1,
        attempt_started_at=case((first, None), else_=intents.c.first_sent_at),
        **cleared,
        **_NO_LEASE,
    )


def _may_be_sent() -> tuple[ColumnElement[bool], ...]:
    return intents.c.state == "ready", intents.c.lease_until > EpochNow()


def _attempt(at: float | None) -> dict[str, Any]:
    """What every start of an attempt changes; ``first_sent_at`` is set once."""
    start = EpochNow() if at is None else literal(at)
    return {
        "state": "sending",
        "first_sent_at": func.coalesce(intents.c.first_sent_at, start),
        "attempt_started_at": start,
        "attempts": intents.c.attempts + 1,
    }


def _set(tx: Writer, intent_id: int, owner: str, *guards: ColumnElement[bool], **values: Any) -> bool:
    statement = update(intents).where(
        intents.c.connection == tx.connection, intents.c.id == intent_id, intents.c.lease_owner == owner, *guards
    )
    return tx.execute(statement.values(updated_at=EpochNow(), **values)).rowcount == 1


def _ours(tx: Writer, ids: Iterable[int], owner: str, *guards: ColumnElement[bool]) -> list[int]:
    """Those of the rows that the guards hold for, locked, in order."""
    found: Sequence[int] = []
    for some in chunks(sorted(ids)):
        query = (
            select(intents.c.id)
            .where(
                intents.c.connection == tx.connection,
                intents.c.id.in_(some),
                intents.c.lease_owner == owner,
                *guards,
            )
            .order_by(intents.c.id)
            .with_for_update()
        )
        found = [*found, *tx.execute(query).scalars()]
    return list(found)
