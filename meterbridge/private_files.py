"""Files of ours are for their owner alone: they hold names, addresses and amounts."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def keep_private() -> None:
    """Let every file and folder that this process makes from now on be its owner's alone, whatever library makes it."""
    os.umask(0o077)


def write_private(path: Path, text: str) -> None:
    """Write a file that is its owner's alone before it holds a word, also where others could read what was there."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        os.fchmod(opened, 0o600)
        file.write(text)


def private_folder(path: Path, home: Path) -> None:
    """Make the folder; it and those between ``home`` and it are closed to others, also where they were made before."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in (path, *path.parents):
        if folder == home or home not in folder.parents:
            return
        if folder.stat().st_mode & 0o077:
            with suppress(PermissionError):  # somebody else's folder is not ours to close
                folder.chmod(0o700)
