"""Natural keys, hashes and the names made of them. All are functions of their arguments alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from meterbridge.errors import SetupError
from meterbridge.rules.records import Intent, Key, Ref

CODE_LENGTH = 80
"""m3ter's longest entity code."""


def canonical(value: Any) -> str:
    """Render a value as JSON text that is equal exactly when the value is equal.

    Mappings are sorted; Decimals, instants and :class:`Ref` become tagged text,
    floats are refused: they have no exact text.
    """
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    match value:
        case bool() | int() | str() | None:
            return value
        case Decimal():
            text = f"{value:f}"  # never normalize(): it rounds to the context's 28 digits
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime() | date():
            return value.isoformat()
        case Ref():
            return {"$ref": [value.kind, *value.key]}
        case Mapping():
            return {str(name): _plain(item) for name, item in value.items()}
        case Iterable():
            return [_plain(item) for item in value]
        case _:
            raise TypeError(f"no exact text for {type(value).__name__}")


def fingerprint(value: Any) -> str:
    """Hash what must be true at the target: 32 hex digits of SHA-256 over the canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


def key_text(key: Key) -> str:
    """A natural key as the ledger stores it: a JSON array, so that no separator can be mistaken."""
    return json.dumps(list(key), ensure_ascii=False, separators=(",", ":"))


def shown(key: Iterable[str]) -> str:
    """A natural key for people: parts joined by `` / ``, a charge's long identity as its reference."""
    parts = list(key)
    return " / ".join(reference(tuple(parts)) if part.startswith("[") else part for part in parts)


def key_from_text(text: str) -> Key:
    """The inverse of :func:`key_text`."""
    return tuple(json.loads(text))


def external_id(subscription_id: str, item_price_id: str) -> str:
    """The external id of an account plan: ``<subscription id>-<item price id>``."""
    return f"{subscription_id}-{item_price_id}"


def account_plan_code(subscription_id: str, item_price_id: str, period: int) -> str:
    """The account plan's m3ter code: external id and period counter, at most 80 characters.

    A longer one keeps its head and ends in 12 hex digits of the whole's hash.

    >>> account_plan_code("sub-1", "api-EUR-Monthly", 2)
    'sub-1-api-EUR-Monthly.2'
    """
    key = (subscription_id, item_price_id, str(period))
    return _short(f"{external_id(subscription_id, item_price_id)}.{period}", key)


def coded(prefix: str, text: str) -> str:
    """A code of m3ter's: the text behind its prefix; beyond 80 characters its head and 12 hex digits of its hash."""
    return _short(prefix + text, (prefix + text,))


def code_head(text: str) -> str:
    """The beginning that a code keeps of a text, however long it is."""
    return text[: CODE_LENGTH - 13].rstrip()


def _short(code: str, key: Key) -> str:
    if len(code) <= CODE_LENGTH:
        return code
    return f"{code_head(code)}~{hashlib.sha256(key_text(key).encode()).hexdigest()[:12]}"


ANY_REFERENCE = re.compile(r"\[(mb:[0-9a-f]{12})(?:-([0-9a-f]{4}))?\]")
"""A reference anywhere in a text."""

REFERENCE = re.compile(f"{ANY_REFERENCE.pattern}$")
"""A reference at the end of a text: the charge's own part, and the connection's mark; older ones have no mark."""


def reference(key: Key, mark: str = "") -> str:
    """The short text that a charge's description carries so that it is found again.

    It is ``mb:`` and 12 hex digits of the natural key, then the mark of the connection.

    >>> reference(("bill", "sub", "line"), "07af")
    'mb:2345ea4d6cc1-07af'
    """
    own = "mb:" + hashlib.sha256(key_text(key).encode()).hexdigest()[:12]
    return f"{own}-{mark}" if mark else own


def connection_mark(connection: str, chargebee_site: str, m3ter_org: str) -> str:
    """Four hex digits that tell one connection's references from those of another."""
    return hashlib.sha256(canonical(["mark", connection, chargebee_site, m3ter_org]).encode()).hexdigest()[:4]


def reference_on(text: str, key: Key, mark: str = "") -> str | None:
    """The reference of this charge at the end of a text, as it stands there; None if it carries another one, or none.

    One without a mark counts: lines were sent without it before. One with another connection's mark does not.
    """
    found = REFERENCE.search(text)
    if found is None or found[1] != reference(key) or found[2] not in (None, mark):
        return None
    return found[0][1:-1]


def bare(text: str) -> str:
    """A reference without the mark of its connection."""
    return text.partition("-")[0]


def idempotency_key(connection: str, site: str, kind: str, key: Key, *, generation: int, fingerprint: str) -> str:
    """The vendor key of one intent, for life: at most 100 characters, the same in every rerun of the same intent."""
    text = canonical([connection, site, kind, key, generation, fingerprint])
    return f"meterbridge-{hashlib.sha256(text.encode()).hexdigest()[:48]}"


def refuse_no_hash(text: str) -> None:
    """Raise SetupError MB-APPROVAL unless the text has the form of a change set's hash."""
    if not re.fullmatch(r"[0-9a-f]{16}", text):
        raise SetupError("MB-APPROVAL", f"{text[:40]!a} is no hash of a change set: 16 digits and letters a to f")


def change_set_hash(intents: Iterable[Intent]) -> str:
    """Hash what a person approves: every intended write, whatever their order.

    The payload is in it: the same amount for another version of the bill, or on another invoice, is another thing.
    """
    rows = sorted(canonical([i.kind, i.key, i.action, i.fingerprint, i.amount, i.currency, i.payload]) for i in intents)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]
