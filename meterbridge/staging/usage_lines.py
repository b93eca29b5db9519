"""A text file's lines: decoded to UTF-8, in blocks that end where a line ends, whatever ends a line there."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

LONGEST_LINE = 4_194_304
"""Bytes; no row of usage has more. What is longer is not kept in memory."""

_NOT_DECODED = "meterbridge-not-decoded"
_BEGINNINGS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", b"\0\0\xfe\xff": "utf-32"}


def decoded(parts: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The same text in UTF-8, without a byte order mark; what cannot be decoded comes as bytes that are no UTF-8."""
    if encoding in ("utf-8", "utf-8-sig"):
        first = next(parts, b"")
        while first and len(first) < len(codecs.BOM_UTF8) and (more := next(parts, None)):
            first += more
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from parts
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors=_NOT_DECODED)
    begun = False
    for part in parts:
        text = decoder.decode(part)
        yield (text if begun else text.removeprefix("\ufeff")).encode("utf-8", "surrogatepass")
        begun = begun or bool(text)
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


def other_encoding(beginning: bytes) -> str:
    """The encoding that a file's first bytes tell of, where it is not UTF-8; else empty."""
    return next((name for mark, name in _BEGINNINGS.items() if beginning.startswith(mark)), "")


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
