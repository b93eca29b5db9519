"""Rows of one resource: current, indexed, and as they were (for lists that lag behind).

A row is never changed in place: `put` stores a new dict. So events, lagging lists and callers may keep what they got.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
SortKey = Callable[[Row], int]

# Longer than any lag that a test of late lists needs; older versions are dropped.
HISTORY_MS = 3 * 3600 * 1000
NO_VALUE = -1


@dataclass(slots=True)
class Entry:
    """One row with its serial number and its versions (instant in ms, row or None when gone)."""

    id: str
    seq: int
    row: Row
    history: list[tuple[int, Row | None]] = field(default_factory=list)


class Table:
    """Rows by id, in sort order of some integer fields, and by equality of some text fields."""

    def __init__(self, *, sort_fields: tuple[str, ...] = (), equal_fields: tuple[str, ...] = ()) -> None:
        self._entries: dict[str, Entry] = {}
        self._by_seq: dict[int, Entry] = {}
        self._gone: list[Entry] = []
        self._next_seq = 1
        self._sorted: dict[str, list[tuple[int, int]]] = {name: [] for name in ("", *sort_fields)}
        self._equal: dict[str, dict[Any, dict[int, None]]] = {name: {} for name in equal_fields}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._entries

    def had(self, row_id: str) -> bool:
        """True if a row of this id was removed."""
        return any(entry.id == row_id for entry in self._gone)

    def get(self, row_id: str) -> Row | None:
        entry = self._entries.get(row_id)
        return entry.row if entry else None

    def rows(self) -> Iterator[Row]:
        """Oldest first."""
        return (entry.row for entry in list(self._entries.values()))

    def put(self, row_id: str, row: Row, at_ms: int) -> Row:
        """Store a new row or a new version of one; `row` belongs to the table from here on."""
        entry = self._entries.get(row_id)
        if entry is None:
            entry = Entry(row_id, self._next_seq, row)
            self._next_seq += 1
            self._entries[row_id] = self._by_seq[entry.seq] = entry
            self._index(entry.seq, row)
        else:
            self._reindex(entry.seq, entry.row, row)
            entry.row = row
        entry.history.append((at_ms, row))
        if len(entry.history) > 4:
            _forget_old(entry.history, at_ms - HISTORY_MS)
        return row

    def remove(self, row_id: str, at_ms: int) -> Row:
        entry = self._entries.pop(row_id)
        del self._by_seq[entry.seq]
        self._unindex(entry.seq, entry.row)
        entry.history.append((at_ms, None))
        self._gone.append(entry)
        return entry.row

    def find(self, name: str, value: Any) -> list[Row]:
        """Rows whose indexed field equals `value`, oldest first."""
        return [self._by_seq[seq].row for seq in sorted(self._equal[name].get(value, ()))]

    def is_indexed(self, name: str) -> bool:
        return name == "id" or name in self._equal

    def is_sortable(self, name: str) -> bool:
        return name in self._sorted

    def walk(
        self, sort: str, *, descending: bool, after: tuple[int, int] | None, low: int | None = None
    ) -> Iterator[tuple[int, int, Row]]:
        """(sort value, serial number, row) in order, beyond `after`; ascending walks may start at the value `low`."""
        index = self._sorted[sort]
        if descending:
            stop = bisect_left(index, after) if after else len(index)
            span = range(stop - 1, -1, -1)
        else:
            start = bisect_right(index, after) if after else 0
            if low is not None:
                start = max(start, bisect_left(index, (low, 0)))
            span = range(start, len(index))
        for position in span:
            key, seq = index[position]
            yield key, seq, self._by_seq[seq].row

    def among(self, name: str, values: list[Any], sort: str) -> list[tuple[int, int, Row]]:
        """(sort value, serial number, row) of the rows whose indexed field is one of `values`, ascending."""
        if name == "id":
            seqs = {self._entries[value].seq for value in values if value in self._entries}
        else:
            seqs = {seq for value in values for seq in self._equal[name].get(value, ())}
        found = [(sort_value(self._by_seq[seq].row, sort), seq, self._by_seq[seq].row) for seq in seqs]
        return sorted(found, key=lambda each: each[:2])

    def as_of(self, at_ms: int, sort: str) -> list[tuple[int, int, Row]]:
        """What a list that lags shows: every row as it was at an instant, ascending."""
        found = []
        for entry in [*self._entries.values(), *self._gone]:
            row = next((version for moment, version in reversed(entry.history) if moment <= at_ms), None)
            if row is not None:
                found.append((sort_value(row, sort), entry.seq, row))
        return sorted(found, key=lambda each: each[:2])

    def _index(self, seq: int, row: Row) -> None:
        for name, index in self._sorted.items():
            insort(index, (sort_value(row, name), seq))
        for name, groups in self._equal.items():
            groups.setdefault(row.get(name), {})[seq] = None

    def _unindex(self, seq: int, row: Row) -> None:
        for name, index in self._sorted.items():
            del index[bisect_left(index, (sort_value(row, name), seq))]
        for name, groups in self._equal.items():
            del groups[row.get(name)][seq]

    def _reindex(self, seq: int, old: Row, new: Row) -> None:
        for name, index in self._sorted.items():
            before, now = sort_value(old, name), sort_value(new, name)
            if before != now:
                del index[bisect_left(index, (before, seq))]
                insort(index, (now, seq))
        for name, groups in self._equal.items():
            if old.get(name) != new.get(name):
                del groups[old.get(name)][seq]
                groups.setdefault(new.get(name), {})[seq] = None


def sort_value(row: Row, name: str) -> int:
    """Rows without the field come first."""
    if not name:
        return 0
    value = row.get(name)
    return NO_VALUE if value is None else int(value)


def _forget_old(history: list[tuple[int, Row | None]], horizon: int) -> None:
    keep = 0
    while keep + 1 < len(history) and history[keep + 1][0] <= horizon:
        keep += 1
    del history[:keep]
