"""The secrets of this process, and texts without them: one list for logs, errors and the connectors.

Errors use it and the rules use errors, so it stands on almost nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator

_SHORTEST_SECRET = 4  # shorter texts stand in ordinary words, and masking those would make every log unreadable
_PASSWORD = re.compile(r"://[^:/@]*:(?P<password>[^@]+)@")

_secrets: dict[str, None] = {}
"""Keys are added one by one and never taken out, which any number of threads may do at once."""


def register_secret(text: str) -> None:
    """Mask this text from now on, as it is and as it would be sent; of a database URL its password alone, too."""
    for secret in _forms(text):
        if len(secret) >= _SHORTEST_SECRET:
            _secrets.setdefault(secret)


def without_secrets(text: str, also: Iterable[str] = ()) -> str:
    """The text with every registered secret masked, and with those that only the caller knows."""
    # All at once and the longest first: a secret that holds another one must not be left half masked.
    secrets = sorted({*_secrets, *also}, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, secrets)), "[secret]", text) if secrets else text


def _forms(text: str) -> Iterator[str]:
    """The secret as it stands in settings, in URLs, and as the user of Basic authentication."""
    yield text
    yield "".join(f"%{byte:02X}" if chr(byte) not in _PLAIN else chr(byte) for byte in text.encode())
    yield base64.b64encode(f"{text}:".encode()).decode()
    if found := _PASSWORD.search(text):
        yield found["password"]
        bare = re.sub(rb"%([0-9a-fA-F]{2})", lambda two: bytes([int(two[1], 16)]), found["password"].encode())
        yield bare.decode(errors="replace")


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
