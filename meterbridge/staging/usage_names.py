"""What a usage file's name says of it: its format, how it is packed, whether tabs part its fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from meterbridge.staging.usage_shape import InputFormat

Packing = Literal["gz", "zst"]

_FORMATS: dict[str, InputFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_PACKED: dict[str, Packing] = {".gz": "gz", ".zst": "zst"}
_BEGINNINGS: dict[bytes, Packing] = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst"}
_NOT_UNPACKED = (".zip", ".bz2", ".xz", ".7z", ".lz4", ".z", ".br")


@dataclass(frozen=True, slots=True)
class FileKind:
    """``format`` is None where the name does not tell it; ``foreign`` is an ending that nobody here unpacks."""

    format: InputFormat | None
    packed: Packing | None
    tabs: bool
    foreign: str = ""


def kind_of(name: str) -> FileKind:
    """Read the endings of a file's name, in whatever case.

    >>> kind_of("U.TSV.zst")
    FileKind(format='csv', packed='zst', tabs=True, foreign='')
    """
    last = Path(name.lower()).suffix
    packed = _PACKED.get(last)
    ending = Path(name.lower().removesuffix(last)).suffix if packed else last
    return FileKind(_FORMATS.get(ending), packed, ending == ".tsv", last if last in _NOT_UNPACKED else "")


def packing_of(name: str, beginning: bytes) -> Packing | None:
    """How a file is packed: as its name says, else as its first bytes say."""
    found = [packed for first, packed in _BEGINNINGS.items() if beginning.startswith(first)]
    return kind_of(name).packed or (found[0] if found else None)
