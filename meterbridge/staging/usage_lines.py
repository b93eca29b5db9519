"""A text file's lines: decoded to UTF-8, in blocks that end where a line ends, whatever ends a line there."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

from meterbridge.errors import SetupError
from meterbridge.staging.usage_unpack import Source

LONGEST_LINE = 4_194_304
"""Bytes; no row of usage has more. What is longer is not kept in memory."""

_NOT_DECODED = "meterbridge-not-decoded"
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
"""Encodings by their byte order mark; the longer one first, for it begins as the shorter does."""

CORRECT_FILE = "Correct the file, or encoding, delimiter and skip_lines in the mapping; nothing was sent."


def text_of(source: Source, encoding: str) -> Iterator[bytes]:
    """A file's text in UTF-8, without a byte order mark; what cannot be decoded comes as bytes that are no UTF-8.

    Raises:
        SetupError: MB-USAGE-INPUT, the file's first bytes tell of another encoding.
    """
    parts = source.parts()
    first = b""
    while len(first) < len(codecs.BOM_UTF32_LE) and (more := next(parts, None)) is not None:
        first += more
    if fault := _encoding_fault(first, encoding):
        raise SetupError("MB-USAGE-INPUT", f"{source.name} {fault}", remedy=CORRECT_FILE)
    if encoding in ("utf-8", "utf-8-sig"):
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from parts
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors=_NOT_DECODED)
    begun = False
    for part in chain((first,), parts):
        text = decoder.decode(part)
        yield (text if begun else text.removeprefix("\ufeff")).encode("utf-8", "surrogatepass")
        begun = begun or bool(text)
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


def _encoding_fault(first: bytes, encoding: str) -> str:
    """Return what a file's first bytes say against the encoding; empty for nothing."""
    mark = next((name for sign, name in _MARKS.items() if first.startswith(sign)), "")
    if mark and encoding in ("utf-8", "utf-8-sig"):
        return f"begins as {mark} does: say `encoding: {mark}` in the mapping"
    if first and encoding in _MARKS.values() and mark != encoding:
        return f"has no byte order mark of {encoding}: say `encoding: {encoding}-le` in the mapping, or what it is in"
    return ""


def blocks(parts: Iterator[bytes]) -> Iterator[bytes | None]:
    """Whole lines, many at a time; only the last may lack its end. None stands for a line that is too long."""
    kept: list[bytes] = []
    held = 0
    skipping = False
    for part in parts:
        if skipping:
            end = _first_end(part)
            if end is None:
                continue
            yield None
            skipping, part = False, part[end:]
        cut = _last_end(part)
        if cut:
            yield b"".join([*kept, part[:cut]])
            kept, held = [part[cut:]], len(part) - cut
            continue
        kept.append(part)
        held += len(part)
        if held > LONGEST_LINE:
            whole = b"".join(kept)
            cut = _last_end(whole)
            if cut:  # a carriage return that was held back, for a line feed might have followed
                yield whole[:cut]
                kept, held = [whole[cut:]], len(whole) - cut
            else:
                kept, held, skipping = [], 0, True
    if skipping:
        yield None
    elif held:
        yield b"".join(kept)


def physical(block: bytes) -> list[tuple[bytes, bytes]]:
    """Each line of a block with what ends it: a line feed, a carriage return, or both."""
    found = []
    for line in block.splitlines(keepends=True):
        size = len(line) - (2 if line.endswith(b"\r\n") else 1 if line.endswith((b"\n", b"\r")) else 0)
        found.append((line[:size], line[size:]))
    return found


def is_utf8(text: bytes) -> bool:
    """True if the bytes are UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _last_end(part: bytes) -> int:
    """The place after the last line end; a carriage return at the very end may belong to a line feed yet to come."""
    return max(part.rfind(b"\n"), part.rfind(b"\r", 0, -1)) + 1


def _first_end(part: bytes) -> int | None:
    found = [place for sign in (b"\n", b"\r") if (place := part.find(sign)) >= 0]
    return min(found) + 1 if found else None


def _stand_in(failure: UnicodeError) -> tuple[str, int]:
    if not isinstance(failure, UnicodeDecodeError):
        raise failure
    return "\udcff", failure.end


codecs.register_error(_NOT_DECODED, _stand_in)
