"""The note beside the ledger: which runs of this home wrote money, in a file that no backup of the ledger takes back.

One JSON object a line, appended and synced to disk before a run's first money write leaves. A ledger that lacks
a run of the note is older than the world. The note of another home, or a copy of one, tells nothing of this one.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from meterbridge.errors import SetupError

FILE_NAME = "money-runs.jsonl"
TAIL_BYTES = 262_144
"""What is read of a long note, from its end: a ledger that was put back lacks the newest runs."""

Kind = Literal["money", "proven", "rebuilt"]


@dataclass(frozen=True, slots=True)
class Noted:
    """What the note says.

    Attributes:
        home: Who this home is; empty where it has no note of its own.
        ledger: The ledger that it last worked with (``identity.of``); ``proven``: True if all that stands at the
            vendors was compared with that one, or was written by it.
        runs: Ids of the latest runs that wrote money, in order.
    """

    home: str = ""
    ledger: str = ""
    proven: bool = False
    runs: tuple[str, ...] = ()


class Note:
    """The note of one connection in one home.

    Several processes of a home may append at once: a line is one write.
    """

    def __init__(self, home: Path, connection: str) -> None:
        self.path = home.expanduser().absolute() / connection / FILE_NAME

    def read(self) -> Noted:
        """What the note says; a note that is not there, or whose last line was cut off, says what is whole of it."""
        try:
            with self.path.open("rb") as file:
                inode, size = os.fstat(file.fileno()).st_ino, os.fstat(file.fileno()).st_size
                file.seek(max(0, size - TAIL_BYTES))
                entries = _entries(file.read())
        except FileNotFoundError:
            return Noted()
        runs = tuple(dict.fromkeys(one["run"] for one in entries if one["kind"] == "money"))
        if not entries or entries[-1]["inode"] != inode:  # a copy: its runs count, its word does not
            return Noted(runs=runs)
        last = entries[-1]
        return Noted(last["home"], last["ledger"], last["proven"], runs)

    def append(self, kind: Kind, run_id: str, ledger: str, *, home: str, proven: bool, **facts: Any) -> None:
        """Add a line and bring it to disk; when this returns it is there, whatever happens to the machine.

        Raises:
            SetupError: MB-SETTING, the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            file = os.open(self.path, flags, 0o600)
            try:
                here = os.fstat(file)
                entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "kind": kind, "run": run_id, **facts}
                entry |= {"home": home, "inode": here.st_ino, "ledger": ledger, "proven": proven}
                torn = here.st_size > 0 and os.pread(file, 1, here.st_size - 1) != b"\n"
                os.write(file, (b"\n" if torn else b"") + json.dumps(entry, sort_keys=True).encode() + b"\n")
                os.fsync(file)
            finally:
                os.close(file)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as failure:
            raise SetupError(
                "MB-SETTING", f"{self.path} cannot be written: {failure.strerror}", remedy="Set METERBRIDGE_HOME."
            ) from failure


def new_home() -> str:
    """A name for a home that has none yet."""
    return uuid.uuid4().hex


def _entries(content: bytes) -> list[dict[str, Any]]:
    """The whole lines; one that was cut off was never answered for."""
    found = []
    for line in content.split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"kind", "run", "home", "inode", "ledger", "proven"} <= entry.keys():
            found.append(entry)
    return found
