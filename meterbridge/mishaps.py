"""Errors that are not ours, told as ours: a full disk, no memory, a read-only folder, a Prefect that is away, Ctrl-C.

They come as exceptions of many libraries and often as a chain: what a library raises while it cleans up hides what
happened. So the whole chain is read, and judged by the names of the kinds: nothing is imported for it.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from pathlib import Path

from meterbridge.errors import (
    BrokenInvariant,
    Exhausted,
    Interrupted,
    MeterbridgeError,
    RetriableError,
    SetupError,
)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHT = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = ("no space left on device", "disk full", "disk is full", "disk quota exceeded", "could not write all bytes")
_INTERRUPTS = frozenset({"builtins.KeyboardInterrupt", "prefect.TerminationSignal"})
_MEMORY = frozenset({"builtins.MemoryError", "duckdb.OutOfMemoryException", "pyarrow.ArrowMemoryError"})
_OF_FILES = frozenset({"duckdb.Error", "builtins.OSError", "sqlite3.Error", "sqlalchemy.SQLAlchemyError"})
_OURS = ("flows", "tasks", "connectors", "meterbridge")


def known(failure: BaseException) -> MeterbridgeError | None:
    """The failure as an error of ours: itself, the one that it came from, or what it means; None for a bug."""
    judged = (_judged(one) for one in _chain(failure))
    return next((found for found in judged if found is not None), None)


def explained(failure: BaseException) -> MeterbridgeError:
    """As :func:`known`; what nobody expected is MB-INVARIANT.

    That names the kind and the place, never the foreign words: these may hold what must not be shown.
    """
    return known(failure) or _unexpected(failure)


def forget_frames(failure: BaseException) -> None:
    """Let go of what the frames of the failure hold: DuckDB's binding would complain at exit of what is still held."""
    for one in _chain(failure):
        traceback.clear_frames(one.__traceback__)


def _chain(failure: BaseException) -> Iterator[BaseException]:
    """The failure, and what it came from, however deep; each once."""
    seen: set[int] = set()
    left: list[BaseException | None] = [failure]
    while left:
        one = left.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def _judged(one: BaseException) -> MeterbridgeError | None:
    if isinstance(one, MeterbridgeError):
        return one
    kinds = {f"{kind.__module__.split('.')[0].lstrip('_')}.{kind.__name__}" for kind in type(one).__mro__}
    text = str(one).lower()
    if kinds & _INTERRUPTS:
        return Interrupted("MB-INTERRUPTED", "the command was interrupted")
    if kinds & _OF_FILES and (getattr(one, "errno", None) in _NO_ROOM or any(word in text for word in _FULL)):
        return Exhausted("MB-DISK", f"there is no room left to write{_where(one)}")
    is_out_of_threads = "builtins.RuntimeError" in kinds and "can't start new thread" in text
    if kinds & _MEMORY or is_out_of_threads or getattr(one, "errno", None) == errno.ENOMEM:
        return Exhausted("MB-MEMORY", "there is not enough memory for what was asked")
    if isinstance(one, OSError) and one.errno in _NO_RIGHT and one.filename is not None:
        return _forbidden(str(one.filename))
    if "duckdb.IOException" in kinds and ("permission denied" in text or "read-only file system" in text):
        return _forbidden("the staging file")
    return _of_prefect(one, kinds, text)


def _forbidden(what: str) -> SetupError:
    return SetupError(
        "MB-SETTING", f"{what} cannot be written", remedy="Set METERBRIDGE_HOME to a directory that can be written."
    )


def _of_prefect(one: BaseException, kinds: set[str], text: str) -> RetriableError | None:
    """Prefect's own errors, and those of its client, which is the only user of httpx whose errors come this far."""
    status = getattr(getattr(one, "response", None), "status_code", None)
    if "prefect.PrefectHTTPStatusError" in kinds or "httpx.HTTPStatusError" in kinds:
        return RetriableError("MB-PREFECT", f"Prefect's server answered {status}")
    if "httpx.TransportError" in kinds or (isinstance(one, RuntimeError) and "failed to reach api" in text):
        return RetriableError("MB-PREFECT", f"Prefect's server cannot be reached ({type(one).__name__})")
    return None


def _where(one: BaseException) -> str:
    named = getattr(one, "filename", None)
    return f": {named}" if named else ""


def _unexpected(failure: BaseException) -> BrokenInvariant:
    place = ""
    for frame in traceback.extract_tb(failure.__traceback__):
        parts = Path(frame.filename).parts
        ours = next((index for index, part in enumerate(parts) if part in _OURS), None)
        if ours is not None and "site-packages" not in parts[:ours]:
            place = f" at {'/'.join(parts[ours:])}:{frame.lineno}"
    return BrokenInvariant(
        "MB-INVARIANT",
        f"an error that nobody expected: {type(failure).__name__}{place}",
        remedy="Keep ledger and staging file, and report it; METERBRIDGE_LOG_LEVEL=DEBUG shows the traceback.",
    )
