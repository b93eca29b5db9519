"""Which final invoice a draft became: Chargebee gives it another id as it closes, and perhaps its lines, too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from meterbridge.rules.booked import Wish, is_alike
from meterbridge.rules.records import Invoice, Key
from meterbridge.rules.standing import UNBILLED


@dataclass(frozen=True, slots=True)
class OurLine:
    """A line of ours as it stood on the draft; ``line_id`` empty while its booking is unproven."""

    key: Key
    line_id: str
    wish: Wish


@dataclass(frozen=True, slots=True)
class GoneDraft:
    """A draft that is not there any more; ``date`` is its invoice date; None where nobody knows."""

    id: str
    currency: str | None
    date: datetime | None
    lines: tuple[OurLine, ...]


@dataclass(frozen=True, slots=True)
class Final:
    """The invoice that the draft became, and where each of our lines is on it; one that is missing is left out."""

    invoice: Invoice
    line_ids: dict[Key, str]


@dataclass(frozen=True, slots=True)
class Several:
    """Invoices that fit equally."""

    invoices: tuple[Invoice, ...]


def find_final(
    draft: GoneDraft, invoices: Sequence[Invoice], *, known: Collection[str] = (), taken: Collection[str] = ()
) -> Final | Several | None:
    """Find the draft's final invoice: by line ids, else by our lines' looks, else by subscription and date.

    Args:
        invoices: Those of the draft's customer, in any order.
        known: Invoices that the ledger has lines on; they are other drafts' finals.
        taken: Invoice lines that the ledger gives to charges elsewhere.
    """
    of_its_kind = [one for one in invoices if one.status != "pending" and draft.currency in (None, one.currency)]
    closed = [one for one in of_its_kind if one.status != "deleted"]
    same = [one for one in closed if one.id not in known and one.date == draft.date and _has_subscription(one, draft)]
    found = _by_lines(draft, closed, taken) or (_one(same, [{} for _ in same]) if same else None)
    # It may have been deleted since: then our lines tell, and nothing less.
    return found or _by_lines(draft, [one for one in of_its_kind if one.status == "deleted"], taken)


def _by_lines(draft: GoneDraft, invoices: Sequence[Invoice], taken: Collection[str]) -> Final | Several | None:
    own_ids = {line.line_id for line in draft.lines if line.line_id}
    by_id = [one for one in invoices if own_ids & {line.id for line in one.lines}]
    if by_id:
        return _one(by_id, [_by_looks(draft, one, taken) for one in by_id])
    looks = [(one, _by_looks(draft, one, taken)) for one in invoices]
    most = max((len(pairs) for _, pairs in looks), default=0)
    if not most:
        return None
    best = [(one, pairs) for one, pairs in looks if len(pairs) == most]
    dated = [(one, pairs) for one, pairs in best if one.date == draft.date] or best
    return _one([one for one, _ in dated], [pairs for _, pairs in dated])


def find_billed(wish: Wish, invoices: Iterable[Invoice], taken: Collection[str]) -> tuple[Invoice, str] | None:
    """Find the invoice line that an unbilled charge became: by its reference, else by its looks; it kept its amount.

    Whose invoice it is tells nothing, as another customer may pay; whose subscription it is for does.

    Args:
        invoices: All that are in sight; those that were voided since count, too: that is where it went.
        taken: Invoice lines that the ledger gives to other charges.
    """
    fitting = [
        (invoice, line)
        for invoice in invoices
        if invoice.status != UNBILLED
        for line in invoice.lines
        if line.id not in taken and line.amount == wish.amount and is_alike(wish, line)
        if wish.subscription_id in (line.subscription_id, invoice.subscription_id)
    ]
    named = [one for one in fitting if one[1].description.endswith(f"[{wish.reference}]")] or fitting
    return next(((invoice, line.id) for invoice, line in named), None)


def _one(invoices: Sequence[Invoice], pairs: Sequence[dict[Key, str]]) -> Final | Several:
    return Final(invoices[0], pairs[0]) if len(invoices) == 1 else Several(tuple(invoices))


def _by_id(draft: GoneDraft, invoice: Invoice) -> dict[Key, str]:
    there = {line.id for line in invoice.lines}
    return {line.key: line.line_id for line in draft.lines if line.line_id in there}


def _by_looks(draft: GoneDraft, invoice: Invoice, taken: Collection[str]) -> dict[Key, str]:
    """Pair our lines with equal ones, each with one of its own: those that kept their ids first."""
    pairs = _by_id(draft, invoice)
    used = {*taken, *pairs.values()}
    for ours in draft.lines:
        if ours.key in pairs:
            continue
        fitting = (
            line
            for line in invoice.lines
            if line.id not in used and line.amount == ours.wish.amount and is_alike(ours.wish, line)
        )
        if found := next(fitting, None):
            pairs[ours.key] = found.id
            used.add(found.id)
    return pairs


def _has_subscription(invoice: Invoice, draft: GoneDraft) -> bool:
    ours = {line.wish.subscription_id for line in draft.lines}
    return invoice.subscription_id in ours or any(line.subscription_id in ours for line in invoice.lines)
