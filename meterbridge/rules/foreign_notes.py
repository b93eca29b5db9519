"""Credit notes that finance gave by hand on an invoice of ours: what they took back is not taken back once more.

Chargebee makes a credit note of every refund of an invoice, too, so that one rule sees both. Nobody but finance knows
what its note was for. So a surplus on such an invoice lowers no later charge and becomes no credit of ours.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time

from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.charge_text import month_of
from meterbridge.rules.money import amount_text
from meterbridge.rules.records import BillCase, Invoice, Quarantined
from meterbridge.rules.standing import Stand, paid_by


def with_surplus(
    aside: Quarantined, surplus: int, stand: Stand, *, case: BillCase, policy: BillPolicy | None = None
) -> Quarantined:
    """Say what of a difference may lower later charges: all that stands too much for good, unless finance was there.

    The amount stays the bill's difference, which a person dismisses whole; the words tell what the notes leave of it.

    Args:
        surplus: Minor units, > 0 where something is too much.
        policy: Where it lets us give credit notes, one is looked for by its reference first, so that the note of a
            ledger that was lost, which has just this amount, is not taken for finance's.
    """
    if surplus <= 0 or sum(stand.fixed.values()) <= 0:
        return aside
    noted = _noted(case, stand)
    given = sum(note.amount for invoice in noted for note in invoice.foreign_notes)
    looked_for = policy is not None and policy.negative_delta == "credit_note"
    if not noted or (looked_for and not case.known and given == surplus):
        bill = case.bill
        month = month_of(bill.start or datetime.combine(bill.bill_date, time(tzinfo=UTC)))
        return replace(aside, surplus=surplus, payers=paid_by(case, stand), month=month)
    named = ", ".join(
        f"{note.id} of {amount_text(note.amount, aside.currency)} on invoice {invoice.id}"
        for invoice in noted
        for note in invoice.foreign_notes
    )
    left = amount_text(max(0, surplus - given), aside.currency)
    words = f"credit note {named} was not made by us, so nothing is netted; beyond it {left} are left"
    return replace(aside, message=f"{aside.message}; {words}")


def _noted(case: BillCase, stand: Stand) -> list[Invoice]:
    """Invoices that hold the portion's lines for good, as far as they have such notes."""
    ids = {one.line.invoice_id for one in stand.stood if one.place in ("fixed", "changed") and one.line.line_id}
    return [invoice for invoice in case.invoices if invoice.id in ids and invoice.foreign_notes]
