"""Names for processes, so that one can tell later whether another one on the same machine still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_PROC = Path("/proc")


def own_name() -> str:
    """This process's name: where its number counts (machine, boot, container), its number, when it began."""
    return f"{_place()} {os.getpid()} {_began(os.getpid()) or '-'}"


def is_gone(name: str) -> bool:
    """True if the process of that name ran where its number counts for us, and is there no more.

    False where it lives, and where that cannot be seen from here: another machine or container, no ``/proc``.
    """
    parts = name.split()
    if len(parts) != 3 or parts[0] != _place() or not parts[1].isdigit() or parts[2] == "-":
        return False
    return _began(int(parts[1])) != parts[2]


def _place() -> str:
    """Machine, boot and container in one word: process numbers can be compared within one place only."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        container = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return socket.gethostname() or "-"
    return f"{boot}/{container}"


def _began(number: int) -> str | None:
    """When the process began, in clock ticks since the boot: numbers are given out again. None for none alive."""
    try:
        told = (_PROC / str(number) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets, which may hold spaces and brackets itself.
    fields = told.rpartition(")")[2].split()
    state, began = fields[0], fields[19]
    return None if state in ("Z", "X") else began
