"""What of an input is still to be sent, cut into batches: the same input makes the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meterbridge.ledger import usage
from meterbridge.rules.usage import ENVELOPE, MOST_BYTES, MOST_MEASUREMENTS, Numbers, cut, ranges
from meterbridge.staging.usage_file import SLOT_MEASUREMENTS, Rendered, Slot, UsageFile
from tasks.services import Services
from tasks.usage_input import UsageInput

MOST_SLOTS_PER_READ = 8
"""Texts of more slots at once are memory that the system takes back after each read, and clears again for the next."""

READ_BYTES = 10_000_000
"""What one read may hold if every text of the mapping is as long as it may be."""

FIELD_BYTES = 256
FRAME_BYTES = 300
"""A field's text, and what is around the fields, at their longest."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: JSON objects joined by commas. ``first`` to ``last`` are measurement numbers."""

    hash: str
    slot: int
    members: str
    count: int
    first: int
    last: int
    body: str

    def row(self, given: UsageInput, run_id: str) -> usage.UsageBatch:
        """As the ledger keeps it."""
        name = given.mapping.name
        return usage.UsageBatch(name, self.hash, given.hash, self.slot, self.count, run_id, members=self.members)


class Cutter:
    """Hands out an input's batches, slot by slot, without what the ledger knows as sent.

    A slot is a fixed range of source rows. When more of its rows are sound than in an earlier
    run (an account was missing, say), only those are in its new batch.
    """

    def __init__(self, work: Services, given: UsageInput, file: UsageFile) -> None:
        self._file = file
        self._sorted = len(given.mapping.meters) == 1
        file.read_in_turn()
        with work.ledger.read() as rx:
            known = usage.batches(rx, given.mapping.name, given.hash)
        self._sent = Numbers(batch.members for batch in known if batch.state == "sent")
        self.size, self._at_once = reading(len(given.mapping.meters), given.mapping.widest())
        self.last_slot = file.bounds()[1] // self.size
        self.skipped = 0

    def groups(self, slots: int) -> Iterator[list[Batch]]:
        """All batches in order, those of so many slots together; a group may be empty."""
        for first in range(0, self.last_slot + 1, slots):
            yield list(self.batches(first, min(first + slots - 1, self.last_slot)))

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of the slots from ``first`` to ``last``, inclusive."""
        for start in range(first, last + 1, self._at_once):
            yield from self._read(start, min(start + self._at_once - 1, last))

    def _read(self, first: int, last: int) -> Iterator[Batch]:
        for slot in self._file.slots(first, last, self.size, sorted_rows=self._sorted):
            sent = self._sent.within(slot.first, slot.last)
            if not sent and _fits(slot):
                members = ranges(slot.members) if slot.members else f"{slot.first}-{slot.last}"
                yield _batch(slot.number, slot.body, members, slot.count, (slot.first, slot.last))
                continue
            numbers = set(slot.members or range(slot.first, slot.last + 1)) - sent
            self.skipped += slot.count - len(numbers)
            if numbers:
                rows = [row for row in self._file.rendered(slot.first, slot.last) if row.number in numbers]
                yield from cut_rows(slot.number, rows)


def reading(meters: int, fields: int) -> tuple[int, int]:
    """Measurement numbers a slot, and slots a read: by the mapping alone, so that the same input has the same slots.

    >>> reading(1, 3), reading(3, 60)
    ((1000, 8), (636, 1))
    """
    width = FRAME_BYTES + FIELD_BYTES * fields
    size = min(SLOT_MEASUREMENTS, READ_BYTES // width) // meters * meters or meters
    return size, max(1, min(MOST_SLOTS_PER_READ, READ_BYTES // (width * size)))


def cut_rows(slot: int, rows: Sequence[Rendered]) -> Iterator[Batch]:
    """Batches of these measurements, each within m3ter's limits."""
    start = 0
    for count in cut([len(row.body.encode()) for row in rows]):
        part = rows[start : start + count]
        start += count
        body = ",".join(row.body for row in part)
        yield _batch(slot, body, ranges(row.number for row in part), count, (part[0].number, part[-1].number))


def _batch(slot: int, body: str, members: str, count: int, span: tuple[int, int]) -> Batch:
    return Batch(hashlib.sha256(body.encode()).hexdigest()[:40], slot, members, count, span[0], span[1], body)


def _fits(slot: Slot) -> bool:
    size = len(slot.body) if slot.body.isascii() else len(slot.body.encode())
    return slot.count <= MOST_MEASUREMENTS and size + ENVELOPE < MOST_BYTES
