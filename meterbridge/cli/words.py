"""How commands write amounts, ages, instants and keys: plain words, the same everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

from meterbridge.rules.records import Key

DAY = 86_400


def age(seconds: float) -> str:
    """A span of time in its two largest units.

    >>> age(93_784)
    '1 d 2 h'
    """
    if seconds < 0:
        return "0 s"
    whole = int(seconds)
    parts = [(whole // DAY, "d"), (whole % DAY // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def instant(epoch: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC, whole seconds."""
    if epoch is None:
        return None
    return datetime.fromtimestamp(int(epoch), UTC).isoformat().replace("+00:00", "Z")


def key(parts: Key) -> str:
    """A natural key on one line; the long name of a bill line is left out, for people read bill and subscription."""
    return " / ".join(part for part in parts if not part.startswith("["))
