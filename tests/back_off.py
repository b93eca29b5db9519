"""Whole runs whose attempts follow each other at once: how long to wait is tested where it is decided."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.transport import Transport


@contextmanager
def no_back_off() -> Iterator[None]:
    """Inside the block the pauses between attempts take no time; Retry-After is obeyed."""
    defaults = Transport.__init__.__kwdefaults__ or {}
    before = defaults["jitter"]
    defaults["jitter"] = lambda: 0.0
    try:
        yield
    finally:
        defaults["jitter"] = before
