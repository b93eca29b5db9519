"""Lines with a reference of ours that no row of the ledger owns, and what becomes of each.

An older ledger does not own what was charged since; a copied one does not own what the
other copy charged; a person may have copied a line by hand. One rule for all of them,
whether lists show the line at the decision or a strong read does right before a write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from meterbridge.rules.keys import REFERENCE, bare
from meterbridge.rules.records import InvoiceLine, Key

StrangerVerdict = Literal["adopt", "double", "hold"]
"""Take the line over; it is charged twice (``MB-DOUBLE-CHARGE``); set its invoice and its bill aside."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the lines. References count without the mark of their connection.

    Attributes:
        owned: By line id, the reference of each line that a row owns and that stands, on any invoice.
        claims: By reference, the keys of the charges that bills want or wanted under it and that own no line.
        mark: The mark of this connection; a line that carries another one is none of ours.
        unanswered: References of writes without an answer: their own probe tells what became of them.
        mapped: Ids of lines that m3ter maps to a bill; None where that was not read. An older reference,
            without a mark, that nothing else knows is ours only if m3ter maps its line.
    """

    owned: Mapping[str, str]
    claims: Mapping[str, Collection[Key]]
    mark: str = ""
    unanswered: Collection[str] = ()
    mapped: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Stranger:
    """A line that carries a reference of ours and that nobody owns; ``claimants`` are the charges it could be."""

    line: InvoiceLine
    reference: str
    verdict: StrangerVerdict
    claimants: tuple[Key, ...]


def strangers(lines: Iterable[InvoiceLine], known: Known) -> list[Stranger]:
    """Judge every line with a reference of ours that no row owns, in the order of the lines.

    Exactly one claim takes the line over. A reference that an owned line carries, too, or
    that two strangers share, is one charge twice: no machine says which of the lines is right.
    """
    owned = {bare(text) for text in known.owned.values()}
    unanswered = {bare(text) for text in known.unanswered}
    found = [(line, own) for line in lines if (own := _reference(line, known)) and own not in unanswered]
    times = Counter(own for _, own in found)
    claims: dict[str, tuple[Key, ...]] = {}
    for text, keys in known.claims.items():
        claims[bare(text)] = tuple(dict.fromkeys((*claims.get(bare(text), ()), *keys)))
    judged = []
    for line, own in found:
        claimants = claims.get(own, ())
        if own in owned or times[own] > 1:
            judged.append(Stranger(line, own, "double", claimants))
        elif claimants or _is_ours(line, known):
            judged.append(Stranger(line, own, "adopt" if len(claimants) == 1 else "hold", claimants))
    return judged


def _reference(line: InvoiceLine, known: Known) -> str | None:
    """The line's reference without its mark, if nobody owns the line and no other connection's mark is on it."""
    found = REFERENCE.search(line.description)
    if found is None or line.id in known.owned or found[2] not in (None, known.mark):
        return None
    return found[1]


def _is_ours(line: InvoiceLine, known: Known) -> bool:
    """True if the line carries our mark, or is an older one that m3ter maps, or may be."""
    found = REFERENCE.search(line.description)
    marked = found is not None and found[2] is not None
    return marked or known.mapped is None or line.id in known.mapped
