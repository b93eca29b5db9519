"""Instants as they come out of staging: Chargebee's epoch seconds and m3ter's RFC 3339 text, to aware UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime


def instant(epoch: int | None) -> datetime | None:
    """Epoch seconds to aware UTC."""
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)


def moment(text: str | None) -> datetime | None:
    """RFC 3339 text to aware UTC."""
    return None if text is None else required(text)


def day(text: str | None) -> date | None:
    """ISO 8601 text to a calendar day; an instant's own day."""
    return None if text is None else date.fromisoformat(text[:10])


def required(text: str) -> datetime:
    """RFC 3339 text that must be there, to aware UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)
