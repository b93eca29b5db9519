"""Charges that already stand at Chargebee when the ledger does not know the bill.

After a lost ledger, or a first run beside an older sender, the invoices tell
what was booked: those lines are taken over at their amount, never sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from meterbridge.rules.bill_lines import Charge, is_correction
from meterbridge.rules.keys import reference_on
from meterbridge.rules.records import BillCase, BillLine, Invoice, InvoiceLine, Key
from meterbridge.rules.standing import GONE
from meterbridge.rules.windows import inclusive_end

SECOND = timedelta(seconds=1)

Evidence = Callable[[InvoiceLine, Invoice, "_Search", "Target"], bool]


@dataclass(frozen=True, slots=True)
class Target:
    """One charge that could stand already: its key, its amount in minor units, its lines and dates."""

    key: Key
    charge: Charge
    amount: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """A standing invoice line that is this target's."""

    target: Target
    invoice: Invoice
    line: InvoiceLine


@dataclass(frozen=True, slots=True)
class Conflict:
    """Lines that stand but cannot be taken over without a person, as code and message."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, in which order of evidence; ``mark`` is that of the connection's references."""

    case: BillCase
    targets: Sequence[Target]
    mark: str
    evidence: Sequence[Evidence]


def adopt(case: BillCase, targets: Sequence[Target], mark: str = "") -> tuple[list[Adopted], list[Conflict]]:
    """Find the targets of one portion among the invoice lines at Chargebee.

    A line is a target's by m3ter's mapping, by our reference at the end of its
    description, or by equal charge item price, dates and subscription. Lines
    that the ledger gives to other bills are left alone. Of a bill whose lines the ledger
    is trusted to know only our reference tells, on an invoice that stands: one nobody owns was sent by no run of it.
    """
    evidence = (_is_referenced,) if case.known else (_is_mapped, _is_referenced, _is_equal)
    search = _Search(case, targets, mark, evidence)
    claims = [(invoice, line, _claimants(line, invoice, search)) for invoice, line in _lines(case)]
    living = [claim for claim in claims if claim[2] and claim[0].status not in GONE]
    adopted: list[Adopted] = []
    conflicts: list[Conflict] = []
    for signature in sorted(dict.fromkeys(claimants for _, _, claimants in living), key=len):
        lines = [(invoice, line) for invoice, line, claimants in living if claimants == signature]
        taken = {one.target.key for one in adopted}
        pairs, conflict = _pair(lines, [targets[index] for index in signature if targets[index].key not in taken])
        adopted += pairs
        conflicts += [conflict] if conflict else []
    taken = {one.target.key for one in adopted}
    if case.known:
        return adopted, conflicts
    voided = [
        (invoice, line)
        for invoice, line, claimants in claims
        if invoice.status in GONE and any(targets[index].key not in taken for index in claimants)
    ]
    if voided:
        conflicts.append(Conflict("MB-VOIDED", f"{_named(voided)} stood for this bill and was voided or deleted"))
    return adopted, conflicts or _mapped_nowhere(case, [target for target in targets if target.key not in taken])


def _mapped_nowhere(case: BillCase, targets: Sequence[Target]) -> list[Conflict]:
    """Targets that m3ter maps to an invoice line which is nowhere: charged once, so not to be charged again blindly."""
    lines = [line for target in targets for line in _own_lines(target) if line.id in case.mapped_invoice_lines]
    if not lines:
        return []
    named = ", ".join(f"bill line {line.id} to invoice line {case.mapped_invoice_lines[line.id]}" for line in lines)
    return [Conflict("MB-LINE-CHANGED", f"m3ter maps {named}, which stands on no invoice")]


def _lines(case: BillCase) -> list[tuple[Invoice, InvoiceLine]]:
    taken = case.owned_lines | {line.line_id for line in case.standing}
    return [(invoice, line) for invoice in case.invoices for line in invoice.lines if line.id not in taken]


def _claimants(line: InvoiceLine, invoice: Invoice, search: _Search) -> tuple[int, ...]:
    """Indexes of the targets that this line could be, by the strongest evidence there is."""
    if invoice.currency != search.case.bill.currency:
        return ()
    for evidence in search.evidence:
        found = tuple(index for index, target in enumerate(search.targets) if evidence(line, invoice, search, target))
        if found:
            return found
    return ()


def _is_mapped(line: InvoiceLine, _: Invoice, search: _Search, target: Target) -> bool:
    return any(search.case.mapped_invoice_lines.get(bill_line.id) == line.id for bill_line in _own_lines(target))


def _own_lines(target: Target) -> Sequence[BillLine]:
    """The bill lines that m3ter may map to the target's line; a correction borrows its lines from another charge."""
    return () if is_correction(target.charge.identity) else target.charge.lines


def _is_referenced(line: InvoiceLine, _: Invoice, search: _Search, target: Target) -> bool:
    return reference_on(line.description, target.key, search.mark) is not None


def _is_equal(line: InvoiceLine, invoice: Invoice, _: _Search, target: Target) -> bool:
    charge = target.charge
    return (
        charge.item_price_id is not None
        and line.entity_type == "charge_item_price"
        and line.entity_id == charge.item_price_id
        and (line.subscription_id or invoice.subscription_id) == charge.subscription_id
        and line.date_from is not None
        and line.date_to is not None
        and (line.date_from, line.date_to) == booked_dates(charge)
    )


def booked_dates(charge: Charge) -> tuple[datetime, datetime]:
    """The dates Chargebee books for a charge: whole seconds, the last one inclusive."""
    start = charge.start - timedelta(microseconds=charge.start.microsecond)
    last = inclusive_end(charge.end)
    last -= timedelta(microseconds=last.microsecond)
    return start, max(last, start)


def _pair(lines: list[tuple[Invoice, InvoiceLine]], targets: list[Target]) -> tuple[list[Adopted], Conflict | None]:
    """Pair lines with targets of one signature: a lone target takes its line, several only equal amounts."""
    if len(lines) > len(targets):
        message = f"{_named(lines)} stand where this bill has {len(targets)} such charge(s)"
        return [], Conflict("MB-DOUBLE-CHARGE", message)
    if len(targets) == 1:
        return [Adopted(targets[0], *lines[0])], None
    free = list(targets)
    pairs = []
    for invoice, line in lines:
        match = next((target for target in free if target.amount == line.amount), None)
        if match is None:
            message = f"{_named([(invoice, line)])} could be any of {len(targets)} charges of this bill"
            return [], Conflict("MB-INVOICE-AMBIGUOUS", message)
        free.remove(match)
        pairs.append(Adopted(match, invoice, line))
    return pairs, None


def _named(lines: Sequence[tuple[Invoice, InvoiceLine]]) -> str:
    return ", ".join(f"line {line.id} ({line.amount} minor units) of invoice {invoice.id}" for invoice, line in lines)
