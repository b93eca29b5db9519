"""A consistent copy of the ledger while runs work on it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL

from meterbridge.errors import RetriableError, SetupError

PAGES = 1_000
"""Copied at a time; between two steps a writer may go on, and SQLite begins anew where it did."""


def back_up(url: URL, target: Path) -> int:
    """Copy the ledger to a file that is not there yet; returns its size in bytes.

    A SQLite ledger is copied by SQLite itself, so that the copy is one state of it. A PostgreSQL one is dumped by
    ``pg_dump`` in its custom format, from one snapshot: ``pg_restore`` puts it back.

    Raises:
        SetupError: MB-COMMAND, the file is there, or cannot be written, or there is no ``pg_dump``.
        RetriableError: MB-UNAVAILABLE, the database did not let itself be copied.
    """
    if target.exists():
        raise SetupError("MB-COMMAND", f"{target} is there already", remedy="Name a file that is not there yet.")
    part = target.with_name(f".{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if url.get_backend_name() == "sqlite":
            _copy(Path(str(url.database)), part)
        else:
            _dump(url, part)
        _sync(part)
        part.rename(target)
        _sync(target.parent)
    except OSError as failure:
        raise SetupError("MB-COMMAND", f"{target} cannot be written: {failure.strerror}") from failure
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: Path, part: Path) -> None:
    try:
        with closing(sqlite3.connect(source, timeout=30)) as one, closing(sqlite3.connect(part)) as other:
            one.backup(other, pages=PAGES)
            found = other.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as failure:
        raise RetriableError("MB-UNAVAILABLE", f"the ledger {source}: {failure}") from failure
    if found != ("ok",):
        raise RetriableError("MB-UNAVAILABLE", f"the copy of the ledger {source} is not sound")


def _dump(url: URL, part: Path) -> None:
    program = shutil.which("pg_dump")
    plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    if program is None:
        raise SetupError(
            "MB-COMMAND",
            "there is no pg_dump on this machine",
            remedy=f"Where it is: pg_dump --format=custom --file=FILE '{plain}'",
        )
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    done = subprocess.run(  # noqa: S603 - a program found on the path, its arguments are ours
        [program, "--format=custom", f"--file={part}", plain],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RetriableError("MB-UNAVAILABLE", f"pg_dump: {said}")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
