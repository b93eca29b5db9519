"""Who may work on which intent: claims, leases, takeovers. Time is the database's.

A claim is one ``UPDATE .. RETURNING``. Claims of one connection take turns, so that
"no other write of this scope is in flight" is true of rows that another process is
just claiming, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, FromClause, and_, exists, false, literal_column, or_, select, update

from meterbridge.ledger import holds
from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.intent_customers import held_rows
from meterbridge.ledger.intent_rows import IntentRow, decode, is_latest
from meterbridge.ledger.schema import IN_FLIGHT_STATES, OPEN_STATES, intent_dependencies, intents
from meterbridge.ledger.transaction import Writer, chunks

LEASE_SECONDS = 60.0

# Made once: an alias copies every column of its table, and a claim needs five of them.
_CANDIDATE = intents.alias("candidate")
_BESIDE = intents.alias("beside")
_NEEDED = intent_dependencies.alias("needed")
_NEEDED_INTENT = intents.alias("needed_intent")


@dataclass(frozen=True, slots=True)
class _Wish:
    """Which rows a claim is after."""

    connection: str
    states: Sequence[str]
    kinds: Collection[str]
    change_set: str | None
    scopes: Collection[str] | None


def claim(
    tx: Writer,
    owner: str,
    *,
    kinds: Collection[str],
    limit: int,
    change_set: str | None = None,
    lease_seconds: float = LEASE_SECONDS,
    scopes: Collection[str] | None = None,
    exclusive_scope: bool = False,
    despite_holds: bool = False,
) -> list[IntentRow]:
    """Lease ``ready`` rows to send, in the order in which they were recorded.

    A row waits while the latest intent of anything it depends on is open or refused, and while a person has stopped
    the sending for everybody or for its customer.

    Args:
        owner: Who takes them; every later call names the same owner.
        scopes: Only rows of these.
        exclusive_scope: At most one row of each scope, and none of a scope in which
            another row is leased, ``sending`` or ``unknown``.
        despite_holds: Nothing will be sent, only written down.
    """
    wish = _Wish(tx.connection, ("ready",), kinds, change_set, scopes)
    conditions = [*_wanted(_CANDIDATE, wish), ~_waits(_CANDIDATE)]
    if not despite_holds:
        conditions += _not_held(tx, wish)
    if exclusive_scope:
        conditions += [~_scope_is_busy(_CANDIDATE), ~_scope_has_earlier(_CANDIDATE, wish)]
    return _lease(
        tx, _CANDIDATE, conditions, wish.states, owner=owner, limit=limit, lease_seconds=lease_seconds, state="ready"
    )


def stale(
    tx: Writer,
    owner: str,
    *,
    kinds: Collection[str],
    lease_seconds: float = LEASE_SECONDS,
    limit: int = 1_000,
    scopes: Collection[str] | None = None,
) -> list[IntentRow]:
    """Take over rows in ``sending`` or ``unknown`` whose lease ran out or was given up: to be probed, by id.

    They are ``unknown`` from then on: only who sent a request can say that it never left.
    """
    wish = _Wish(tx.connection, IN_FLIGHT_STATES, kinds, None, scopes)
    found = [*_wanted(_CANDIDATE, wish), *_not_held(tx, wish)]
    return _lease(
        tx, _CANDIDATE, found, wish.states, owner=owner, limit=limit, lease_seconds=lease_seconds, state="unknown"
    )


def renew(tx: Writer, ids: Iterable[int], owner: str, lease_seconds: float = LEASE_SECONDS) -> set[int]:
    """Prolong leases from now on; returns the ids that are still the owner's."""
    ours: set[int] = set()
    for some in chunks(ids):
        statement = (
            update(intents)
            .where(
                intents.c.connection == tx.connection,
                intents.c.id.in_(some),
                intents.c.lease_owner == owner,
                intents.c.state.in_(OPEN_STATES),
            )
            .values(lease_until=EpochNow() + lease_seconds)
            .returning(intents.c.id)
        )
        ours.update(tx.execute(statement).scalars())
    return ours


