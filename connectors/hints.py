"""What a webhook of either vendor tells, and who may send one. Pure: bytes in, a hint or a refusal out."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meterbridge.errors import RecordRefused

LARGEST_BODY = 1024 * 1024
"""Bytes; the vendors' largest events are far below it."""

NOTHING = "nothing"
"""The resource of an event that concerns nothing of ours; ``sample`` is that of a vendor's test event."""
SAMPLE = "sample"

_LONGEST_ID = 200
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_DEPTH = 6
_NAMES = 40


@dataclass(frozen=True, slots=True)
class Hint:
    """An event without its content: what to read again.

    ``resource`` is ``subscription``, ``customer``, ``bill``, ``bills`` (some bill, the vendor does not
    say which), ``sample`` or ``nothing``. ``occurred_at`` is in epoch seconds.
    """

    event_id: str
    event_type: str
    resource: str
    resource_id: str = ""
    occurred_at: float | None = None
    resource_version: int | None = None


def event_object(body: bytes) -> dict[str, Any]:
    """The JSON object a webhook brought.

    Raises:
        RecordRefused: MB-WEBHOOK, the body is no JSON object.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise unreadable("the body is not JSON") from None
    if not isinstance(found, dict):
        raise unreadable("the body is no JSON object")
    return found


def unreadable(reason: str) -> RecordRefused:
    """The refusal of a body that is no event."""
    return RecordRefused("MB-WEBHOOK", reason)


def text(value: Any) -> str:
    """A name or id as text; empty when it is none, longer than any id is, or nothing that can be kept or asked for.

    A control character or half a surrogate pair cannot be stored, and of ``.`` and ``..`` no address can be made.

    >>> text("sub-1"), text(".."), text("\\ud800x"), text(7)
    ('sub-1', '', '', '')
    """
    sound = isinstance(value, str) and len(value) <= _LONGEST_ID and value not in (".", "..")
    return str(value) if sound and not _UNFIT.search(value) else ""


def digest(body: bytes) -> str:
    """The name of a body that has no id of its own: the same bytes, the same name."""
    return hashlib.sha256(body).hexdigest()


def outline(body: bytes) -> str:
    """The names in a body without their values, for a person who asks what came; never personal data.

    >>> outline(b'{"id": 7, "content": {"customer": {"email": "ann@acme.example"}}}')
    '{content: {customer: {email: text}}, id: number}'
    """
    try:
        return _outlined(json.loads(body), _DEPTH)[:2_000]
    except (ValueError, RecursionError):
        return "text" if body.strip() else "empty"


def _outlined(value: Any, depth: int) -> str:
    match value:
        case dict():
            # Only words can be field names here; a key that is an address or an id is a value in disguise.
            names = sorted(name if name.isidentifier() and len(name) <= _NAMES else "?" for name in value)[:_NAMES]
            if depth == 0:
                return "{…}"
            return "{" + ", ".join(f"{name}: {_outlined(value.get(name), depth - 1)}" for name in names) + "}"
        case list():
            return f"[{_outlined(value[0], depth - 1) if value and depth else ''}]"
        case str():
            return "text"
        case bool():
            return "flag"
        case int() | float():
            return "number"
    return "null"


def same(given: bytes, expected: bytes) -> bool:
    """True if two secrets are equal; takes the same time wherever they differ and however long they are."""
    # Digests first: compare_digest tells lengths apart by its time.
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())


def any_same(given: Iterable[bytes], expected: bytes) -> bool:
    """True if one of several texts is the secret; looks at all of them."""
    found = [same(each, expected) for each in given]
    return True in found
