"""What makes hundreds of runs in one process cheap: warm database engines, and no pauses that only take time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL

from meterbridge.ledger import engine
from tests.back_off import no_back_off

_connect = engine.connect


class _Kept(engine.Engines):
    """Engines that outlive their ledger: their statements stay compiled."""

    def dispose(self) -> None:
        """Nothing: the block of :func:`quick` does it."""


@contextmanager
def quick() -> Iterator[None]:
    """Inside the block back-off takes no time, and a ledger that is opened again finds its connections."""
    kept: dict[URL, _Kept] = {}

    def connect(url: URL) -> engine.Engines:
        if url not in kept:
            made = _connect(url)
            kept[url] = _Kept(made.reader, made.writer)
        return kept[url]

    engine.connect = connect
    try:
        with no_back_off():
            yield
    finally:
        engine.connect = _connect
        for one in kept.values():
            one.reader.dispose()
            one.writer.dispose()
