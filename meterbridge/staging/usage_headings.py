"""The headings of CSV files: which columns each has, and what a mapping that names others is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meterbridge.errors import SetupError
from meterbridge.staging.usage_lines import CORRECT_FILE, blocks, is_utf8, physical, text_of
from meterbridge.staging.usage_records import Record, Records
from meterbridge.staging.usage_shape import Reading
from meterbridge.staging.usage_unpack import Source

SHOWN_COLUMNS = 40


@dataclass(frozen=True, slots=True)
class Heading:
    """One file's columns. ``names`` are told apart by a number where ``doubled`` ones occur again."""

    file: str
    names: tuple[str, ...]
    doubled: tuple[str, ...]

    def place(self, column: str) -> int | None:
        """Where a column is, whatever its case; None if the file has none of this name."""
        wanted = column.casefold()
        return next((n for n, name in enumerate(self.names) if name.casefold() == wanted), None)


def heading_of(source: Source, reading: Reading, delimiter: bytes) -> Heading:
    """Read a file's heading, the first line that is neither to be skipped nor blank.

    Raises:
        SetupError: MB-USAGE-INPUT, the file has none, or nobody can read it.
    """
    name = source.name
    record = next(_records(source, reading, delimiter), None)
    if record is None:
        words = f"{name} is empty: it has not even a heading"
        raise SetupError("MB-USAGE-INPUT", words, remedy="See whether it was written whole, or leave it out.")
    if record.fault or not all(is_utf8(text) for text in record.fields):
        fault = record.fault or f"it is not {reading.encoding}: name the file's encoding in the mapping"
        raise SetupError("MB-USAGE-INPUT", f"{name}: its heading cannot be read: {fault}", remedy=CORRECT_FILE)
    given = [text.decode().strip() or f"column{n}" for n, text in enumerate(record.fields)]
    counts = Counter(text.casefold() for text in given)
    doubled = tuple(dict.fromkeys(text for text in given if counts[text.casefold()] > 1))
    return Heading(name, tuple(_told_apart(given)), doubled)


def one_heading(headings: Sequence[Heading], reading: Reading) -> tuple[str, ...]:
    """The columns of all files, in the order in which they come up.

    Raises:
        SetupError: MB-USAGE-MAPPING, no file has a column of the mapping; MB-USAGE-INPUT, one lacks what all need,
            or has a column twice that the mapping names.
    """
    columns: dict[str, str] = {}
    for heading in headings:
        for name in heading.names:
            columns.setdefault(name.casefold(), name)
    if lacking := [name for name in reading.bound if name.casefold() not in columns]:
        raise missing_columns(headings[0].file, lacking, list(columns.values()))
    for heading in headings:
        if lacking := [name for name in reading.needed if heading.place(name) is None]:
            words = f"{heading.file}: its first line is no heading that fits, it has no column {', '.join(lacking)}"
            raise SetupError("MB-USAGE-INPUT", f"{words}; it has: {listed(heading.names)}", remedy=_HEADLESS)
        for name in heading.doubled:
            if _mentioned(name, reading):
                words = f"{heading.file}: its heading names the column {name} twice, and the mapping means one of them"
                raise SetupError("MB-USAGE-INPUT", words, remedy="Rename one of both in the file; nothing was sent.")
    return tuple(columns.values())


_HEADLESS = "Put the heading into each file, or correct skip_lines in the mapping; nothing was sent."


def missing_columns(file: str, lacking: Sequence[str], columns: Sequence[str]) -> SetupError:
    """The mapping names columns that the input does not have; what it has is told."""
    words = f"{file} has no column {', '.join(lacking)}; its columns are: {listed(columns)}"
    return SetupError("MB-USAGE-MAPPING", words, remedy="Correct the names, delimiter or skip_lines in the mapping.")


def listed(columns: Sequence[str]) -> str:
    """Columns as people read them."""
    more = len(columns) - SHOWN_COLUMNS
    return ", ".join(name[:60] for name in columns[:SHOWN_COLUMNS]) + (f" and {more} more" if more > 0 else "")


def _records(source: Source, reading: Reading, delimiter: bytes) -> Iterator[Record]:
    records = Records(delimiter)
    for block in blocks(text_of(source, reading.encoding)):
        if block is None:
            yield records.too_long()
            continue
        for text, end in physical(block):
            if records.line < reading.skip_lines or not (text or records.open):
                records.line += 1
            elif (record := records.take(text, end)) is not None:
                yield record
    if (record := records.unclosed()) is not None:
        yield record


def _told_apart(names: Sequence[str]) -> Iterator[str]:
    """Each name once: a number is put behind one that came before."""
    seen: set[str] = set()
    for name in names:
        number, told = 0, name
        while told.casefold() in seen:
            number += 1
            told = f"{name}_{number}"
        seen.add(told.casefold())
        yield told


def _mentioned(name: str, reading: Reading) -> bool:
    """True if the mapping names the column, by itself or in an SQL expression."""
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
    return name.casefold() in {column.casefold() for column in reading.columns} or any(
        word.search(sql) for sql in reading.mentions
    )
