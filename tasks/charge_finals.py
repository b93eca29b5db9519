"""A charge whose answer never came, on a draft that has closed meanwhile: did it land, and as which line?

Line ids may be new on the final invoice, so what stood before the send is told by
its looks: candidates are the lines alike, less those that stood before, less those
that other charges own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from meterbridge.errors import RecordRefused
from meterbridge.ledger import mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.rules.booked import is_alike
from meterbridge.rules.records import InvoiceLine
from tasks.charges import lines_of, signature, wish
from tasks.follow_invoices import TRANSIT_SECONDS
from tasks.services import Services


@dataclass(frozen=True, slots=True)
class OnFinal:
    """The final invoice's lines, those that cannot be the row's, and the row as it stands there."""

    row: IntentRow
    lines: list[InvoiceLine]
    taken: set[str]


def on_final(work: Services, row: IntentRow) -> OnFinal | None:
    """Look at the invoice that the row's draft became; None while it is not in sight.

    Raises:
        RecordRefused: MB-DRAFT-LOST, when it has not come into sight for a day.
    """
    draft = row.payload["invoice_id"]
    with work.ledger.read() as rx:
        known = mappings.get(rx, "invoice", (draft,))
        final = known.remote_id if known else None
        charges = mappings.by_scope(rx, "charge", final) if final else []
        owned = {one.remote_id for one in charges if one.active and one.key != row.key}
    invoice = work.chargebee.invoice_or_none(final) if final else None
    if invoice is None:
        if work.clock.epoch() - (row.attempt_started_at or 0) >= TRANSIT_SECONDS:
            raise RecordRefused("MB-DRAFT-LOST", f"draft {draft} is gone while a charge was under way")
        return None
    lines = lines_of(invoice)
    here = {"invoice_id": invoice.id}
    moved = replace(
        row, payload={**row.payload, **here}, wanted={**row.wanted, **here, "invoice_status": invoice.status}
    )
    return OnFinal(moved, lines, taken_on_final(row, lines, owned))


def taken_on_final(row: IntentRow, lines: Sequence[InvoiceLine], owned: Collection[str]) -> set[str]:
    """Lines of a final invoice that stood before the row was sent, or that other charges own."""
    taken = {*owned, *row.baseline.get("line_ids", ())}
    before = row.baseline.get("signatures", {})
    alike = [line for line in lines if is_alike(wish(row), line)]
    stood = sum(before.get(name, 0) for name in {signature(line) for line in alike})
    named = sum(line.id in taken for line in alike)
    renewed = [line.id for line in alike if line.id not in taken and signature(line) in before]
    return taken | set(renewed[: max(0, stood - named)])
