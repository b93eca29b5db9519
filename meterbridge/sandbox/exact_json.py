"""JSON whose numbers keep every digit: Decimal in, JSON number out, and back."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

# No real text of either vendor holds this private-use character; it brackets a number on its way through json.dumps.
_MARK = "\ue000"
_MARKED = re.compile(rb'"\xee\x80\x80(-?[0-9.]+)\xee\x80\x80"')
_MARK_BYTES = b"\xee\x80\x80"


def _render(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{_MARK}{value:f}{_MARK}"
    raise TypeError(f"{type(value).__name__} has no JSON form")


def dumps(value: Any) -> bytes:
    """UTF-8 JSON; a Decimal becomes a number with all its digits, never a float."""
    text = json.dumps(value, default=_render, separators=(",", ":"), ensure_ascii=False).encode()
    return _MARKED.sub(rb"\1", text) if _MARK_BYTES in text else text


def loads(body: bytes | str) -> Any:
    """Like json.loads, but a number with a point becomes Decimal."""
    return json.loads(body, parse_float=Decimal)


def plain(value: Decimal) -> Decimal:
    """Without trailing zeros and exponent: 1E+2 is 100, 41.2370 is 41.237."""
    if value == value.to_integral_value():
        return value.quantize(Decimal(1)) if abs(value) < Decimal(10) ** 20 else Decimal(f"{value:f}".split(".")[0])
    return value.normalize()
