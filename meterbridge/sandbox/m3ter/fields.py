"""Validation of bodies: each field of an entity has a check that returns what is wrong, or None."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from meterbridge.sandbox.clock import parse_rfc3339

Check = Callable[[Any], str | None]

# The charset of entity codes in m3ter's API description: no control characters, plain spaces only inside.
_LOOSE = re.compile(r"[^\x00-\x1f\x7f\s](?:(?:[^\x00-\x1f\x7f\s]| )*[^\x00-\x1f\x7f\s])?")
_IDENTIFIER = re.compile(r"(?:[^\W\d]|\$)[\w$]*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def text(least: int, most: int) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, str) or not least <= len(value) <= most:
            return f"must be a text of {least} to {most} characters"
        return None

    return check


def code(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > 80 or not _LOOSE.fullmatch(value):
        return "must be 1 to 80 characters without control characters or outer spaces"
    return None


def identifier(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > 80 or not _IDENTIFIER.fullmatch(value):
        return "must be letters, digits, _ or $, not starting with a digit"
    return None


def email(value: Any) -> str | None:
    return None if isinstance(value, str) and _EMAIL.fullmatch(value) else "must be an e-mail address"


def uuid(value: Any) -> str | None:
    return None if isinstance(value, str) and len(value) == 36 else "must be an id of 36 characters"


def number(least: int | None = None, *, above: int | None = None) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            return "must be a number"
        if least is not None and value < least:
            return f"must be at least {least}"
        if above is not None and value <= above:
            return f"must be greater than {above}"
        return None

    return check


def integer(least: int, most: int = 2**62) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            return f"must be an integer of at least {least}"
        return None

    return check


def boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def day(value: Any) -> str | None:
    try:
        if isinstance(value, str) and len(value) == 10:
            date.fromisoformat(value)
            return None
    except ValueError:
        pass
    return "must be a date (YYYY-MM-DD)"


def moment(value: Any) -> str | None:
    try:
        parse_rfc3339(value)
    except (ValueError, TypeError):
        return "must be a date-time (RFC 3339, with zone)"
    return None


def one_of(*choices: str) -> Check:
    return lambda value: None if value in choices else f"must be one of {', '.join(choices)}"


def mapping(value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be an object"


def custom_fields(value: Any) -> str | None:
    if isinstance(value, dict) and all(
        isinstance(each, str | int | Decimal) and not isinstance(each, bool) for each in value.values()
    ):
        return None
    return "must be a flat object of texts and numbers"


def list_of(least: int, most: int = 10_000) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            return f"must be a list of {least} to {most}"
        return None

    return check