def _lease(
    tx: Writer,
    candidate: FromClause,
    conditions: Sequence[ColumnElement[bool]],
    states: Sequence[str],
    *,
    owner: str,
    limit: int,
    lease_seconds: float,
    state: str,
) -> list[IntentRow]:
    tx.take_turn("claim")
    # A CTE: PostgreSQL may run a plain subquery with LIMIT and FOR UPDATE more than once and take too many rows.
    picked = (
        select(candidate.c.id)
        .where(*conditions)
        .order_by(candidate.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=candidate)
        .cte("picked")
    )
    statement = (
        update(intents)
        .where(intents.c.id.in_(select(picked.c.id)), intents.c.state.in_(states), _is_free(intents))
        .values(state=state, lease_owner=owner, lease_until=EpochNow() + lease_seconds, updated_at=EpochNow())
        .returning(intents)
    )
    return sorted((decode(row) for row in tx.execute(statement)), key=lambda row: row.id)


def _wanted(table: FromClause, wish: _Wish) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        table.c.connection == wish.connection,
        table.c.state.in_(wish.states),
        table.c.kind.in_(wish.kinds),
        _is_free(table),
    ]
    if wish.change_set is not None:
        conditions.append(table.c.change_set == wish.change_set)
    if wish.scopes is not None:
        conditions.append(table.c.scope.in_(wish.scopes))
    return conditions


def _not_held(tx: Writer, wish: _Wish) -> list[ColumnElement[bool]]:
    """What keeps rows from being claimed that a person has stopped; without a hold one look at an empty index."""
    in_force = holds.active(tx)
    if not in_force:
        return []
    if any(one.customer_id == holds.ALL for one in in_force):
        return [false()]
    stopped = [row.id for row in held_rows(tx, wish.kinds, wish.states, {one.customer_id for one in in_force})]
    return [_CANDIDATE.c.id.not_in(some) for some in chunks(stopped)]


def _is_free(table: FromClause) -> ColumnElement[bool]:
    return or_(table.c.lease_until.is_(None), table.c.lease_until <= EpochNow())


def _waits(table: FromClause) -> ColumnElement[bool]:
    """Something that the row depends on is not done."""
    needed, other = _NEEDED, _NEEDED_INTENT
    undone = or_(other.c.state.in_(OPEN_STATES), and_(other.c.state == "refused", is_latest(other)))
    # One inside the other and no join: SQLite would begin the join at the wrong end, with every intent there is.
    is_undone = exists(
        select(other.c.id).where(
            other.c.connection == needed.c.connection,
            other.c.kind == needed.c.kind,
            other.c.natural_key == needed.c.natural_key,
            undone,
        )
    )
    return exists(
        select(needed.c.intent_id).where(
            needed.c.connection == table.c.connection, needed.c.intent_id == table.c.id, is_undone
        )
    )


def _scope_is_busy(table: FromClause) -> ColumnElement[bool]:
    other = _BESIDE
    in_hand = or_(other.c.state.in_(IN_FLIGHT_STATES), and_(other.c.state == "ready", other.c.lease_until > EpochNow()))
    return _exists_beside(table, other, in_hand)


def _scope_has_earlier(table: FromClause, wish: _Wish) -> ColumnElement[bool]:
    """Another row of the scope could be claimed as well and was recorded earlier."""
    other = _BESIDE
    return _exists_beside(table, other, other.c.id < table.c.id, *_wanted(other, wish), ~_waits(other))


def _exists_beside(table: FromClause, other: FromClause, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    # Literals and no parameters: only then do both databases see that the index of open rows by scope may be used.
    is_open = other.c.state.in_([literal_column(f"'{state}'") for state in OPEN_STATES])
    return exists(
        select(other.c.id).where(
            other.c.connection == table.c.connection,
            other.c.scope == table.c.scope,
            other.c.id != table.c.id,
            is_open,
            *conditions,
        )
    )
