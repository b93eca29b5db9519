"""One line of ``meterbridge doctor``: what was checked, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from meterbridge.errors import MeterbridgeError

Verdict = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's outcome; ``remedy`` is empty where nothing is to be done."""

    check: str
    verdict: Verdict
    words: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return asdict(self)


def ok(check: str, words: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", words)


def warning(check: str, words: str, remedy: str) -> Finding:
    """Works, but somebody should know."""
    return Finding(check, "warning", words, remedy)


def failure(check: str, words: str, remedy: str) -> Finding:
    """A sync would stop or go wrong here."""
    return Finding(check, "failure", words, remedy)


def guarded(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of one check; an error of ours becomes its failure line, so that the others still run."""
    try:
        yield from look()
    except MeterbridgeError as trouble:
        yield failure(check, f"{trouble.code}: {trouble.message}", trouble.remedy)
