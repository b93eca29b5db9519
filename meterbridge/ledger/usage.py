"""Which usage inputs were declared and which batches of them went out, so that a resend of a batch is known as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

from sqlalchemy import select, update

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import usage_batches, usage_inputs
from meterbridge.ledger.transaction import Reader, Writer, insert_into, insert_new

BatchState = Literal["ready", "sent", "failed"]


@dataclass(frozen=True, slots=True)
class UsageInput:
    """A file or query result under one mapping file, by the hash of its content."""

    mapping: str
    input_hash: str
    name: str
    row_count: int
    run_id: str


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """One request's worth of measurements, by the hash of its content; ``number`` counts from 1 within the input."""

    mapping: str
    batch_hash: str
    input_hash: str
    number: int
    row_count: int
    run_id: str
    state: BatchState = "ready"
    job_id: str | None = None


_COLUMNS = [usage_batches.c[field.name] for field in fields(UsageBatch)]


def declare_input(tx: Writer, declared: UsageInput) -> bool:
    """Write an input down; False if the same content was declared before."""
    row = {
        "connection": tx.connection,
        "mapping": declared.mapping,
        "input_hash": declared.input_hash,
        "name": declared.name,
        "row_count": declared.row_count,
        "run_id": declared.run_id,
        "declared_at": EpochNow(),
    }
    return insert_new(tx, usage_inputs, row, ["connection", "mapping", "input_hash"])


def record_batches(tx: Writer, batches: Sequence[UsageBatch]) -> None:
    """Write batches down before they are sent; one that is known keeps its state."""
    if not batches:
        return
    insert = insert_into(tx, usage_batches).values(updated_at=EpochNow())
    rows = [{"connection": tx.connection, **asdict(batch)} for batch in batches]
    tx.execute(insert.on_conflict_do_nothing(index_elements=["connection", "mapping", "batch_hash"]), rows)


def mark_sent(tx: Writer, mapping: str, batch_hash: str, *, job_id: str | None = None) -> bool:
    """The vendor took the batch (``job_id``: its upload job); False if the batch is not known."""
    return _mark(tx, mapping, batch_hash, "sent", job_id)


def mark_failed(tx: Writer, mapping: str, batch_hash: str, *, job_id: str | None = None) -> bool:
    """The vendor refused the batch; False if it is not known."""
    return _mark(tx, mapping, batch_hash, "failed", job_id)


def batches(rx: Reader, mapping: str, input_hash: str) -> list[UsageBatch]:
    """An input's batches in order."""
    query = select(*_COLUMNS).where(
        usage_batches.c.connection == rx.connection,
        usage_batches.c.mapping == mapping,
        usage_batches.c.input_hash == input_hash,
    )
    return [UsageBatch(*row) for row in rx.execute(query.order_by(usage_batches.c.number))]


def _mark(tx: Writer, mapping: str, batch_hash: str, state: BatchState, job_id: str | None) -> bool:
    changed = update(usage_batches).where(
        usage_batches.c.connection == tx.connection,
        usage_batches.c.mapping == mapping,
        usage_batches.c.batch_hash == batch_hash,
    )
    return tx.execute(changed.values(state=state, job_id=job_id, updated_at=EpochNow())).rowcount == 1
