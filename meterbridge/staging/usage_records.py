"""The records of a CSV text by RFC 4180, line by line: what is no record costs its own lines, and no other.

A quote opens a field only at its beginning (blanks may come before and after it, as DuckDB reads it); within other
texts it is a sign like any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from meterbridge.staging.usage_lines import LONGEST_LINE


@dataclass(slots=True)
class Record:
    """One record, or what was to be one: ``fault`` says what is wrong. ``first`` counts lines from 1.

    ``under_quote`` is True if its lines lie under a quote that should not be open.
    """

    first: int
    lines: int = 1
    fields: list[bytes] = field(default_factory=list)
    fault: str = ""
    under_quote: bool = False

    def refuse(self, fault: str, *, quote: bool) -> None:
        """It is no record; ``quote``: by a quote that stands where none should, if it has several lines."""
        if not self.fault:
            self.fault, self.under_quote = fault, quote and self.lines > 1


class Records:
    """Takes lines in order, gives back a record as soon as it is whole."""

    def __init__(self, delimiter: bytes) -> None:
        self.delimiter = delimiter
        blank = b"" if delimiter == b" " else b" *"
        self._quoted = re.compile(blank + b'"')
        self._blanks = re.compile(blank)
        self._record = Record(0)
        self._part: list[bytes] = []
        self._size = 0
        self.line = 0
        self.open = False

    def take(self, text: bytes, end: bytes) -> Record | None:
        """One more line, and what ends it; None while a quote is open."""
        self.line += 1
        if self.open:
            self._record.lines += 1
            close = _closing(text, 0)
            if close < 0:
                self._keep(text + end)
                return None
            self._keep(text[:close])
            self._record.fields.append(b"".join(self._part).replace(b'""', b'"'))
            place = self._after(text, close)
        else:
            self._record, self._part, self._size = Record(self.line), [], 0
            place = 0
        self._fields(text, end, place)
        return None if self.open else self._record

    def unclosed(self) -> Record | None:
        """What lies under a quote that is still open, at the text's end."""
        if not self.open:
            return None
        self.open = False
        self._record.fault, self._record.under_quote = "a quote opens and is never closed", True
        return self._record

    def too_long(self) -> Record:
        """One more line, too long to be kept; with what lies under an open quote before it."""
        self.line += 1
        record = self._record if self.open else Record(self.line, 0)
        record.lines += 1
        record.refuse(f"the line is longer than {LONGEST_LINE} bytes", quote=self.open)
        self.open = False
        return record

    def _fields(self, text: bytes, end: bytes, place: int) -> None:
        """The fields from ``place`` on, -1 for a broken line; leaves the record open, whole or at fault."""
        self.open = False
        fields = self._record.fields
        while 0 <= place <= len(text):
            if quote := self._quoted.match(text, place):
                close = _closing(text, quote.end())
                if close < 0:
                    self.open, self._part = True, []
                    self._keep(text[quote.end() :] + end)
                    return
                fields.append(text[quote.end() : close].replace(b'""', b'"'))
                place = self._after(text, close)
            else:
                close = text.find(self.delimiter, place)
                close = len(text) if close < 0 else close
                fields.append(text[place:close])
                place = close + len(self.delimiter)
        if place < 0:
            self._record.refuse("text follows a closing quote", quote=True)
        elif self._size > LONGEST_LINE:
            self._record.refuse(f"the record is longer than {LONGEST_LINE} bytes", quote=True)

    def _after(self, text: bytes, close: int) -> int:
        """Where the next field begins after a quote closed; beyond the text if there is none; -1 at other text."""
        blanks = self._blanks.match(text, close + 1)
        place = blanks.end() if blanks else close + 1
        if place == len(text):
            return place + 1
        return place + len(self.delimiter) if text.startswith(self.delimiter, place) else -1

    def _keep(self, text: bytes) -> None:
        self._size += len(text)
        if self._size <= LONGEST_LINE:
            self._part.append(text)


def written(fields: list[bytes], delimiter: bytes) -> bytes:
    """Fields as one CSV record that every reader reads alike."""
    signs = (delimiter, b'"', b"\n", b"\r")
    return delimiter.join(
        b'"' + text.replace(b'"', b'""') + b'"' if text[:1] == b" " or any(sign in text for sign in signs) else text
        for text in fields
    )


def plain_record(delimiter: bytes, fields: int) -> re.Pattern[bytes] | None:
    """Matches a record of so many fields that needs no rewriting; None for a delimiter of several bytes."""
    if len(delimiter) > 1:
        return None
    sign = re.escape(delimiter)
    one = b'(?:"[^"]*"|[^"' + sign + b"]*)"
    return re.compile(one + b"(?:" + sign + one + b"){%d}" % (fields - 1))


def _closing(text: bytes, place: int) -> int:
    """Where the quoted text that goes on at ``place`` ends; -1 if not in this line."""
    while (found := text.find(b'"', place)) >= 0:
        if text[found + 1 : found + 2] != b'"':
            return found
        place = found + 2
    return -1
