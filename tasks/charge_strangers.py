"""Lines with a reference of ours that no row owns, seen by the strong read right before a charge's first write."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from connectors.chargebee.models import Invoice
from meterbridge.errors import RecordRefused
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.booked import is_alike
from meterbridge.rules.keys import REFERENCE, bare, connection_mark
from meterbridge.rules.records import InvoiceLine, Key
from meterbridge.rules.standing import is_unbilled
from meterbridge.rules.strangers import Known, Stranger, strangers
from tasks.charges import lines_of, wish
from tasks.services import Services


def strangers_on(work: Services, invoice: Invoice) -> list[Stranger]:
    """Judge the pending invoice's lines; an invoice whose lines are all owned costs one read of the ledger."""
    with work.ledger.read() as rx:
        held = mappings.by_state(rx, "charge", "invoice_id", invoice.id)
        own = {one.remote_id for one in held if one.active}
        loose = [line for line in lines_of(invoice) if line.id not in own and REFERENCE.search(line.description)]
        if not loose:
            return []
        settings = work.settings
        mark = connection_mark(settings.connection, settings.chargebee_site, settings.m3ter_org_id)
        return strangers(loose, _known(rx, invoice, mark))


def _known(rx: Reader, invoice: Invoice, mark: str) -> Known:
    """What stands anywhere, and what is asked for or unanswered on this invoice."""
    owned: dict[str, str] = {}
    unanswered: set[str] = set()
    for one in mappings.all(rx, "charge", active_only=True):
        text = str(one.state.get("reference", ""))
        if is_unbilled(str(one.state["invoice_id"])):
            unanswered.add(text)  # an invoice that takes it up gives the line another id; the next run follows it
        elif one.remote_id and text:
            owned[one.remote_id] = text
    claims: dict[str, list[Key]] = defaultdict(list)
    for row in intents.open_rows(rx, ("charge", "charge_set")):
        for key, text in _asked(row):
            if row.state in ("sending", "unknown"):
                unanswered.add(text)
            elif row.scope == f"invoice:{invoice.id}":
                claims[text].append(key)
    return Known(owned, claims, mark, unanswered)


def _asked(row: IntentRow) -> list[tuple[Key, str]]:
    if row.kind == "charge":
        return [(row.key, str(row.payload.get("reference", "")))]
    return [(tuple(line["key"]), str(line["reference"])) for line in row.payload["lines"]]


def line_to_take_over(row: IntentRow, found: list[Stranger]) -> InvoiceLine | None:
    """The line that is the row's charge already; None where it is to be sent.

    Raises:
        RecordRefused: MB-DOUBLE-CHARGE, a line stands twice; MB-INVOICE-AMBIGUOUS, nobody knows whose it is: the
            invoice takes nothing more until a person has looked.
    """
    invoice_id = row.payload["invoice_id"]
    for one in found:
        words = f"invoice {invoice_id}: line {one.line.id} [{one.reference}]"
        if one.verdict == "double":
            raise RecordRefused("MB-DOUBLE-CHARGE", f"{words} is a second one of a charge that stands")
        ours = one.claimants == (row.key,)
        if one.verdict == "hold" or (ours and not _is_the_charge(row, one.line)):
            remedy = "Find out who made the line; delete it, or settle its amount by hand, then retry."
            raise RecordRefused("MB-INVOICE-AMBIGUOUS", f"{words} is in no row of the ledger", remedy=remedy)
    mine = [
        one.line for one in found if one.claimants == (row.key,) and bare(row.payload["reference"]) == one.reference
    ]
    return mine[0] if mine else None


def _is_the_charge(row: IntentRow, line: InvoiceLine) -> bool:
    """True if the line is equal to what would be sent, the reference's mark apart."""
    asked = wish(row)
    same = replace(line, description=REFERENCE.sub(f"[{asked.reference}]", line.description))
    return line.amount == asked.amount and is_alike(asked, same)
