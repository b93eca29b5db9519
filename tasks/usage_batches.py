"""What of an input is still to be sent, cut into batches: the same input makes the same ones."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meterbridge.ledger import usage
from meterbridge.rules.usage import ENVELOPE, MOST_BYTES, MOST_MEASUREMENTS, Numbers, cut, ranges
from meterbridge.staging.arrow import Texts
from meterbridge.staging.usage_file import SLOT_MEASUREMENTS, UsageFile
from meterbridge.usage_mapping import UsageMapping
from tasks.services import Services
from tasks.usage_input import UsageInput

MOST_SLOTS_PER_READ = 64
READ_BYTES = 8_000_000
MOST_READ_BYTES = 64_000_000
"""What one read is to hold, and what it may hold when its texts are the longest; beginning one takes milliseconds."""

SLOT_BYTES = 10_000_000
"""What a slot may hold if every text of the mapping is as long as it may be."""

FIELD_BYTES = 256
FRAME_BYTES = 300
"""A field's text, and what is around the fields, at their longest."""

GROUP_BYTES = 8_000_000


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
    """Hands out an input's batches, slot by slot, without those that the ledger ``knew`` as sent.

    A slot is a fixed range of source rows. When more of its rows are sound than in an earlier
    run (an account was missing, say), only those are in its new batch.
    """

    def __init__(self, knew: Sequence[usage.UsageBatch], mapping: UsageMapping, file: UsageFile) -> None:
        self._file = file
        self._sorted = len(mapping.meters) == 1
        self._sent = Numbers(batch.members for batch in knew if batch.state == "sent")
        self.size, self._slot_bytes = slot_size(len(mapping.meters), mapping.widest())
        self._most_slots = max(1, min(MOST_SLOTS_PER_READ, MOST_READ_BYTES // self._slot_bytes))
        file.read_in_turn(self._slot_bytes // self.size)
        self._last = file.bounds()[1]
        self.last_slot = self._last // self.size
        self.skipped = 0

    def groups(self, most: int) -> Iterator[list[Batch]]:
        """All batches in order, so many at a time, fewer where they are large."""
        group: list[Batch] = []
        held = 0
        for batch in self.batches(0, self.last_slot):
            group.append(batch)
            held += len(batch.body)
            if len(group) == most or held > GROUP_BYTES:
                yield group
                group, held = [], 0
        yield group

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of the slots from ``first`` to ``last``, inclusive."""
        while first <= last:
            slots = max(1, min(self._most_slots, READ_BYTES // self._slot_bytes))
            until = min(first + slots, last + 1)
            low, high = first * self.size, min(until * self.size - 1, self._last)
            if self._sent.hold_all(low, high):
                self.skipped += self._file.count_sendable(low, high)
            else:
                yield from self._read(low, high)
            first = until

    def _read(self, low: int, high: int) -> Iterator[Batch]:
        widest = 1
        for texts in self._file.sendable(low, high, sorted_rows=self._sorted):
            numbers = texts.numbers
            start = 0
            while start < len(numbers):
                slot = numbers[start] // self.size
                end = bisect_left(numbers, (slot + 1) * self.size, start)
                sent = self._sent.within(numbers[start], numbers[end - 1])
                places = [n for n in range(start, end) if numbers[n] not in sent] if sent else range(start, end)
                self.skipped += end - start - len(places)
                yield from cut_texts(slot, texts, places)
                widest = max(widest, texts.ends[end] - texts.ends[start])
                start = end
        self._slot_bytes = widest


def cutter_of(work: Services, given: UsageInput, file: UsageFile) -> Cutter:
    """What the ledger does not know as sent of an input that was landed and judged."""
    with work.ledger.read() as rx:
        knew = usage.batches(rx, given.mapping.name, given.hash)
    return Cutter(knew, given.mapping, file)


def slot_size(meters: int, fields: int) -> tuple[int, int]:
    """Measurement numbers a slot, and their bytes at most: by the mapping, so that the same input has the same slots.

    >>> slot_size(1, 3), slot_size(3, 60)
    ((1000, 1068000), (636, 9959760))
    """
    width = FRAME_BYTES + FIELD_BYTES * fields
    size = min(SLOT_MEASUREMENTS, SLOT_BYTES // width) // meters * meters or meters
    return size, width * size


def cut_texts(slot: int, texts: Texts, places: Sequence[int]) -> Iterator[Batch]:
    """Batches of the measurements at these places, each within m3ter's limits."""
    ends = texts.ends
    start = 0
    # A slot of small measurements is one request: that is seen without counting each of them.
    few = 0 < len(places) <= MOST_MEASUREMENTS and ends[places[-1] + 1] - ends[places[0]] < MOST_BYTES - ENVELOPE
    for count in [len(places)] if few else cut([ends[place + 1] - ends[place] - 1 for place in places]):
        yield _batch(slot, texts, places[start : start + count])
        start += count


def _batch(slot: int, texts: Texts, places: Sequence[int]) -> Batch:
    first, last = places[0], places[-1] + 1
    in_turn = last - first == len(places)
    body = texts.span(first, last) if in_turn else "".join(texts.span(place, place + 1) for place in places)
    body = body[1:]
    low, high = texts.numbers[first], texts.numbers[last - 1]
    gapless = high - low + 1 == len(places)
    members = f"{low}-{high}" if gapless else ranges(texts.numbers[place] for place in places)
    return Batch(hashlib.sha256(body.encode()).hexdigest()[:40], slot, members, len(places), low, high, body)
