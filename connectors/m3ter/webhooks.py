"""m3ter's notifications as they reach a webhook.

Their envelope and the header that carries the key are not documented, so both are
read tolerantly: the key may be in any header, the bill anywhere an event has its
object. What names no bill still says that some bill changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from connectors.hints import NOTHING, Hint, any_same, digest, event_object, same, text, unreadable

BILL_EVENT = "billing.bill.updated"
"""What to be notified of: an approval is an update of a bill; there is no event of its own for it."""

APPROVED = 'new.status == "APPROVED" AND old.status != "APPROVED"'
"""The rule's condition; :code:`POST /notifications/evaluate` says whether the organisation takes it."""

_BILLS = "billing.bill."


def authorized(path: str, headers: Iterable[tuple[bytes, bytes]], secret_path: str, key: str) -> bool:
    """True if path and key are ours, both compared in constant time; without a key the path alone decides."""
    right_path = same(path.encode(), secret_path.encode())
    values = [part for _, value in headers for part in (value, value.rpartition(b" ")[2])]
    return right_path and (not key or any_same(values, key.encode()))


def parse(body: bytes) -> Hint:
    """What a notification tells to read again.

    Raises:
        RecordRefused: MB-WEBHOOK, the body is no JSON object or names no event.
    """
    whole = event_object(body)
    event = next((part for part in _objects(whole) if text(part.get("eventName"))), None)
    if event is None:
        raise unreadable("eventName is missing")
    name = text(event["eventName"])
    event_id = text(event.get("id")) or text(event.get("eventId")) or digest(body)
    if not name.startswith(_BILLS):
        return Hint(event_id, name, NOTHING)
    dto = next((part for part in _dtos(event) if text(part.get("id"))), None)
    occurred = _instant(event.get("eventTime"))
    if dto is None:
        return Hint(event_id, name, "bills", "", occurred)
    return Hint(event_id, name, "bill", text(dto["id"]), occurred, _version(dto))


def _objects(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The body itself, then the objects directly in it."""
    yield whole
    yield from (part for part in whole.values() if isinstance(part, dict))


def _dtos(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    places: list[Any] = [event, event.get("m3terEvent")]
    places += [place.get("eventData") for place in places if isinstance(place, dict)]
    for place in places:
        if isinstance(place, dict):
            found = (place.get(name) for name in ("newDto", "new", "oldDto", "old"))
            yield from (dto for dto in found if isinstance(dto, dict))


def _version(dto: dict[str, Any]) -> int | None:
    version = dto.get("version")
    return version if isinstance(version, int) and not isinstance(version, bool) and 0 <= version < 2**53 else None


def _instant(value: Any) -> float | None:
    try:
        found = datetime.fromisoformat(text(value))
        return found.timestamp() if found.tzinfo else None
    except (ValueError, OverflowError):
        return None
