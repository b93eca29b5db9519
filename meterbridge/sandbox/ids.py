"""Ids that look random but follow from what a thing is.

Two runs that make the same things in another order give them the same ids, so their final states can be compared.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Ids:
    """One per world; the n-th thing with equal parts gets another id than the first."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._given: Counter[str] = Counter()

    def _digest(self, parts: tuple[object, ...]) -> bytes:
        name = repr(parts)
        nth = self._given[name]
        self._given[name] = nth + 1
        return hashlib.blake2b(f"{self._seed} {nth} {name}".encode(), digest_size=16).digest()

    def uuid(self, *parts: object) -> str:
        return str(uuid.UUID(bytes=self._digest(parts), version=4))

    def short(self, prefix: str, *parts: object) -> str:
        """Prefix and 14 letters or digits, as Chargebee writes them."""
        number = int.from_bytes(self._digest((prefix, *parts)), "big")
        letters = []
        for _ in range(14):
            number, rest = divmod(number, 62)
            letters.append(_LETTERS[rest])
        return prefix + "".join(letters)
