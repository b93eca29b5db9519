"""Which usage inputs were declared and which batches of them went out, so that a resend of a batch is known as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from sqlalchemy import Column, ColumnElement, and_, select, update

from meterbridge.ledger.expressions import EpochNow
from meterbridge.ledger.schema import usage_batches, usage_members
from meterbridge.ledger.transaction import Reader, Writer, chunks, insert_into

BatchState = Literal["ready", "sent", "failed"]


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """One request's or upload's worth of measurements, by the hash of its content.

    ``number`` is the slot of the input that it belongs to; ``members`` says which of the
    input's measurements it holds, as ``rules.usage.ranges`` writes them.
    """

    mapping: str
    batch_hash: str
    input_hash: str
    number: int
    row_count: int
    run_id: str
    state: BatchState = "ready"
    job_id: str | None = None
    members: str = ""


_COLUMNS = [usage_batches.c[field.name] for field in fields(UsageBatch) if field.name != "members"]
_MEMBER_COLUMNS = [column for column in usage_members.columns if column.name != "connection"]


def record_batches(tx: Writer, batches: Sequence[UsageBatch]) -> None:
    """Write batches down before they are sent; one that is known keeps its state."""
    if not batches:
        return
    insert = insert_into(tx, usage_batches).values(updated_at=EpochNow())
    keys = ["connection", "mapping", "batch_hash"]
    tx.execute(insert.on_conflict_do_nothing(index_elements=keys), [_row(tx, batch, _COLUMNS) for batch in batches])
    members = [_row(tx, batch, _MEMBER_COLUMNS) for batch in batches]
    tx.execute(insert_into(tx, usage_members).on_conflict_do_nothing(index_elements=keys), members)


def mark_sent(tx: Writer, mapping: str, batch_hash: str, *, job_id: str | None = None) -> bool:
    """The vendor took the batch (``job_id``: its upload job); False if the batch is not known."""
    return _mark(tx, mapping, [batch_hash], "sent", job_id) == 1


def mark_all_sent(tx: Writer, mapping: str, batch_hashes: Sequence[str]) -> int:
    """The vendor took these batches; returns how many are known."""
    return sum(_mark(tx, mapping, chunk, "sent", None) for chunk in chunks(batch_hashes))


def mark_failed(tx: Writer, mapping: str, batch_hash: str, *, job_id: str | None = None) -> bool:
    """The vendor refused the batch; False if it is not known."""
    return _mark(tx, mapping, [batch_hash], "failed", job_id) == 1


def note_job(tx: Writer, mapping: str, batch_hash: str, job_id: str) -> bool:
    """The upload job through which the batch goes out; to be written down before the upload starts."""
    return _mark(tx, mapping, [batch_hash], "ready", job_id) == 1


def batches(rx: Reader, mapping: str, input_hash: str) -> list[UsageBatch]:
    """An input's batches in order."""
    return _found(rx, mapping, usage_batches.c.input_hash == input_hash)


def known(rx: Reader, mapping: str, batch_hashes: Sequence[str]) -> dict[str, UsageBatch]:
    """Those of these batches that the ledger knows, of whatever input, by hash."""
    found = [_found(rx, mapping, usage_batches.c.batch_hash.in_(chunk)) for chunk in chunks(batch_hashes)]
    return {batch.batch_hash: batch for part in found for batch in part}


def _row(tx: Writer, batch: UsageBatch, columns: Iterable[Column[Any]]) -> dict[str, object]:
    # Not asdict, which copies every value: it took as long as writing them.
    return {"connection": tx.connection} | {column.name: getattr(batch, column.name) for column in columns}


def _found(rx: Reader, mapping: str, which: ColumnElement[bool]) -> list[UsageBatch]:
    query = (
        select(*_COLUMNS, usage_members.c.members)
        .join(
            usage_members,
            and_(
                usage_members.c.connection == usage_batches.c.connection,
                usage_members.c.mapping == usage_batches.c.mapping,
                usage_members.c.batch_hash == usage_batches.c.batch_hash,
            ),
        )
        .where(usage_batches.c.connection == rx.connection, usage_batches.c.mapping == mapping, which)
    )
    return [UsageBatch(*row) for row in rx.execute(query.order_by(usage_batches.c.number))]


def _mark(tx: Writer, mapping: str, batch_hashes: Sequence[str], state: BatchState, job_id: str | None) -> int:
    changed = update(usage_batches).where(
        usage_batches.c.connection == tx.connection,
        usage_batches.c.mapping == mapping,
        usage_batches.c.batch_hash.in_(batch_hashes),
    )
    return tx.execute(changed.values(state=state, job_id=job_id, updated_at=EpochNow())).rowcount
