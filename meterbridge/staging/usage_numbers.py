"""The SQL that reads a number out of a text: by our own grammar, for a database's cast takes more than is meant."""

from __future__ import annotations

from meterbridge.staging.usage_shape import literal

NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
"""As JSON writes it: such a text is sent as it is."""

_SIGNS = {".": r"\.", " ": "[ ]", "'": "[']"}


def number_text(text: str, decimal: str = ".", thousands: str = "") -> str:
    """SQL: the number that a text holds, as JSON writes it; NULL if it holds none.

    Beside JSON's own, a leading plus and a missing zero before the decimal sign are understood (+5, .5). Groups of
    thousands are complete, or there are none.
    """
    point = _SIGNS.get(decimal, decimal)
    whole = "(0|[1-9][0-9]*)"
    if thousands:
        whole = f"(0|[1-9][0-9]*|[1-9][0-9]{{0,2}}({_SIGNS.get(thousands, thousands)}[0-9]{{3}})+)"
    grammar = f"^[+-]?({whole}({point}[0-9]+)?|{point}[0-9]+)([eE][+-]?[0-9]+)?$"
    plain = f"replace({text}, {literal(thousands)}, '')" if thousands else text
    plain = f"replace({plain}, {literal(decimal)}, '.')" if decimal != "." else plain
    # RE2 takes one digit after the backslash: \10 is the first group and a zero.
    plain = rf"regexp_replace(ltrim({plain}, '+'), '^(-?)\.', '\10.')"
    first = f"when regexp_matches({text}, {literal(NUMBER)}) then {text} " if decimal == "." else ""
    return f"case {first}when regexp_matches({text}, {literal(grammar)}) then {plain} end"
