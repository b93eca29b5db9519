"""How far a long delivery is: a bar with rate and time left on a terminal, an artifact in Prefect's UI."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

ARTIFACT_SECONDS = 5.0
"""An artifact's update is a request to Prefect's server."""


class Meter:
    """Counts what was sent of ``total``; use as a context manager. One thread at a time."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = max(total, 1)
        self._done = 0
        self._began = self._told = time.monotonic()
        self._bar: Progress | None = None
        self._row: TaskID | None = None
        self._artifact: UUID | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            rate = TextColumn("{task.fields[rate]:,.0f} rows/s")
            self._bar = Progress(*columns, rate, TimeRemainingColumn(), console=Console(stderr=True))
            self._bar.start()
            self._row = self._bar.add_task(self._title, total=self._total, rate=0.0)
        if FlowRunContext.get() is not None:
            made = create_progress_artifact(0.0, key="sync-usage-progress", description=self._title)
            self._artifact = made if isinstance(made, UUID) else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell()
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """So many more are through, sent or known to have been sent."""
        self._done += count
        now = time.monotonic()
        if self._bar is not None and self._row is not None:
            rate = self._done / max(now - self._began, 1e-9)
            self._bar.update(self._row, completed=self._done, rate=rate)
        if now - self._told > ARTIFACT_SECONDS:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        if self._artifact is not None:
            update_progress_artifact(self._artifact, progress=min(100.0, 100.0 * self._done / self._total))
