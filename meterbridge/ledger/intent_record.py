"""Write a change set down before any of it is sent, and take back what it no longer wants."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select, update

from meterbridge.errors import BrokenInvariant
from meterbridge.ledger import proposals
from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.intent_rows import Horizon, concluded_beyond, is_latest
from meterbridge.ledger.schema import IN_FLIGHT_STATES, OPEN_STATES, UNSENT_STATES, intent_dependencies, intents
from meterbridge.ledger.transaction import AnyRow, Writer, chunks
from meterbridge.rules.keys import canonical, idempotency_key, key_text
from meterbridge.rules.kinds import misshapen
from meterbridge.rules.records import Intent, Key, Proposal, Proposed

_Name = tuple[str, str]
"""Kind and natural key as text."""

_COMPARED = ("action", "fingerprint", "payload", "depends_on", "scope", "wanted")
"""An unsent row equal in these is the same intent; it keeps its generation and idempotency key."""


@dataclass(slots=True)
class Recorded:
    """How many intents were new, how many unsent ones they took back, were there already, or must be probed first.

    A ``blocked`` intent is left out: an earlier write of its natural key is
    ``sending`` or ``unknown``, and only a probe tells what the next run has to decide.
    What is ``left_out`` (kind, natural key) was written by another run since this one read the ledger.
    """

    inserted: int = 0
    superseded: int = 0
    kept: int = 0
    blocked: int = 0
    left_out: list[tuple[str, Key]] = field(default_factory=list)


@dataclass(slots=True)
class _Sheet:
    """What one call of :func:`record` knows all along."""

    tx: Writer
    run_id: str
    change_set: str
    site: str
    proposed: Proposed
    seen: Horizon | None = None
    recorded: Recorded = field(default_factory=Recorded)
    wanted: set[_Name] = field(default_factory=set)
    gated: dict[_Name, Proposal] = field(init=False)

    def __post_init__(self) -> None:
        self.gated = {(kind, key_text(key)): why for (kind, key), why in self.proposed.why.items()}


def record(
    tx: Writer,
    run_id: str,
    change_set: str,
    wanted: Iterable[Intent],
    site: str,
    *,
    proposed: Proposed | None = None,
    kinds: Collection[str] = (),
    keys_decided: Iterable[Key] = (),
    seen: Horizon | None = None,
) -> Recorded:
    """Store the intents of a run; ids follow the order given.

    Per natural key: an equal unsent row is kept and now belongs to this run; another
    unsent one is superseded; a row in ``sending`` or ``unknown`` stays and blocks.
    What is ``proposed`` is not ``ready``; a row that was approved before and is the
    same stays ready.

    Args:
        wanted: Each natural key at most once; read once, in chunks.
        site: Chargebee site, part of every idempotency key.
        proposed: What of ``wanted`` awaits approval, and the hash it is approved under.
        kinds: The kinds this run decides.
        keys_decided: Natural keys this run decided; unsent rows of ``kinds`` under
            them that are not among ``wanted`` are superseded.
        seen: What the run saw when it read the ledger; what others concluded since is left out.

    Raises:
        BrokenInvariant: A natural key comes twice.
    """
    tx.take_turn("record")
    sheet = _Sheet(tx, run_id, change_set, site, proposed or Proposed(), seen)
    for some in chunks(wanted):
        _record_some(sheet, some)
    for keys in chunks({key_text(key) for key in keys_decided}):
        _take_back(sheet, kinds, keys)
    return sheet.recorded


def approve(tx: Writer, ids: Iterable[int], approval: str) -> int:
    """Make proposed rows ready; returns how many were proposed still.

    Args:
        approval: The name that the approval is written down under; the rows keep it.
    """
    tx.take_turn("record")
    done = 0
    for some in chunks(ids):
        statement = update(intents).where(
            intents.c.connection == tx.connection, intents.c.id.in_(some), intents.c.state == "proposed"
        )
        done += tx.execute(statement.values(state="ready", approval=approval, updated_at=EpochNow())).rowcount
    return done


def dismiss(tx: Writer, kind: str, key: Key) -> bool:
    """A person closes what is unsent, or was refused, under a natural key; False if there is nothing of the kind."""
    states = (*UNSENT_STATES, "refused")
    return (
        tx.execute(
            update(intents)
            .where(
                intents.c.connection == tx.connection,
                intents.c.kind == kind,
                intents.c.natural_key == key_text(key),
                intents.c.state.in_(states),
                is_latest(intents),
            )
            .values(state="dismissed", lease_owner=None, lease_until=None, updated_at=EpochNow())
        ).rowcount
        == 1
    )


def _record_some(sheet: _Sheet, some: Sequence[Intent]) -> None:
    names = [(intent.kind, key_text(intent.key)) for intent in some]
    for name in names:
        if name in sheet.wanted:
            raise BrokenInvariant("MB-INVARIANT", f"one change set has two intents for {' '.join(name)}", key=name[1])
        sheet.wanted.add(name)
    standing = _open_rows(sheet.tx, names)
    # After the open rows: one that was open a moment ago is either among them or seen here.
    moved = concluded_beyond(sheet.tx, sheet.seen, names) if sheet.seen else set()
    generations = _generations(sheet.tx, names)
    fresh: list[dict[str, Any]] = []
    kept: list[AnyRow] = []
    superseded: list[int] = []
    for name, intent in zip(names, some, strict=True):
        row = _new_row(sheet, name, intent, generations.get(name, 0) + 1)
        known = standing.get(name)
        if name in moved:
            sheet.recorded.left_out.append((intent.kind, intent.key))
        elif known is not None and known.state in IN_FLIGHT_STATES:
            sheet.recorded.blocked += 1
        elif known is not None and all(getattr(known, column) == row[column] for column in _COMPARED):
            kept.append(known)
        else:
            fresh.append(row)
            if known is not None:
                superseded.append(known.id)
    _supersede(sheet, superseded)
    _keep(sheet, kept)
    _insert(sheet, fresh, {name: intent for name, intent in zip(names, some, strict=True) if intent.depends_on})
    _propose(sheet, [name for name in names if name in sheet.gated])


def _open_rows(tx: Writer, names: Collection[_Name]) -> dict[_Name, AnyRow]:
    """The open row of each name, locked, so that none goes into ``sending`` while we decide about it."""
    columns = [intents.c[name] for name in ("id", "kind", "natural_key", "state", "approval", *_COMPARED)]
    query = (
        select(*columns)
        .where(
            intents.c.connection == tx.connection,
            intents.c.kind.in_({kind for kind, _ in names}),
            intents.c.natural_key.in_([key for _, key in names]),
            intents.c.state.in_(OPEN_STATES),
        )
        .order_by(intents.c.id)
        .with_for_update()
    )
    return {(row.kind, row.natural_key): row for row in tx.execute(query)}


def _generations(tx: Writer, names: Collection[_Name]) -> dict[_Name, int]:
    query = (
        select(intents.c.kind, intents.c.natural_key, func.max(intents.c.generation))
        .where(
            intents.c.connection == tx.connection,
            intents.c.kind.in_({kind for kind, _ in names}),
            intents.c.natural_key.in_([key for _, key in names]),
        )
        .group_by(intents.c.kind, intents.c.natural_key)
    )
    return {(kind, key): int(generation) for kind, key, generation in tx.execute(query)}


def _new_row(sheet: _Sheet, name: _Name, intent: Intent, generation: int) -> dict[str, Any]:
    payload = canonical(intent.payload)
    if wrong := misshapen(intent.kind, intent.payload):
        raise BrokenInvariant(
            "MB-INVARIANT", f"a {intent.kind} holds {', '.join(wrong)}, which its shape does not", key=name[1]
        )
    connection = sheet.tx.connection
    return {
        "connection": connection,
        "kind": name[0],
        "natural_key": name[1],
        "generation": generation,
        "action": intent.action,
        "target": intent.target,
        "state": "proposed" if name in sheet.gated else "ready",
        "fingerprint": intent.fingerprint,
        "payload": payload,
        "wanted": canonical(intent.state),
        "reason": intent.reason,
        "scope": intent.scope,
        "depends_on": canonical(intent.depends_on),
        "warnings": canonical(intent.warnings),
        "amount": intent.amount,
        "currency": intent.currency,
        "source_version": intent.source_version,
        "change_set": sheet.change_set,
        "run_id": sheet.run_id,
        "idempotency_key": idempotency_key(
            connection,
            sheet.site,
            intent.kind,
            intent.key,
            generation=generation,
            fingerprint=intent.fingerprint,
        ),
        "attempts": 0,
    }


def _insert(sheet: _Sheet, rows: Sequence[dict[str, Any]], depending: dict[_Name, Intent]) -> None:
    if not rows:
        return
    tx = sheet.tx
    tx.execute(intents.insert().values(created_at=EpochNow(), updated_at=EpochNow()), rows)
    sheet.recorded.inserted += len(rows)
    names = [name for row in rows if (name := (row["kind"], row["natural_key"])) in depending]
    if not names:
        return
    dependencies = [
        {"connection": tx.connection, "intent_id": row.id, "kind": kind, "natural_key": key}
        for name, row in _open_rows(tx, names).items()
        for kind, key in sorted({(ref.kind, key_text(ref.key)) for ref in depending[name].depends_on} - {name})
    ]
    if dependencies:
        tx.execute(intent_dependencies.insert(), dependencies)


def _keep(sheet: _Sheet, rows: Sequence[AnyRow]) -> None:
    """Unsent rows that are wanted again belong to this run now; the gate of this run holds for them too."""
    by_state: dict[str, list[int]] = {"proposed": [], "ready": []}
    for row in rows:
        asked = sheet.gated.get((row.kind, row.natural_key))
        gated = asked is not None and (row.approval is None or asked.follows)
        by_state["proposed" if gated else "ready"].append(row.id)
    for state, ids in by_state.items():
        if ids:
            changed = update(intents).where(intents.c.connection == sheet.tx.connection, intents.c.id.in_(ids))
            new: dict[str, Any] = {
                "run_id": sheet.run_id,
                "change_set": sheet.change_set,
                "state": state,
                "updated_at": EpochNow(),
            }
            if state == "proposed":
                new["approval"] = None
            sheet.tx.execute(changed.values(new))
            sheet.recorded.kept += len(ids)


def _propose(sheet: _Sheet, names: Collection[_Name]) -> None:
    """Note which rows a person approves with this proposal; one that was approved before is not asked for again."""
    if names:
        rows = _open_rows(sheet.tx, names)
        waiting = {row.id: sheet.gated[name] for name, row in rows.items() if row.state == "proposed"}
        proposals.put(sheet.tx, sheet.proposed.change_set, sheet.run_id, waiting)


def _supersede(sheet: _Sheet, ids: Sequence[int]) -> None:
    if ids:
        taken_back = update(intents).where(
            intents.c.connection == sheet.tx.connection, intents.c.id.in_(ids), intents.c.state.in_(UNSENT_STATES)
        )
        new = {"state": "superseded", "lease_owner": None, "lease_until": None, "updated_at": EpochNow()}
        sheet.recorded.superseded += sheet.tx.execute(taken_back.values(new)).rowcount


def _take_back(sheet: _Sheet, kinds: Collection[str], keys: Sequence[str]) -> None:
    query = (
        select(intents.c.id, intents.c.kind, intents.c.natural_key)
        .where(
            intents.c.connection == sheet.tx.connection,
            intents.c.kind.in_(kinds),
            intents.c.natural_key.in_(keys),
            intents.c.state.in_(UNSENT_STATES),
        )
        .order_by(intents.c.id)
        .with_for_update()
    )
    rows = sheet.tx.execute(query).all()
    _supersede(sheet, [row.id for row in rows if (row.kind, row.natural_key) not in sheet.wanted])
