"""Which free account may be which customer's: every pair with something in common, scored for a person to judge."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from meterbridge.rules.similar import CROWD, plain_name, same_text

SCORES = {
    "code": 100,
    "field": 100,
    "e-mail": 80,
    "name": 70,
    "code but for case": 60,
    "name but for its legal form": 50,
}
BOTH = 95
"""E-mail and name together."""

CERTAIN = 70
"""From so many points on a pair that has no rival is marked for linking."""

Mark = tuple[str, str]
"""What is compared: its kind and the text."""


@dataclass(frozen=True, slots=True)
class Seeker:
    """A customer without an account; ``field`` is what its custom field or metadata says, empty for nothing."""

    id: str
    name: str
    email: str
    field: str
    currency: str | None


@dataclass(frozen=True, slots=True)
class Offered:
    """An account without a customer."""

    id: str
    code: str
    name: str
    email: str
    currency: str | None
    parent_id: str | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A customer and an account that have something in common; ``rivals`` counts (accounts, customers) alike.

    ``certain`` is True where nothing speaks against linking the two.
    """

    customer: Seeker
    account: Offered
    evidence: tuple[str, ...]
    rivals: tuple[int, int] = (1, 1)
    certain: bool = False

    @property
    def score(self) -> int:
        """0 to 100, of the best evidence."""
        both = BOTH if {"e-mail", "name"} <= set(self.evidence) else 0
        return max(both, *(SCORES[one] for one in self.evidence))

    @property
    def other_currency(self) -> bool:
        """True if the account bills in another currency than the customer prefers."""
        return None not in (self.account.currency, self.customer.currency) and (
            self.account.currency != self.customer.currency
        )


def suggestions(
    seekers: Sequence[Seeker], offered: Sequence[Offered], by: str | None, customer_ids: Collection[str]
) -> list[Pair]:
    """All pairs, the best first.

    Args:
        seekers: Customers without an account.
        offered: Accounts without a customer.
        by: ``code``, ``email`` or ``name`` alone, or a field's name; None for all but a field.
        customer_ids: Every customer: an account with another one's id as its code is that one's.
    """
    if by != "code":
        codes = {one.code for one in offered}
        seekers = [one for one in seekers if one.id not in codes]
        offered = [one for one in offered if one.code not in customer_ids]
    found = _without_parts(_matched(seekers, offered, by))
    return sorted(_judged(found), key=lambda pair: (-pair.score, pair.customer.id, pair.account.code))


def _matched(seekers: Sequence[Seeker], offered: Sequence[Offered], by: str | None) -> list[Pair]:
    index: dict[Mark, list[Offered]] = defaultdict(list)
    for account in offered:
        for mark in set(_account_marks(account)):
            index[mark].append(account)
    crowds = Counter(mark for one in seekers for mark, _ in _marks(one, by))
    pairs = []
    for customer in seekers:
        evidence: dict[str, list[str]] = defaultdict(list)
        accounts: dict[str, Offered] = {}
        for mark, words in _marks(customer, by):
            if len(index.get(mark, ())) * crowds[mark] <= CROWD:
                for account in index.get(mark, ()):
                    accounts[account.id] = account
                    evidence[account.id].append(words)
        pairs += [Pair(customer, account, _told(evidence[name])) for name, account in accounts.items()]
    return pairs


def _told(evidence: Iterable[str]) -> tuple[str, ...]:
    """Each evidence once, and the weaker of two that say the same left out."""
    kept = dict.fromkeys(evidence)
    for better in ("code", "name"):
        if better in kept:
            kept = {one: None for one in kept if not one.startswith(f"{better} but")}
    return tuple(kept)


def _account_marks(account: Offered) -> Iterator[Mark]:
    yield "code", account.code
    yield "id", account.id
    yield "folded", account.code.casefold()
    yield from ((kind, text) for kind, text in _looks(account.name, account.email) if text)


def _looks(name: str, email: str) -> Iterator[Mark]:
    yield "e-mail", same_text(email)
    yield "name", same_text(name)
    yield "plain", plain_name(name)


def _marks(customer: Seeker, by: str | None) -> Iterator[tuple[Mark, str]]:
    """What an account is looked for by, and what a match is called."""
    if by not in (None, "code", "email", "name"):
        if customer.field:
            yield ("code", customer.field), "field"
            yield ("id", customer.field), "field"
        return
    if by in (None, "code"):
        yield ("code", customer.id), "code"
        yield ("folded", customer.id.casefold()), "code but for case"
    called = {"e-mail": "e-mail", "name": "name", "plain": "name but for its legal form"}
    for kind, text in _looks(customer.name, customer.email):
        if text and by in (None, "email" if kind == "e-mail" else "name"):
            yield (kind, text), called[kind]


def _without_parts(pairs: Sequence[Pair]) -> list[Pair]:
    """Leave child accounts out where the account above them fits the same customer as well or better."""
    by_pair = {(pair.customer.id, pair.account.id): pair for pair in pairs}
    kept = []
    for pair in pairs:
        above = by_pair.get((pair.customer.id, pair.account.parent_id or ""))
        if above is None or above is pair or not set(pair.evidence) <= set(above.evidence):
            kept.append(pair)
    return kept


def _judged(pairs: Sequence[Pair]) -> Iterator[Pair]:
    accounts = Counter(pair.customer.id for pair in pairs)
    customers = Counter(pair.account.id for pair in pairs)
    sure = Counter(name for pair in pairs if pair.score == 100 for name in (pair.customer.id, pair.account.id))
    for pair in pairs:
        rivals = (accounts[pair.customer.id], customers[pair.account.id])
        alone = rivals == (1, 1) and pair.score >= CERTAIN
        outright = pair.score == 100 and sure[pair.customer.id] == sure[pair.account.id] == 1
        certain = (alone or outright) and not pair.other_currency
        yield Pair(pair.customer, pair.account, pair.evidence, rivals, certain)
