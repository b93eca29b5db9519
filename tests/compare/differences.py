"""Where two versions differ, one readable line each, and which committed explanation accounts for it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXPLAINED = Path(__file__).with_name("explained.yaml")
TERMS = ("play", "what", "before", "now")


@dataclass(frozen=True, slots=True)
class Difference:
    """``what``: a row's table and name and the field, a write, or a sentence that was told; what it was, and is."""

    play: str
    what: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.play}: {self.what}\n      before  {self.before}\n      now     {self.now}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Of two endings of the same play."""
    play = before["play"]
    for table in sorted({*before["rows"], *now["rows"]}):
        left, right = _less(before["rows"].get(table, []), now["rows"].get(table, []))
        for what, was, is_ in _rows(table, left, right):
            yield Difference(play, what, was, is_)
    writes, told = ([Counter(side[one]) for side in (before, now)] for one in ("writes", "told"))
    for what, was, is_ in _pairs(*writes):
        yield Difference(play, f"write: {what}", was, is_)
    for part, counts in (("write", writes), ("told", told)):
        for text in sorted({*counts[0], *counts[1]}):
            was, is_ = (f"{each[text]} times" for each in counts)
            if was != is_:
                yield Difference(play, f"{part}: {text}", was, is_)


REQUEST = re.compile(r"([A-Z]+ [^{]*) (\{.*\})(, without a key|, under a key of before|)")


def _pairs(before: Counter[str], now: Counter[str]) -> Iterator[tuple[str, str, str]]:
    """The fields of requests that came as often, for the same record, with another body; these leave the counts."""
    waiting: dict[tuple[str, int], list[str]] = {}
    for text in sorted(set(now) - set(before)):
        waiting.setdefault((_about(text), now[text]), []).append(text)
    for text in sorted(set(before) - set(now)):
        name = _about(text)
        others = waiting.get((name, before[text]))
        if others and name != text:
            other = others.pop(0)
            yield from _fields(name, *(json.loads(REQUEST.fullmatch(one)[2]) for one in (text, other)))  # type: ignore[index]
            del before[text], now[other]


IDENTITY = ("code", "m3terId", "externalId", "subscription_id", "description", "line_item[date_from]")


def _about(text: str) -> str:
    """Which record a request is about: all but the rest of its body, if it is one request with one."""
    found = REQUEST.fullmatch(text)
    try:
        body = json.loads(found[2]) if found else None
    except ValueError:
        body = None
    if found is None or body is None:
        return text
    return f"{found[1]} ({', '.join(str(body[name]) for name in IDENTITY if name in body)}){found[3]}"


def _less(left: Sequence[Any], right: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Both without what they have in common."""
    texts = [[json.dumps(row, sort_keys=True) for row in side] for side in (left, right)]
    common = Counter(texts[0]) & Counter(texts[1])
    return _without(texts[0], common), _without(texts[1], common)


def _without(texts: Iterable[str], common: Mapping[str, int]) -> list[Any]:
    taken: Counter[str] = Counter()
    left = []
    for text in texts:
        taken[text] += 1
        if taken[text] > common.get(text, 0):
            left.append(json.loads(text))
    return left


def _rows(table: str, left: list[Any], right: list[Any]) -> Iterator[tuple[str, str, str]]:
    """Rows of the same name by the fields in which they differ; others as such."""
    for name in sorted({_name(row) for row in (*left, *right)}):
        ours, theirs = ([row for row in side if _name(row) == name] for side in (left, right))
        if len(ours) == len(theirs) == 1 and isinstance(ours[0], dict):
            yield from _fields(f"{table} {name}", ours[0], theirs[0])
            continue
        for row in ours:
            yield f"{table} {name}", _shown(row), "no such row"
        for row in theirs:
            yield f"{table} {name}", "no such row", _shown(row)


def _fields(what: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for field_name in sorted({*ours, *theirs}):
        was, is_ = ours.get(field_name), theirs.get(field_name)
        if isinstance(was, list) and isinstance(is_, list):
            was, is_ = _less(was, is_)
        if was != is_:
            yield f"{what}, {field_name}", _shown(was), _shown(is_)


def _name(row: Any) -> str:
    """What a row is called: its id, or a m3ter mapping by both of its ends."""
    if not isinstance(row, dict):
        return str(row)
    if "m3terEntity" in row:
        return f"of {row['m3terEntity']} {row['m3terId']}"
    return str(row.get("id"))


def _shown(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


@dataclass
class Explanation:
    """Why differences are as they should be; those whose every named part its pattern finds.

    ``count``: exactly so many, or none of them is explained. ``apart``: two worlds from here on, which are compared
    no further: what follows in this play follows from it.
    """

    reason: str
    patterns: Mapping[str, str]
    count: int | None = None
    apart: bool = False
    found: list[Difference] = field(default_factory=list)

    def accounts_for(self, one: Difference) -> bool:
        """True if each pattern is found in its part of the difference."""
        return all(re.search(pattern, getattr(one, term)) for term, pattern in self.patterns.items())

    @property
    def holds(self) -> bool:
        """True if it explains something, and as many differences as it says."""
        return bool(self.found) and self.count in (None, len(self.found))

    def __str__(self) -> str:
        terms = ", ".join(f"{term} {pattern!r}" for term, pattern in self.patterns.items())
        return f"{self.reason} ({terms}): {len(self.found)}" + (f" of {self.count}" if self.count else "")


def explanations(path: Path = EXPLAINED) -> list[Explanation]:
    """The committed ones.

    Raises:
        ValueError: An entry has no reason or no pattern, or a term that does not exist.
    """
    found = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
        terms = {name: str(entry[name]) for name in TERMS if name in entry}
        unknown = set(entry) - {*TERMS, "reason", "count", "apart"}
        if unknown or not terms or not str(entry.get("reason", "")).strip():
            raise ValueError(f"{path.name}: an entry needs a reason and one of {', '.join(TERMS)}: {entry}")
        found.append(Explanation(str(entry["reason"]).strip(), terms, entry.get("count"), entry.get("apart", False)))
    return found


def explain(found: Iterable[Difference], known: Sequence[Explanation]) -> tuple[list[Difference], bool]:
    """Give each difference to the first explanation that accounts for it.

    Returns those that none does, and True if what follows in the play follows from what was found here.
    """
    left, apart = [], False
    for one in found:
        first = next((each for each in known if each.accounts_for(one)), None)
        apart = apart or first is None or first.apart
        left.append(one) if first is None else first.found.append(one)
    return left, apart


def miscounted(known: Iterable[Explanation]) -> list[Difference]:
    """Return the differences of explanations that account for another number of them."""
    return [one for each in known if each.found and not each.holds for one in each.found]
