"""CSV files on their way into the copy: sound lines as they are, odd ones rewritten, broken ones told."""

from __future__ import annotations

from collections.abc import Sequence

from meterbridge.staging.usage_copy import Copy
from meterbridge.staging.usage_headings import Heading, heading_of, one_heading
from meterbridge.staging.usage_lines import blocks, is_utf8, physical, text_of
from meterbridge.staging.usage_names import kind_of
from meterbridge.staging.usage_records import Record, Records, plain_record, written
from meterbridge.staging.usage_shape import Reading
from meterbridge.staging.usage_unpack import Source


def copy_csv(sources: Sequence[Source], reading: Reading, copy: Copy) -> tuple[tuple[str, ...], str]:
    """Copy all files under one heading; returns its columns, and the sign that parts them in the copy."""
    signs = [("\t" if kind_of(source.path.name).tabs else reading.delimiter).encode() for source in sources]
    # In a read of their own: the copy's columns must be known before its first row.
    headings = [
        heading_of(Source(source.path, source.name), reading, sign) for source, sign in zip(sources, signs, strict=True)
    ]
    columns = one_heading(headings, reading)
    for source, sign, heading in zip(sources, signs, headings, strict=True):
        copy.next_file(source.name)
        _CsvFile(copy, reading, heading, sign, (columns, signs[0])).read(source)
    return columns, signs[0].decode()


class _CsvFile:
    """One file; blocks without a quote, of lines that are all sound, are copied as they are."""

    def __init__(
        self, copy: Copy, reading: Reading, heading: Heading, sign: bytes, to: tuple[tuple[str, ...], bytes]
    ) -> None:
        columns, self._to = to
        same = heading.names == columns and sign == self._to
        self._copy = copy
        self._encoding = reading.encoding
        self._skip = reading.skip_lines
        self._wanted = len(heading.names)
        self._order = None if same else [heading.place(column) for column in columns]
        self._plain = plain_record(sign, self._wanted) if same else None
        self._sign = sign
        self._records = Records(sign)
        self._heading_read = False
        self._undecoded = False
        self._batch: list[bytes] = []
        self._batch_first = 0

    def read(self, source: Source) -> None:
        """The whole file."""
        for block in blocks(text_of(source, self._encoding)):
            if block is None:
                self._copy.count.lines += 1
                self._settle(self._records.too_long())
                continue
            valid = is_utf8(block)
            if not (valid and self._copied(block)):
                self._line_by_line(block, valid=valid)
        if (record := self._records.unclosed()) is not None:
            self._settle(record)
        self._flush()

    def _copied(self, block: bytes) -> bool:
        """Copy a block as it is; False if it needs to be looked at line by line."""
        if b'"' in block or self._records.open or self._order is not None or not self._heading_read:
            return False
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        parts, sign = self._wanted - 1, self._sign
        if b"" in lines or any(line.count(sign) != parts for line in lines):
            return False
        self._flush()
        self._copy.put(self._records.line + 1, lines, len(lines), self._to)
        self._copy.count.lines += len(lines)
        self._records.line += len(lines)
        return True

    def _line_by_line(self, block: bytes, *, valid: bool) -> None:
        records = self._records
        for text, end in physical(block):
            self._copy.count.lines += 1
            sound = valid or is_utf8(text)
            if records.line < self._skip:
                records.line += 1
                self._copy.count.skipped += 1
            elif not (text or records.open):
                records.line += 1
                self._copy.count.blank += 1
            elif sound and self._is_plain(text):
                records.line += 1
                self._into_batch(records.line, text)
            else:
                self._undecoded = self._undecoded or not sound
                if (record := records.take(text, end)) is not None:
                    self._settle(record)

    def _is_plain(self, text: bytes) -> bool:
        """True if the line is a record that can be copied as it is."""
        if self._plain is None or self._records.open or not self._heading_read:
            return False
        return self._plain.fullmatch(text) is not None

    def _settle(self, record: Record) -> None:
        """A record goes into the copy, or is told; the first one is the heading."""
        self._flush()
        fields = record.fields
        if self._undecoded:
            record.refuse(f"it is not {self._encoding}: name the file's encoding in the mapping", quote=False)
            self._undecoded = False
        elif not self._heading_read:
            self._heading_read = True
            self._copy.count.headings += record.lines
            return
        if len(fields) == self._wanted + 1 and not fields[-1]:
            fields.pop()  # many programs end each line with a delimiter
        if len(fields) != self._wanted:
            record.refuse(f"it has {len(fields)} fields, the heading {self._wanted}", quote=True)
        if record.fault:
            self._copy.refuse(record.first, record.fault, lines=record.lines, under_quote=record.under_quote)
            return
        ordered = fields if self._order is None else [b"" if n is None else fields[n] for n in self._order]
        self._copy.put(record.first, [written(ordered, self._to)], record.lines, self._to)

    def _into_batch(self, line: int, text: bytes) -> None:
        if self._batch and line != self._batch_first + len(self._batch):
            self._flush()
        if not self._batch:
            self._batch_first = line
        self._batch.append(text)

    def _flush(self) -> None:
        if self._batch:
            self._copy.put(self._batch_first, self._batch, len(self._batch), self._to)
            self._batch = []
