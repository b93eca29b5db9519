"""Every run: which flow, when, how it was called, where its staging file is, how it ended.

A flow run that is tried again is a run of its own each time, so that leases, writes and staging files of one attempt
are never taken for those of another: the second attempt of ``ID`` is the run ``ID.2``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from meterbridge.errors import BrokenInvariant
from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import runs
from meterbridge.ledger.transaction import AnyRow, Reader, Writer

SIGN_SECONDS = 30.0
"""How often a run at work gives a sign of life."""

LOST_SECONDS = 300.0
"""A run that has given none for so long is given up; less would call lost who waits for a lock, or a short pause."""

_ATTEMPT = re.compile(r"(?P<flow_run>.+)\.(?P<number>[0-9]+)")


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run. Instants are epoch seconds; ``parameters`` and ``counts`` hold JSON values; ``staging`` is a path.

    ``runner`` names the process that it is in, ``seen_at`` is when it last gave a sign of life.
    """

    run_id: str
    flow: str
    started_at: float
    parameters: Mapping[str, Any]
    staging: str
    state: str = "running"
    ended_at: float | None = None
    counts: Mapping[str, Any] | None = None
    change_set: str | None = None
    runner: str | None = None
    seen_at: float | None = None

    @property
    def flow_run_id(self) -> str:
        """The flow run's id, the same for all its attempts."""
        return flow_run_of(self.run_id)

    @property
    def attempt(self) -> int:
        """Which attempt of the flow run this is, from 1."""
        found = _ATTEMPT.fullmatch(self.run_id)
        return int(found["number"]) if found else 1

    @property
    def evidence(self) -> Path | None:
        """The run's staging file; the file of its facts where it found nothing; None where it is gone or never was."""
        path = Path(self.staging)
        return next((one for one in (path, path.with_suffix(".json")) if one.is_file()), None)

    def is_silent(self, now: float) -> bool:
        """True if it never ended and has given no sign of life for so long that nobody does its work any more."""
        last = self.started_at if self.seen_at is None else self.seen_at
        return self.state == "running" and now - last > LOST_SECONDS


def flow_run_of(run_id: str) -> str:
    """The id of the flow run that a run is an attempt of."""
    found = _ATTEMPT.fullmatch(run_id)
    return found["flow_run"] if found else run_id


def next_id(tx: Writer, flow_run_id: str) -> str:
    """The id of the flow run's next attempt; nobody else gets it before this transaction ends."""
    tx.take_turn("runs")
    made = attempts(tx, flow_run_id)
    return f"{flow_run_id}.{made[0].attempt + 1}" if made else flow_run_id


def attempts(rx: Reader, flow_run_id: str) -> list[RunRow]:
    """All attempts of a flow run, the newest first. The id of a later attempt names that one alone."""
    named = (runs.c.run_id == flow_run_id) | runs.c.run_id.startswith(f"{flow_run_id}.", autoescape=True)
    rows = [_run(row) for row in rx.execute(select(runs).where(runs.c.connection == rx.connection, named))]
    ours = [row for row in rows if flow_run_id in (row.run_id, row.flow_run_id)]
    return sorted(ours, key=lambda row: row.attempt, reverse=True)


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
            runner=row.runner,
            seen_at=row.seen_at,
        )
    )


def give_sign(tx: Writer, run_id: str) -> None:
    """Say that the run is at work; nothing if it has ended."""
    ours = update(runs).where(runs.c.connection == tx.connection, runs.c.run_id == run_id, runs.c.state == "running")
    tx.execute(ours.values(seen_at=EpochNow()))


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
        runner=row.runner,
        seen_at=row.seen_at,
    )
