"""An intent as the ledger holds it, and how to look at intents without touching them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, FromClause, Select, and_, exists, func, select

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import IN_FLIGHT_STATES, OPEN_STATES, intents
from meterbridge.ledger.transaction import AnyRow, Reader, chunks
from meterbridge.rules.keys import key_from_text, key_text
from meterbridge.rules.records import Key, Ref

CONCLUDED = ("applied", "dismissed")
CLOSED_BY_ANOTHER = (*CONCLUDED, "refused")
"""What a decision of before knows nothing of: to send what was refused since is a person's to say."""

_LATER = intents.alias("later")

IntentState = Literal["proposed", "ready", "sending", "unknown", "applied", "refused", "superseded", "dismissed"]


@dataclass(frozen=True, slots=True)
class Horizon:
    """What a reader of the ledger could see of intents: the highest id, and the ids that were open."""

    last: int
    open: frozenset[int]


@dataclass(frozen=True, slots=True)
class IntentRow:
    """One intended write and what became of it.

    ``payload`` and ``wanted`` (what the ledger shall know once applied) hold JSON
    values, a reference to another thing as ``{"$ref": [kind, *key]}``. ``request``
    is the exact text sent; ``baseline`` what stood before. ``amount`` in minor
    units. ``first_sent_at`` and ``attempt_started_at`` are epoch seconds on the
    clock of whoever sent; ``lease_until``, ``created_at`` and ``updated_at`` on the
    database's. ``approval`` is the approved change set that made the row ready.
    """

    id: int
    kind: str
    key: Key
    generation: int
    action: str
    target: str
    state: IntentState
    fingerprint: str
    payload: dict[str, Any]
    wanted: dict[str, Any]
    reason: str
    scope: str
    depends_on: tuple[Ref, ...]
    warnings: tuple[str, ...]
    amount: int | None
    currency: str | None
    source_version: int | None
    change_set: str
    approval: str | None
    run_id: str
    idempotency_key: str
    request: str | None
    baseline: dict[str, Any]
    first_sent_at: float | None
    attempt_started_at: float | None
    attempts: int
    lease_owner: str | None
    lease_until: float | None
    outcome: dict[str, Any]
    error_code: str | None
    error_message: str | None
    created_at: float
    updated_at: float


def decode(row: AnyRow) -> IntentRow:
    """A row of the table as an :class:`IntentRow`."""
    values: dict[str, Any] = {column.name: row._mapping[column.name] for column in intents.c}
    del values["connection"]
    values["key"] = key_from_text(values.pop("natural_key"))
    for name in ("payload", "wanted"):
        values[name] = json.loads(values[name])
    for name in ("baseline", "outcome"):
        values[name] = json.loads(values[name] or "{}")
    values["depends_on"] = tuple(Ref(kind, tuple(key)) for kind, *key in _references(values["depends_on"]))
    values["warnings"] = tuple(json.loads(values["warnings"]))
    return IntentRow(**values)


def _references(text: str) -> list[list[Any]]:
    return [reference["$ref"] for reference in json.loads(text)]


def is_latest(table: FromClause) -> ColumnElement[bool]:
    """No later generation of the row's natural key exists."""
    return ~exists().where(
        _LATER.c.connection == table.c.connection,
        _LATER.c.kind == table.c.kind,
        _LATER.c.natural_key == table.c.natural_key,
        _LATER.c.generation > table.c.generation,
    )


def open_rows(rx: Reader, kinds: Collection[str] | None = None, *, scope: str | None = None) -> list[IntentRow]:
    """Rows in ``proposed``, ``ready``, ``sending`` or ``unknown``, by id; of some kinds or one scope if so asked."""
    conditions: list[ColumnElement[bool]] = [intents.c.state.in_(OPEN_STATES)]
    if kinds is not None:
        conditions.append(intents.c.kind.in_(kinds))
    if scope is not None:
        conditions.append(intents.c.scope == scope)
    return _rows(rx, *conditions)


def open_within(rx: Reader, kind: str, scopes: str) -> list[IntentRow]:
    """Open rows of a kind whose scope begins so, by id."""
    beginning = intents.c.scope.startswith(scopes, autoescape=True)
    return _rows(rx, intents.c.state.in_(OPEN_STATES), intents.c.kind == kind, beginning)


def may_have_written(rx: Reader, kinds: Collection[str], seen: Horizon | None) -> list[IntentRow]:
    """Rows of these kinds that may stand at the vendor although the reader of ``seen`` could not know of it.

    In ``sending`` or ``unknown`` now, or concluded since the horizon was read.
    """
    conditions: list[ColumnElement[bool]] = [intents.c.state.in_(IN_FLIGHT_STATES)]
    if seen is not None:
        since = [intents.c.id > seen.last, *(intents.c.id.in_(some) for some in chunks(seen.open))]
        conditions += [and_(intents.c.state.in_(CONCLUDED), one) for one in since]
    return [row for one in conditions for row in _rows(rx, one, intents.c.kind.in_(kinds))]


