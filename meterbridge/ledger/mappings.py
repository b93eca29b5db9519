"""What stands at the target for which of our natural keys, and what we last made it look like."""

from __future__ import annotations

import builtins
import json
from collections.abc import Collection, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, literal_column, select, update
from sqlalchemy import delete as delete_from

from meterbridge.ledger.expressions import EpochNow, JsonText
from meterbridge.ledger.schema import mappings
from meterbridge.ledger.transaction import AnyRow, AnySelect, Reader, Writer, chunks, upsert
from meterbridge.rules.keys import canonical, key_from_text, key_text
from meterbridge.rules.records import Key


@dataclass(frozen=True, slots=True)
class Mapping:
    """A natural key and the remote id it has at the target.

    ``state`` holds JSON values: what the rules need to know of the thing. An inactive mapping is history. By ``kind``:

    - ``account``, ``account_plan``, ``external_mapping``: a thing of ours in m3ter, under its intent's key;
    - ``charge``: key of the charge's intent; ``remote_id`` is the invoice line, empty while it is not known which one,
      ``scope`` the id of the invoice that it stands on;
    - ``credit``: key of the credit's intent; ``remote_id`` is the credit at Chargebee;
    - ``invoice``: key (draft id); ``remote_id`` is the invoice that the draft became;
    - ``settled``, ``undone``: key (bill id, subscription id), no remote id: what a person settled by hand, and which
      lines an undo took off, for good;
    - ``usage``: key of a usage record; ``remote_id`` is Chargebee's usage.
    """

    kind: str
    key: Key
    remote_id: str
    fingerprint: str
    scope: str
    state: MappingOf[str, Any]
    active: bool = True
    source_version: int | None = None
    run_id: str = ""


_COLUMNS = [mappings.c[name] for name in ("kind", "natural_key", "remote_id", "fingerprint", "scope", "state")] + [
    mappings.c[name] for name in ("active", "source_version", "run_id")
]


def put(tx: Writer, *rows: Mapping) -> None:
    """Store mappings, replacing those with the same kind and key."""
    wanted = [_row(tx.connection, row) for row in rows]
    upsert(tx, mappings, wanted, stamps=("created_at", "updated_at"), keep=("created_at",))


def get(rx: Reader, kind: str, key: Key) -> Mapping | None:
    """The mapping of a natural key, active or not."""
    row = rx.execute(_select().where(*_this(rx, kind, key))).one_or_none()
    return None if row is None else _mapping(row)


def remote_ids(rx: Reader, wanted: Collection[tuple[str, Key]]) -> dict[tuple[str, Key], str]:
    """Remote ids by kind and natural key; what has no active mapping is left out."""
    found: dict[tuple[str, Key], str] = {}
    for kind in {kind for kind, _ in wanted}:
        keys = {key_text(key): key for each, key in wanted if each == kind}
        for some in chunks(keys):
            query = select(mappings.c.natural_key, mappings.c.remote_id).where(
                mappings.c.connection == rx.connection,
                mappings.c.kind == kind,
                mappings.c.natural_key.in_(some),
                mappings.c.active.is_(True),
            )
            found |= {(kind, keys[text]): remote_id for text, remote_id in rx.execute(query)}
    return found


def holders(rx: Reader, kind: str, ids: Collection[str]) -> dict[str, Key]:
    """Natural keys of active mappings by remote id; ids that none has are left out."""
    found: dict[str, Key] = {}
    for some in chunks(ids):
        query = select(mappings.c.remote_id, mappings.c.natural_key).where(
            mappings.c.connection == rx.connection,
            mappings.c.kind == kind,
            mappings.c.remote_id.in_(some),
            mappings.c.active.is_(True),
        )
        found |= {remote_id: key_from_text(key) for remote_id, key in rx.execute(query)}
    return found


def by_remote(rx: Reader, kind: str, remote_id: str) -> Mapping | None:
    """The mapping of a remote id; an active one before an inactive one, the latest of equals."""
    query = _select().where(
        mappings.c.connection == rx.connection, mappings.c.kind == kind, mappings.c.remote_id == remote_id
    )
    order = (mappings.c.active.desc(), mappings.c.updated_at.desc(), mappings.c.natural_key)
    row = rx.execute(query.order_by(*order).limit(1)).one_or_none()
    return None if row is None else _mapping(row)


