"""JSON Schema as the contracts write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


def closed(fields: Json, needed: Sequence[str] = ()) -> Json:
    """An object of these fields and no others."""
    made: Json = {"type": "object", "additionalProperties": False}
    return made | ({"required": list(needed)} if needed else {}) | {"properties": fields}
