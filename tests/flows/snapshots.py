"""Worlds that several tests begin in: played once in a process for the same settings, then restored for each test.

A snapshot is the sandbox's world (pickled, what it has scheduled included) and a copy of the bridge's home: ledger,
note, staging files. Restored, it is as if this test had played it: the sandbox's clock goes on where it stood, the
ledger and its note know that they are where they are now. Each test gets a world and a home of its own.
"""

from __future__ import annotations

import atexit
import functools
import io
import itertools
import json
import pickle
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import Any

from meterbridge.ledger.identity import PLACE, Place
from meterbridge.ledger.note import FILE_NAME as NOTE
from meterbridge.sandbox.world import World

Step = Callable[[World], object]
"""One step of what is played: a function of a module, or such a one with arguments bound by ``partial``."""

MOST_KEPT = 16
HOME = "{home}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A world and a home as they were; ``home`` is where that was, ``files`` where the copy is."""

    world: bytes
    home: Path
    files: Path

    def world_again(self) -> World:
        """A world of one's own, at the instant at which it was taken."""
        world: World = _Unpickler(io.BytesIO(self.world)).load()
        world.clock._began = world.clock._monotonic()
        return world

    def home_again(self, home: Path) -> None:
        """Put the copy of the home under ``home``."""
        shutil.copytree(self.files, home, dirs_exist_ok=True)
        for file in home.rglob("*.sqlite3"):
            _move_ledger(file, self.home, home)


_taken: dict[tuple[object, ...], Snapshot] = {}
_folder: tempfile.TemporaryDirectory[str] | None = None


def kept(key: tuple[object, ...], play: Callable[[Path], World]) -> Snapshot:
    """The snapshot of this key; ``play`` makes what it is of, in the empty home that it gets."""
    if key not in _taken:
        home = Path(tempfile.mkdtemp(dir=_our_folder()))
        world = play(home)
        _taken[key] = Snapshot(_pickled(world), home, home)
        while len(_taken) > MOST_KEPT:  # what was played on the way has been kept, too
            shutil.rmtree(_taken.pop(next(iter(_taken))).files)
    else:
        _taken[key] = _taken.pop(key)  # the one that was asked for last goes last
    return _taken[key]


def named(step: Step) -> object:
    """Return a name that tells a step from others."""
    if isinstance(step, functools.partial):
        return (named(step.func), step.args, tuple(sorted(step.keywords.items())))
    assert getattr(step, "__closure__", 1) is None, f"{step} is no function of a module: it may mean two things"
    return (step.__module__, step.__qualname__)


def _our_folder() -> str:
    global _folder
    if _folder is None:
        _folder = tempfile.TemporaryDirectory(prefix="mb-snapshots-")
        atexit.register(_folder.cleanup)
    return _folder.name


# --- the ledger and its note say where they are


def _move_ledger(file: Path, before: Path, after: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "UPDATE runs SET staging = replace(staging, ?, ?) WHERE instr(staging, ?)",
            (f"{before}/", f"{after}/", f"{before}/"),
        )
        kept_place = database.execute("SELECT value FROM facts WHERE name = ?", (PLACE,)).fetchone()
        if kept_place is None:
            return
        was, now = kept_place[0], Place(str(file), str(file.stat().st_ino)).text
        assert json.loads(was)[0] == str(before / file.relative_to(after))
        database.execute("UPDATE facts SET value = ? WHERE name = ?", (now, PLACE))
    for note in after.rglob(NOTE):
        entries = [json.loads(line) for line in note.read_text().splitlines()]
        moved = [one | {"inode": note.stat().st_ino, "ledger": one["ledger"].replace(was, now)} for one in entries]
        note.write_text("".join(json.dumps(one, sort_keys=True) + "\n" for one in moved))


# --- a world with its scheduled work, which is closures, and its locks


def _pickled(world: World) -> bytes:
    out = io.BytesIO()
    clock = world.clock
    with world.lock:
        assert world.webhooks.wait(0)
        before = clock._origin_ms, clock._began
        # Kept as if it had begun to run this instant.
        clock._origin_ms, clock._began = clock.now_ms(), 0.0
        try:
            _Pickler(out, protocol=pickle.HIGHEST_PROTOCOL).dump(world)
        finally:
            clock._origin_ms, clock._began = before
    return out.getvalue()


_by_number: list[Any] = []


class _Pickler(pickle.Pickler):
    """Pickles for this process alone: code, and the globals it sees, are told by number."""

    def persistent_id(self, it: Any) -> int | None:
        if not isinstance(it, CodeType) and not (isinstance(it, dict) and "__builtins__" in it):
            return None
        for number, known in enumerate(_by_number):
            if known is it:
                return number
        _by_number.append(it)
        return len(_by_number) - 1

    def reducer_override(self, it: Any) -> Any:
        if isinstance(it, FunctionType) and it.__closure__ is not None:
            return _function, (it.__code__, it.__globals__, it.__name__, it.__defaults__, it.__closure__)
        if isinstance(it, CellType):
            return _cell, (it.cell_contents,)
        if isinstance(it, itertools.count):
            return itertools.count, (int(repr(it).removeprefix("count(").removesuffix(")")),)
        if isinstance(it, type(threading.RLock())):
            return threading.RLock, ()
        if isinstance(it, threading.Condition):
            return threading.Condition, ()
        if type(it).__name__ == "SimpleQueue":
            return type(it), ()
        if isinstance(it, threading.Thread):
            raise pickle.PicklingError("a world that sends webhooks is not kept")
        return NotImplemented


def _function(*parts: Any) -> FunctionType:
    return FunctionType(*parts)


def _cell(content: Any) -> CellType:
    return CellType(content)


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, number: int) -> Any:
        return _by_number[number]
