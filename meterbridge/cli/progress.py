"""Show a person each stage of a run as it begins, a line each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from meterbridge.log import is_quiet
from meterbridge.settings import load_settings


@contextmanager
def stages_shown() -> Iterator[None]:
    """Inside the block each stage is told on stderr, if a person is there and sees no log instead."""
    if not is_quiet(load_settings().log_level):
        yield
        return
    from tasks.engine import watched

    began = time.monotonic()

    def tell(stage: str) -> None:
        typer.echo(f"{time.monotonic() - began:6.1f} s  {stage}", err=True)

    with watched(tell):
        yield
