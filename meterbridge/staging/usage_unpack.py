"""A usage file's bytes, unpacked and proven: a packed one is read to its end, and its checksum compared."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from meterbridge.errors import RetriableError, SetupError
from meterbridge.staging.usage_names import packing_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

READ_BYTES = 1 << 18
PART_BYTES = 1 << 20
"""What is read, and what is unpacked of it, at once: a few bytes may unpack to gigabytes."""

_GZIP_WINDOW = 31


class Gzip:
    """A gzip member, of which a file may have several: checksum and length are compared at its end."""

    padding = b"\0"

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_WINDOW)

    @property
    def eof(self) -> bool:
        """True if the member's end was read."""
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        """What came after the end."""
        return self._inner.unused_data

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Unpack so much more."""
        while True:
            part = self._inner.decompress(packed, PART_BYTES)
            yield part
            packed = self._inner.unconsumed_tail
            if self._inner.eof or (not packed and len(part) < PART_BYTES):
                return


class Zstandard:
    """A Zstandard frame, of which a file may have several: its checksum, where it has one, is compared at its end."""

    padding = b""

    def __init__(self) -> None:
        self._inner = zstd.ZstdDecompressor()

    @property
    def eof(self) -> bool:
        """True if the frame's end was read."""
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        """What came after the end."""
        return self._inner.unused_data

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Unpack so much more."""
        while True:
            yield self._inner.decompress(packed, PART_BYTES)
            packed = b""
            if self._inner.eof or self._inner.needs_input:
                return


_MEMBERS: dict[str, type[Gzip] | type[Zstandard]] = {"gz": Gzip, "zst": Zstandard}


class Source:
    """One file, read once; :attr:`digest` is of its bytes as they lie there, once all were read."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._hash = sha256()

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was read."""
        return self._hash.digest()

    def parts(self) -> Iterator[bytes]:
        """The unpacked bytes.

        Raises:
            SetupError: MB-USAGE-INPUT, the file cannot be read, or is packed and not whole.
        """
        raw = self._raw()
        first = next(raw, b"")
        packing = packing_of(self.path.name, first)
        if packing is None:
            yield first
            yield from raw
            return
        try:
            yield from _unpacked(first, raw, _MEMBERS[packing])
        except (zlib.error, zstd.ZstdError, EOFError) as broken:
            words = f"{self.name} is packed and not whole: {broken}"
            raise SetupError(
                "MB-USAGE-INPUT", words, remedy="Fetch or write the file anew; nothing of the input was sent."
            ) from broken

    def read_through(self) -> None:
        """Read the bytes as they lie there, for their digest alone."""
        for _ in self._raw():
            pass

    def _raw(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                while part := file.read(READ_BYTES):
                    self._hash.update(part)
                    yield part
        except PermissionError as refused:
            raise SetupError("MB-USAGE-INPUT", f"{self.name} must not be read", remedy=_READABLE) from refused
        except FileNotFoundError as gone:
            raise SetupError("MB-USAGE-INPUT", f"{self.name} is gone", remedy=_READABLE) from gone
        except OSError as failure:
            words = f"{self.name} cannot be read: {failure.strerror or failure}"
            raise RetriableError("MB-UNAVAILABLE", words) from failure


_READABLE = "See that the file is there and may be read; nothing of the input was sent."


def _unpacked(first: bytes, raw: Iterator[bytes], new: Callable[[], Gzip | Zstandard]) -> Iterator[bytes]:
    member = new()
    fed = not first
    packed: bytes | None = first
    while packed is not None:
        while packed:
            yield from member.feed(packed)
            fed, packed = True, b""
            if member.eof:
                packed, member, fed = member.rest.lstrip(member.padding), new(), False
        packed = next(raw, None)
        if packed is not None and not fed:
            packed = packed.lstrip(member.padding)
    if fed:
        raise EOFError("it ends before its end mark")