def refused_rows(rx: Reader, kinds: Collection[str] | None = None) -> list[IntentRow]:
    """Rows that the vendor refused and that no later intent has replaced, by id."""
    conditions: list[ColumnElement[bool]] = [intents.c.state == "refused", is_latest(intents)]
    if kinds is not None:
        conditions.append(intents.c.kind.in_(kinds))
    return _rows(rx, *conditions)


def get(rx: Reader, intent_id: int) -> IntentRow | None:
    """One row by its number."""
    return next(iter(_rows(rx, intents.c.id == intent_id)), None)


def by_key(rx: Reader, kind: str, key: Key) -> IntentRow | None:
    """The latest generation of a natural key."""
    found = history(rx, kind, key)
    return found[-1] if found else None


def history(rx: Reader, kind: str, key: Key) -> list[IntentRow]:
    """All generations of a natural key, the oldest first."""
    return _rows(rx, intents.c.kind == kind, intents.c.natural_key == key_text(key))


def of_run(rx: Reader, run_id: str) -> list[IntentRow]:
    """Rows that a run recorded or took over, by id."""
    return _rows(rx, intents.c.run_id == run_id)


def change_sets(rx: Reader, run_id: str, kinds: Collection[str]) -> dict[str, int]:
    """How many rows of these kinds a run recorded or took over, by change set."""
    query = (
        select(intents.c.change_set, func.count())
        .where(intents.c.connection == rx.connection, intents.c.run_id == run_id, intents.c.kind.in_(kinds))
        .group_by(intents.c.change_set)
    )
    return {row[0]: row[1] for row in rx.execute(query)}


def horizon(rx: Reader) -> Horizon:
    """The intents as this transaction sees them; for :func:`concluded_beyond`."""
    of_connection = intents.c.connection == rx.connection
    last = rx.execute(select(func.max(intents.c.id)).where(of_connection)).scalar_one()
    query = select(intents.c.id).where(of_connection, intents.c.state.in_(OPEN_STATES))
    return Horizon(int(last or 0), frozenset(rx.execute(query).scalars()))


def concluded_beyond(rx: Reader, seen: Horizon, names: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these kinds and natural keys (text) were written, refused or closed since the horizon was read.

    Rows get their ids and are committed in one order, because recording takes turns: an id above the
    horizon's was not there, whatever the clocks say.
    """
    query = _concluded(rx).where(
        intents.c.kind.in_({kind for kind, _ in names}), intents.c.natural_key.in_([key for _, key in names])
    )
    rows = [row for row in rx.execute(query) if row.id > seen.last or row.id in seen.open]
    return {(row.kind, row.natural_key) for row in rows} & set(names)


def keys_concluded_beyond(rx: Reader, seen: Horizon, kinds: Collection[str]) -> set[Key]:
    """The natural keys of these kinds that were written, refused or closed since the horizon was read."""
    query = _concluded(rx).where(intents.c.kind.in_(kinds))
    ranges = [intents.c.id > seen.last, *(intents.c.id.in_(some) for some in chunks(seen.open))]
    return {key_from_text(row.natural_key) for one in ranges for row in rx.execute(query.where(one))}


def _concluded(rx: Reader) -> Select[tuple[int, str, str]]:
    return select(intents.c.id, intents.c.kind, intents.c.natural_key).where(
        intents.c.connection == rx.connection, intents.c.state.in_(CLOSED_BY_ANOTHER)
    )


def ready_counts(rx: Reader, kind: str) -> tuple[int, int]:
    """How many rows of a kind are ready to be sent, and in how many scopes."""
    query = select(func.count(), func.count(intents.c.scope.distinct())).where(
        intents.c.connection == rx.connection, intents.c.kind == kind, intents.c.state == "ready"
    )
    rows, scopes = rx.execute(query).one()
    return int(rows), int(scopes)


def any_to_conclude(rx: Reader, kind: str) -> bool:
    """True if a row of the kind, of whichever run, waits to be sent or to be found out about."""
    open_ = ("ready", *IN_FLIGHT_STATES)
    query = select(intents.c.id).where(
        intents.c.connection == rx.connection, intents.c.kind == kind, intents.c.state.in_(open_)
    )
    return rx.execute(query.limit(1)).first() is not None


def leased(rx: Reader, kinds: Collection[str], *, not_by: str) -> list[IntentRow]:
    """Open rows under a living lease of anybody else, by id."""
    return _rows(
        rx,
        intents.c.state.in_(OPEN_STATES),
        intents.c.kind.in_(kinds),
        intents.c.lease_until > EpochNow(),
        intents.c.lease_owner != not_by,
    )


def encode(values: Mapping[str, Any]) -> str:
    """JSON text of an outcome or a baseline."""
    return json.dumps(dict(values), ensure_ascii=False, sort_keys=True)


def _rows(rx: Reader, *conditions: ColumnElement[bool]) -> list[IntentRow]:
    query = select(intents).where(intents.c.connection == rx.connection, *conditions).order_by(intents.c.id)
    return [decode(row) for row in rx.stream(query)]
