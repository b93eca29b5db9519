"""Where a text input is copied to: numbered rows in one file, beside it where they lay, and what was no row."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from meterbridge.errors import BrokenInvariant

ROOM = "See that the disk of METERBRIDGE_HOME has room and can be written, then run again: nothing is lost."
"""The remedy where the staging file or the copy beside it cannot be written."""

PLACES = {"first_row": "BIGINT", "file": "INTEGER", "line": "BIGINT"}
BROKEN_LINES = {"file": "INTEGER", "line": "BIGINT", "lines": "BIGINT", "reason": "VARCHAR", "subject": "VARCHAR"}


@dataclass(slots=True)
class LineCount:
    """What became of each line of all files; the sum of the others is ``lines``."""

    lines: int = 0
    skipped: int = 0
    headings: int = 0
    blank: int = 0
    rows: int = 0
    unreadable: int = 0
    under_open_quotes: int = 0

    def check(self) -> None:
        """Raise BrokenInvariant if a line is not accounted for."""
        counts = asdict(self)
        if counts.pop("lines") != sum(counts.values()):
            raise BrokenInvariant("MB-INVARIANT", f"{self.lines} lines were read, but {counts} accounted for")


class Copy:
    """The copy being written. Each file's lines count from 1, the rows of all files are counted through."""

    def __init__(self, stem: Path) -> None:
        self.rows_file, self.places_file, self.broken_file = (
            stem.with_name(f"{stem.name}-{what}.csv") for what in ("rows", "places", "broken")
        )
        self.count = LineCount()
        self.rows = 0
        self.bare: list[str] = []
        self._file = -1
        self._name = ""
        self._rows_before = 0
        self._offset: int | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.rows_file.parent.mkdir(parents=True, exist_ok=True)
        self._out = self._opened(self.rows_file)
        self._places, self._broken = (
            csv.writer(self._stack.enter_context(os.fdopen(_private(path), "w", encoding="utf-8", newline="")))
            for path in (self.places_file, self.broken_file)
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if kind is not None:
            self.remove()

    def remove(self) -> None:
        """Take all of it away."""
        for path in (self.rows_file, self.places_file, self.broken_file):
            path.unlink(missing_ok=True)

    def next_file(self, name: str) -> None:
        """What follows is of the next file."""
        self._end_file()
        self._file += 1
        self._name, self._rows_before, self._offset = name, self.rows, None

    def end(self) -> None:
        """All files were read: each line of theirs is accounted for."""
        self._end_file()
        self.count.check()

    def _end_file(self) -> None:
        if self._name and self.rows == self._rows_before:
            self.bare.append(self._name)

    def put(self, line: int, records: Sequence[bytes], lines: int, separator: bytes) -> None:
        """Rows of the current file that follow each other from ``line`` on, and take up so many lines in all."""
        first = self.rows + 1
        if line - first != self._offset:
            self._places.writerow([first, self._file, line])
            self._offset = line - first
        self._out.write(b"".join([b"%d%b%b\n" % (n, separator, record) for n, record in enumerate(records, first)]))
        self.rows += len(records)
        self.count.rows += lines

    def refuse(self, line: int, fault: str, *, lines: int = 1, under_quote: bool = False) -> None:
        """Lines of the current file that are no row."""
        reason = "open_quote" if under_quote else "unreadable_line"
        self._broken.writerow([self._file, line, lines, reason, fault])
        if under_quote:
            self.count.under_open_quotes += lines
        else:
            self.count.unreadable += lines

    def _opened(self, path: Path) -> IO[bytes]:
        return self._stack.enter_context(os.fdopen(_private(path), "wb", buffering=1 << 20))


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
