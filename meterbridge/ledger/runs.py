"""Every run: which flow, when, how it was called, where its staging file is, how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from meterbridge.errors import BrokenInvariant
from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import runs
from meterbridge.ledger.transaction import AnyRow, Reader, Writer


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run. Instants are epoch seconds; ``parameters`` and ``counts`` hold JSON values; ``staging`` is a path."""

    run_id: str
    flow: str
    started_at: float
    parameters: Mapping[str, Any]
    staging: str
    state: str = "running"
    ended_at: float | None = None
    counts: Mapping[str, Any] | None = None
    change_set: str | None = None


def open_run(tx: Writer, row: RunRow) -> None:
    """Write a new run down."""
    tx.execute(
        runs.insert().values(
            connection=tx.connection,
            run_id=row.run_id,
            flow=row.flow,
            state=row.state,
            started_at=row.started_at,
            parameters=_json(row.parameters),
            staging=row.staging,
        )
    )


def close_run(tx: Writer, run_id: str, state: str, counts: Mapping[str, Any] | None, change_set: str | None) -> None:
    """Say how the run ended; ``change_set`` None leaves what was stored.

    Raises:
        BrokenInvariant: There is no such run.
    """
    values: dict[str, Any] = {"state": state, "ended_at": EpochNow()}
    if counts is not None:
        values["counts"] = _json(counts)
    if change_set is not None:
        values["change_set"] = change_set
    ours = update(runs).where(runs.c.connection == tx.connection, runs.c.run_id == run_id)
    if tx.execute(ours.values(values)).rowcount != 1:
        raise BrokenInvariant("MB-INVARIANT", f"run {run_id} is closed but was never opened", key=run_id)


def get(rx: Reader, run_id: str) -> RunRow | None:
    """One run."""
    row = rx.execute(select(runs).where(runs.c.connection == rx.connection, runs.c.run_id == run_id)).one_or_none()
    return None if row is None else _run(row)


def recent(rx: Reader, flow: str | None = None, limit: int = 20) -> list[RunRow]:
    """The latest runs, newest first; of one flow if it is named."""
    query = select(runs).where(runs.c.connection == rx.connection)
    if flow is not None:
        query = query.where(runs.c.flow == flow)
    query = query.order_by(runs.c.started_at.desc(), runs.c.run_id.desc()).limit(limit)
    return [_run(row) for row in rx.execute(query)]


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), ensure_ascii=False, sort_keys=True, default=str)


def _run(row: AnyRow) -> RunRow:
    return RunRow(
        run_id=row.run_id,
        flow=row.flow,
        started_at=row.started_at,
        parameters=json.loads(row.parameters),
        staging=row.staging,
        state=row.state,
        ended_at=row.ended_at,
        counts=None if row.counts is None else json.loads(row.counts),
        change_set=row.change_set,
    )
