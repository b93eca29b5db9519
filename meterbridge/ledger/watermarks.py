"""Up to which instant a resource is fully settled."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from meterbridge.errors import BrokenInvariant
from meterbridge.ledger.schema import watermarks
from meterbridge.ledger.transaction import Reader, Writer, upsert


@dataclass(frozen=True, slots=True)
class Watermark:
    """``position`` is the last instant fully settled, ``updated_at`` when that was said; both epoch seconds.

    ``fingerprint`` hashes what was in scope: another one needs a full read.
    """

    position: float
    fingerprint: str
    run_id: str
    updated_at: float


def get(rx: Reader, resource: str) -> Watermark | None:
    """The resource's watermark; None before the first settled run."""
    query = select(watermarks.c.position, watermarks.c.fingerprint, watermarks.c.run_id, watermarks.c.updated_at).where(
        watermarks.c.connection == rx.connection, watermarks.c.resource == resource
    )
    row = rx.execute(query).one_or_none()
    return None if row is None else Watermark(*row)


def advance(tx: Writer, resource: str, position: float, fingerprint: str, run_id: str) -> None:
    """Move the watermark; back only together with a new fingerprint.

    Raises:
        BrokenInvariant: The position is lower and the fingerprint the same.
    """
    tx.take_turn("watermarks")
    known = get(tx, resource)
    if known is not None and position < known.position and fingerprint == known.fingerprint:
        raise BrokenInvariant(
            "MB-INVARIANT",
            f"the watermark of {resource} would go back from {known.position} to {position}",
            key=resource,
        )
    row = {
        "connection": tx.connection,
        "resource": resource,
        "position": position,
        "fingerprint": fingerprint,
        "run_id": run_id,
    }
    upsert(tx, watermarks, [row])
