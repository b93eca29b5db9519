"""What became of a charge: judged from an invoice's lines, what stood before, and what others own. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from meterbridge.rules.records import InvoiceLine


@dataclass(frozen=True, slots=True)
class Wish:
    """The line that a charge asks for; dates are epoch seconds, last second inclusive, amount in minor units."""

    entity_type: str
    entity_id: str | None
    reference: str
    date_from: int
    date_to: int
    subscription_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class Booked:
    """Exactly the line asked for."""

    line_id: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """Exactly one new line of our entity and dates, but with another amount."""

    line_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class Absent:
    """No line of ours: nothing landed."""


@dataclass(frozen=True, slots=True)
class TooMany:
    """More lines than asked for: nothing may be deleted or sent by a machine."""

    line_ids: tuple[str, ...]


Verdict = Booked | Wrong | Absent | TooMany


def candidates(wish: Wish, lines: Sequence[InvoiceLine], taken: Collection[str]) -> list[InvoiceLine]:
    """Lines that could be the wish's: none that stood before or that another charge owns."""
    return [line for line in lines if line.id not in taken and is_alike(wish, line)]


def is_alike(wish: Wish, line: InvoiceLine) -> bool:
    """Equal in entity, reference, both dates and subscription; the amount is judged apart."""
    return (
        line.entity_type == wish.entity_type
        and (line.entity_id or None) == (wish.entity_id or None)
        and (wish.entity_type != "adhoc" or line.description.endswith(f"[{wish.reference}]"))
        and line.subscription_id in (None, wish.subscription_id)
        and line.date_from is not None
        and line.date_to is not None
        and int(line.date_from.timestamp()) == wish.date_from
        and int(line.date_to.timestamp()) == wish.date_to
    )


def judge(wish: Wish, lines: Sequence[InvoiceLine], taken: Collection[str], *, open_alike: int = 1) -> Verdict:
    """Decide what became of a charge.

    Args:
        wish: What was asked for.
        lines: All lines of the invoice now.
        taken: Line ids that stood before the send, or that other charges own.
        open_alike: How many open charges of this very signature the invoice waits for,
            this one included: as many equal lines are no double charge.
    """
    found = candidates(wish, lines, taken)
    right = [line for line in found if line.amount == wish.amount]
    if not found:
        return Absent()
    if len(found) > open_alike:
        return TooMany(tuple(line.id for line in found))
    if right:
        return Booked(right[0].id)
    return Wrong(found[0].id, found[0].amount)
