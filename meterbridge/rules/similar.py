"""What makes an m3ter account look like a Chargebee customer's: the same e-mail address, or the same name.

Two texts are the same if they differ only in case, in Unicode's spellings of one character (NFKC), in white space or in
invisible characters. A legal form is no noise: "Acme Ltd" and "Acme GmbH" are two companies of one group as often as
not, and whoever joins them joins their bills. It is left out only where a person decides (``link suggest``).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

OnSimilarAccount = Literal["quarantine", "adopt", "create"]
Evidence = Literal["e-mail", "name"]

SHOWN_ACCOUNTS = 5
"""So many accounts are named in a message; an address of a reseller may stand on hundreds."""

CROWD = 10_000
"""A text on more pairs than this is a filler on both sides, and no evidence; ``int_alike`` has the same number."""

_SKELETON = "-autocreated"
_NOT_A_WORD = re.compile(r"[^\w]+")
_LEGAL_FORM = re.compile(
    r"ab|ag|aps|as|asa|bv|co|company|corp|corporation|doo|eg|ek|ev|gbr|gmbh|inc|incorporated|kft|kg|kk|lda|limited|llc"
    r"|llp|ltd|ltda|mbh|nv|ohg|ou|oy|oyj|plc|pte|pty|pvt|sa|sab|sarl|sas|sasu|scs|se|sl|slu|snc|spa|spzoo|srl|sro|ug"
)
_JOINED_FORMS = ("株式会社", "有限会社", "合同会社", "(株)")
"""Japanese writes its legal forms without a space, before the name or after it."""


@dataclass(frozen=True, slots=True)
class SimilarAccount:
    """An account that no customer is linked to and that looks like one's.

    ``customers`` are all customers that the account looks like, in order of id; ``parent_id`` is the account above it.
    """

    id: str
    code: str
    currency: str | None
    parent_id: str | None
    evidence: tuple[Evidence, ...]
    customers: tuple[str, ...]


def same_text(text: str | None) -> str:
    """The text as it is compared: equal exactly for what counts as the same; empty for nothing.

    >>> same_text("  ACME\\u00a0 Städte\\u200b GmbH ") == same_text("acme sta\\u0308dte gmbh")
    True
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text or "").casefold())
    return " ".join("".join(c for c in folded if unicodedata.category(c) != "Cf").split())


def plain_name(name: str | None) -> str:
    """A name without punctuation and legal form, for suggestions that a person judges.

    >>> plain_name("Müller & Söhne GmbH & Co. KG")
    'müller söhne'
    """
    text = same_text(name)
    for form in _JOINED_FORMS:
        text = text.replace(same_text(form), " ")
    words = _NOT_A_WORD.sub(" ", re.sub(r"(?<=\w)\.(?=\w)", "", text)).split()
    kept = [word for word in words if not _LEGAL_FORM.fullmatch(word)]
    return " ".join(kept or words)


def digest(text: str | None) -> str | None:
    """A hash of the text as it is compared, None for nothing: neither staging nor the ledger shall gather addresses."""
    compared = same_text(text)
    return hashlib.sha256(compared.encode()).hexdigest()[:32] if compared else None


def is_skeleton(code: str, name: str | None) -> bool:
    """True if usage made the account for a code that nobody had: it has no name or address of its own."""
    return name == f"{code}{_SKELETON}"


def without_children(found: Sequence[SimilarAccount]) -> list[SimilarAccount]:
    """Leave out accounts that belong to another one found with the same evidence or more: they are part of it."""
    by_id = {one.id: one for one in found}
    kept = []
    for one in found:
        above = by_id.get(one.parent_id or "")
        if above is None or above is one or not set(one.evidence) <= set(above.evidence):
            kept.append(one)
    return kept


def the_one(found: Sequence[SimilarAccount], currency: str | None) -> SimilarAccount | None:
    """The account that alone looks like the customer, looks like nobody else, and has its currency; else None."""
    if len(found) != 1 or len(found[0].customers) != 1 or found[0].currency not in (None, currency):
        return None
    return found[0]


def twin_words(
    customer_id: str, found: Sequence[SimilarAccount], currency: str | None, skeleton: str | None = None
) -> str:
    """The customer and the accounts, by id, with the evidence; no address and no name."""
    named = [
        f"account {one.id} (code {one.code!r}) has the same {' and '.join(one.evidence)}"
        for one in found[:SHOWN_ACCOUNTS]
    ]
    if len(found) > SHOWN_ACCOUNTS:
        named.append(f"{len(found) - SHOWN_ACCOUNTS} more accounts, too")
    others = sorted({other for one in found for other in one.customers} - {customer_id})
    if others:
        more = f" and {len(others) - SHOWN_ACCOUNTS} more" if len(others) > SHOWN_ACCOUNTS else ""
        named.append(f"so does customer {', '.join(others[:SHOWN_ACCOUNTS])}{more}")
    elif len(found) == 1 and found[0].currency not in (None, currency):
        named.append(f"its currency is {found[0].currency}, the customer's {currency}")
    has = "no account of its own" if skeleton is None else f"only account {skeleton}, a skeleton that usage made"
    return f"customer {customer_id} has {has}, and {'; '.join(named)}"