def by_scope(rx: Reader, kind: str, scope: str) -> list[Mapping]:
    """All mappings of a scope (a bill's charges, for one), active or not, ordered by natural key."""
    query = _select().where(mappings.c.connection == rx.connection, mappings.c.kind == kind, mappings.c.scope == scope)
    return [_mapping(row) for row in rx.execute(query.order_by(mappings.c.natural_key))]


def by_state(rx: Reader, kind: str, name: str, value: str) -> list[Mapping]:
    """All mappings whose state has this text under this name, active or not, ordered by natural key.

    ``invoice_id`` is indexed; any other name reads every mapping of the kind.
    """
    if not name.isidentifier():
        raise ValueError(f"not a field name: {name!r}")
    field = JsonText(mappings.c.state, literal_column(f"'{name}'"))
    query = _select().where(mappings.c.connection == rx.connection, mappings.c.kind == kind, field == value)
    return [_mapping(row) for row in rx.execute(query.order_by(mappings.c.natural_key))]


def all(rx: Reader, kind: str, active_only: bool = False) -> Iterator[Mapping]:  # noqa: A001 -- read as mappings.all
    """All mappings of a kind, streamed, ordered by natural key; read to the end inside the transaction."""
    query = _select().where(mappings.c.connection == rx.connection, mappings.c.kind == kind)
    if active_only:
        query = query.where(mappings.c.active.is_(True))
    for row in rx.stream(query.order_by(mappings.c.natural_key)):
        yield _mapping(row)


def of_customers(
    rx: Reader, kind: str, customers: Collection[str], subscriptions: Collection[str] = ()
) -> builtins.list[Mapping]:
    """Active mappings of these customers (their ``scope``), and those whose state names one of the subscriptions.

    The second reads every mapping of the kind in the database, but brings only these here.
    """
    theirs: ColumnElement[bool] = mappings.c.scope.in_(sorted(customers))
    if subscriptions:
        named = JsonText(mappings.c.state, literal_column("'subscription_id'"))
        theirs = theirs | named.in_(sorted(subscriptions))
    query = _select().where(
        mappings.c.connection == rx.connection, mappings.c.kind == kind, mappings.c.active.is_(True), theirs
    )
    return [_mapping(row) for row in rx.execute(query.order_by(mappings.c.natural_key))]


def changed_since(rx: Reader, kinds: Collection[str], instant: float) -> Iterator[Mapping]:
    """Mappings that were put or changed at or after an instant (epoch seconds, the database's clock)."""
    query = _select().where(
        mappings.c.connection == rx.connection, mappings.c.kind.in_(kinds), mappings.c.updated_at >= instant
    )
    for row in rx.stream(query.order_by(mappings.c.kind, mappings.c.natural_key)):
        yield _mapping(row)


def deactivate(tx: Writer, kind: str, key: Key) -> bool:
    """Make a mapping history; False if there is none."""
    return _change(tx, kind, key, active=False)


def delete(tx: Writer, kind: str, key: Key) -> bool:
    """Forget a mapping; False if there is none."""
    return tx.execute(delete_from(mappings).where(*_this(tx, kind, key))).rowcount == 1


def _change(tx: Writer, kind: str, key: Key, **values: Any) -> bool:
    changed = update(mappings).where(*_this(tx, kind, key)).values(updated_at=EpochNow(), **values)
    return tx.execute(changed).rowcount == 1


def _this(rx: Reader, kind: str, key: Key) -> builtins.list[ColumnElement[bool]]:
    return [
        mappings.c.connection == rx.connection,
        mappings.c.kind == kind,
        mappings.c.natural_key == key_text(key),
    ]


def _select() -> AnySelect:
    return select(*_COLUMNS)


def _row(connection: str, row: Mapping) -> dict[str, Any]:
    return {
        "connection": connection,
        "kind": row.kind,
        "natural_key": key_text(row.key),
        "remote_id": row.remote_id,
        "fingerprint": row.fingerprint,
        "scope": row.scope,
        "state": canonical(row.state),
        "active": row.active,
        "source_version": row.source_version,
        "run_id": row.run_id,
    }


def _mapping(row: AnyRow) -> Mapping:
    kind, natural_key, remote_id, fingerprint, scope, state, *rest = row
    return Mapping(kind, key_from_text(natural_key), remote_id, fingerprint, scope, json.loads(state), *rest)
