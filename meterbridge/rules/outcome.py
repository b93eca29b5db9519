"""How a run ended, in the words that stand beside it everywhere: one name, one sentence, money by currency.

The same words are the state of the flow run in Prefect, the first line of its report and of the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from meterbridge.rules.kinds import MONEY
from meterbridge.rules.money import major

Name = Literal["Completed", "Differences", "Awaiting approval", "Set aside", "Held", "Overdue", "Missing"]

WAITS_FOR_A_PERSON_ONLY: tuple[Name, ...] = ("Completed", "Awaiting approval")
"""Names of runs that did all that they may do: a command ends with 0 after them, with 3 after the others."""

Amounts = dict[str, str]
"""Major units as text by currency, such as ``{"EUR": "5857.85", "JPY": "603"}``."""

_DONE = {
    "create": "created",
    "update": "updated",
    "adopt": "adopted",
    "replace": "replaced",
    "delete": "deleted",
    "net": "netted",
}
_MONEY = {"charge.create": "", "charge_removal.delete": "taken off", "credit.create": ""}
"""Writes that the money of a run is about: named without saying that they were created."""

_NOUNS = {"external_mapping": "mapping", "charge_removal": "line"}


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that a person should look at: the name that a run has for it, and what it is about."""

    name: Name
    words: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    name: Name
    message: str

    @property
    def sentence(self) -> str:
        """Name and message on one line.

        >>> Outcome("Set aside", "1 record, 57.32 USD: no pending invoice").sentence
        'Set aside: 1 record, 57.32 USD: no pending invoice'
        """
        return f"{self.name}: {self.message}"


def outcome(done: str, concerns: Sequence[Concern], *, dry_run: bool = False) -> Outcome:
    """The name of the first concern, and every concern's words beside what was done.

    >>> outcome("", [])
    Outcome(name='Completed', message='nothing to do')
    >>> outcome("2 charges, 3.00 EUR", [Concern("Set aside", "1 record")])
    Outcome(name='Set aside', message='1 record · done: 2 charges, 3.00 EUR')
    """
    written = "would write" if dry_run else "done"
    if not concerns:
        return Outcome("Completed", f"dry run, {written}: {done}" if dry_run and done else done or "nothing to do")
    first, *others = concerns
    told = [first.words, *(f"{one.name.lower()}: {one.words}" for one in others)]
    return Outcome(first.name, " · ".join([*told, *([f"{written}: {done}"] if done else [])]))


def is_all_done(concerns: Iterable[Concern]) -> bool:
    """True if nothing keeps the run from having done all that it may do."""
    return all(one.name in WAITS_FOR_A_PERSON_ONLY for one in concerns)


def amounts(rows: Iterable[Mapping[str, Any]]) -> Amounts:
    """Sum rows' ``amount`` (minor units) by ``currency``; rows without an amount do not count.

    >>> amounts([{"amount": 150, "currency": "EUR"}, {"amount": -50, "currency": "EUR"}, {"kind": "account"}])
    {'EUR': '1.00'}
    """
    sums: Counter[str] = Counter()
    for row in rows:
        if row.get("amount") is not None and row.get("currency"):
            sums[row["currency"]] += int(row["amount"])
    return {currency: major(minor, currency) for currency, minor in sorted(sums.items())}


def in_words(money: Mapping[str, str]) -> str:
    """Amounts as people read them.

    >>> in_words({"EUR": "5857.85", "JPY": "603"})
    '5,857.85 EUR; 603 JPY'
    """
    return "; ".join(f"{grouped(amount)} {currency}" for currency, amount in money.items())


def with_money(words: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """Words, and after a comma the rows' money if they have any.

    >>> with_money("2 records", [{"amount": 150, "currency": "EUR"}]), with_money("1 record", [])
    ('2 records, 1.50 EUR', '1 record')
    """
    return ", ".join(part for part in (words, in_words(amounts(rows))) if part)


def grouped(number: str) -> str:
    """A decimal number with its thousands apart; what is no number as it is.

    >>> grouped("-1234567.10"), grouped("12 minor units")
    ('-1,234,567.10', '12 minor units')
    """
    return f"{Decimal(number):,f}" if number.replace("-", "").replace(".", "").isdigit() else number


def money_of(counts: Mapping[str, int], money: Mapping[str, str]) -> str:
    """Return in words the charges and credits made, and their sum; empty for none.

    >>> money_of({"charge.create": 56, "external_mapping.create": 85}, {"EUR": "5857.85", "JPY": "603"})
    '56 charges, 5,857.85 EUR; 603 JPY'
    """
    moved = {name: count for name, count in counts.items() if name.partition(".")[0] in MONEY}
    what = ", ".join(_named(name, count) for name, count in moved.items() if not name.endswith(".adopt"))
    return ", ".join(part for part in (what, in_words(money)) if part) if what else ""


def writes(counts: Mapping[str, int]) -> str:
    """Return in words the writes made, mappings last: ``29 accounts created, 2 accounts adopted``."""
    order = sorted(counts, key=lambda name: name.startswith("external_mapping"))
    return ", ".join(_named(name, counts[name]) for name in order)


def done_words(counts: Mapping[str, int], money: Mapping[str, str]) -> str:
    """Everything that was written: money first, then what else; empty for nothing.

    >>> done_words({"account.create": 1, "charge.create": 2, "external_mapping.create": 3}, {"EUR": "3.00"})
    '2 charges, 3.00 EUR; 1 account created, 3 mappings created'
    """
    first = money_of(counts, money)
    rest = {name: n for name, n in counts.items() if name.partition(".")[0] not in MONEY or name.endswith(".adopt")}
    return "; ".join(part for part in (first, writes(rest)) if part)


def count_of(count: int, noun: str, rest: str = "") -> str:
    """A number and its noun, and what follows it.

    >>> count_of(1, "record"), count_of(2, "line", "taken off")
    ('1 record', '2 lines taken off')
    """
    return f"{count} {noun}{'' if count == 1 else 's'} {rest}".rstrip()


def _named(name: str, count: int) -> str:
    kind, _, action = name.partition(".")
    noun = _NOUNS.get(kind, kind.replace("_", " "))
    return count_of(count, noun, _MONEY.get(name, _DONE.get(action, action)))
