"""An input proven whole before anything of it is sent: every file read to its end, every line accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meterbridge.errors import RetriableError
from meterbridge.staging.usage_copy import ROOM, Copy, LineCount
from meterbridge.staging.usage_csv import copy_csv
from meterbridge.staging.usage_lines import LONGEST_LINE, blocks, is_utf8, physical, text_of
from meterbridge.staging.usage_shape import SEPARATOR, InputShape, Reading
from meterbridge.staging.usage_unpack import Source

_SEPARATOR = SEPARATOR.encode()


@dataclass(frozen=True, slots=True)
class Proof:
    """What the files hold. ``digests`` are of their bytes, in order; ``bare`` are the names of those without a row.

    ``count`` is None for Parquet, which has no lines.
    """

    source: InputShape
    digests: list[bytes]
    bare: list[str] = field(default_factory=list)
    count: LineCount | None = None

    @property
    def made(self) -> tuple[Path, ...]:
        """Files that were made for the run."""
        places, broken = self.source.places, self.source.broken
        return () if places is None or broken is None else (*self.source.files, places, broken)


def prove(files: Sequence[Path], names: Sequence[str], reading: Reading, stem: Path) -> Proof:
    """Read every file to its end; text is copied beside ``stem``, its rows numbered.

    Raises:
        SetupError: MB-USAGE-INPUT or MB-USAGE-MAPPING, a file is not whole, or no heading fits.
        RetriableError: MB-UNAVAILABLE, there is no room for the copy.
    """
    sources = [Source(path, name) for path, name in zip(files, names, strict=True)]
    if reading.format == "parquet":
        for source in sources:
            source.read_through()
        shape = InputShape(
            tuple(files), "parquet", (), tuple(names), reading.delimiter, reading.missing, reading.decimal,
            reading.thousands, reading.bound,
        )  # fmt: skip
        return Proof(shape, [source.digest for source in sources])
    try:
        with Copy(stem) as copy:
            columns, sign = (copy_csv if reading.format == "csv" else _copy_ndjson)(sources, reading, copy)
            copy.end()
    except OSError as failure:
        words = f"the copy of the input: Could not write file {stem.name}: {failure.strerror or failure}"
        raise RetriableError("MB-UNAVAILABLE", words, remedy=ROOM) from failure
    shape = InputShape(
        (copy.rows_file,), reading.format, columns, tuple(names), sign, reading.missing, reading.decimal,
        reading.thousands, (), copy.places_file, copy.broken_file, copy.rows,
    )  # fmt: skip
    return Proof(shape, [source.digest for source in sources], copy.bare, copy.count)


def _copy_ndjson(sources: Sequence[Source], reading: Reading, copy: Copy) -> tuple[tuple[str, ...], str]:
    """Copy each line that may be a row; whether it is JSON is seen when it lands."""
    for source in sources:
        copy.next_file(source.name)
        _NdjsonFile(copy, reading).read(source)
    return reading.columns, SEPARATOR


class _NdjsonFile:
    """One file of JSON objects, a line each."""

    def __init__(self, copy: Copy, reading: Reading) -> None:
        self._copy = copy
        self._encoding = reading.encoding
        self._skip = reading.skip_lines
        self._line = 0

    def read(self, source: Source) -> None:
        """The whole file."""
        for block in blocks(text_of(source, self._encoding)):
            if block is None:
                self._line += 1
                self._copy.count.lines += 1
                self._copy.refuse(self._line, f"the line is longer than {LONGEST_LINE} bytes")
                continue
            lines = [text for text, _ in physical(block)]
            self._copy.count.lines += len(lines)
            if self._line >= self._skip and b"" not in lines and _SEPARATOR not in block and is_utf8(block):
                self._copy.put(self._line + 1, lines, len(lines), _SEPARATOR)
                self._line += len(lines)
            else:
                for text in lines:
                    self._take(text)

    def _take(self, text: bytes) -> None:
        self._line += 1
        if self._line <= self._skip:
            self._copy.count.skipped += 1
        elif not text.strip():
            self._copy.count.blank += 1
        elif not is_utf8(text):
            self._copy.refuse(self._line, f"it is not {self._encoding}: name the file's encoding in the mapping")
        elif _SEPARATOR in text:
            self._copy.refuse(self._line, "it holds a control character, which JSON writes as \\u0001")
        else:
            self._copy.put(self._line, [text], 1, _SEPARATOR)
