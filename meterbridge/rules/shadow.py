"""What we would charge beside what is on the invoices already, whoever put it there: line by line, nothing decided.

Every charge looks for a line of its own, by the strongest evidence first: m3ter's
mapping, our reference, the charge item price with its dates, then dates, then the
amount. A line is given to one charge only, of whichever bill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from meterbridge.rules.adoption import booked_dates
from meterbridge.rules.bill_lines import Charge
from meterbridge.rules.charge_text import name_charge
from meterbridge.rules.keys import REFERENCE, reference
from meterbridge.rules.portions import Portion, Wanted
from meterbridge.rules.records import BillCase, Invoice, InvoiceLine
from meterbridge.rules.standing import GONE

Verdict = Literal["equal", "different", "missing", "extra"]

NEAR = timedelta(days=1)
"""Others book a period's end as its last second, or as the next one's first."""

CHARGED = ("adhoc", "charge_item_price", "addon_item_price", "charge", "addon")
"""Entity types under which usage is put on an invoice; a subscription's own plan is none of ours."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One charge and one line, or one of the two alone; amounts in minor units. ``evidence`` paired them."""

    bill_id: str
    subscription_id: str
    currency: str
    verdict: Verdict
    what: str
    wanted: int | None
    found: int | None
    invoice_id: str = ""
    line_id: str = ""
    evidence: str = ""


_Line = tuple[Invoice, InvoiceLine]


@dataclass(slots=True)
class _Ask:
    """A charge that looks for its line among those of its customer."""

    case: BillCase
    wanted: Wanted
    lines: Sequence[_Line]
    found: _Line | None = None
    evidence: str = ""

    @property
    def charge(self) -> Charge:
        return self.wanted.charge


def compare(bills: Sequence[tuple[BillCase, Sequence[Portion]]]) -> list[Compared]:
    """Compare every bill's charges with the lines on its customer's invoices; by bill, in the bill's order."""
    beside = {case.bill.id: list(_lines(case)) for case, _ in bills}
    asks = [
        _Ask(case, one, beside[case.bill.id])
        for case, portions in bills
        for portion in portions
        for one in portion.wanted
        if one.amount > 0 and case.bill.status == "APPROVED"
    ]
    free = {line.id for lines in beside.values() for _, line in lines}
    for evidence, fits in EVIDENCE:
        for same_amount in (True, False):
            for ask in asks:
                if ask.found is None:
                    _pair(ask, free, evidence, fits, same_amount=same_amount)
    rows = [_row(ask) for ask in asks]
    for case, portions in bills:
        rows += _extra(case, portions, beside[case.bill.id], free)
    return sorted(rows, key=lambda row: row.bill_id)


def _lines(case: BillCase) -> Iterator[_Line]:
    for invoice in case.invoices:
        if invoice.status not in GONE and invoice.currency == case.bill.currency:
            yield from ((invoice, line) for line in invoice.lines if line.entity_type in CHARGED)


Fits = Callable[[_Ask, InvoiceLine], bool]


def _pair(ask: _Ask, free: set[str], evidence: str, fits: Fits, *, same_amount: bool) -> None:
    if evidence in BY_AMOUNT and not same_amount:
        return
    for invoice, line in ask.lines:
        if line.id in free and (line.amount == ask.wanted.amount) is same_amount and fits(ask, line):
            ask.found, ask.evidence = (invoice, line), evidence
            free.remove(line.id)
            return


def _is_mapped(ask: _Ask, line: InvoiceLine) -> bool:
    return any(ask.case.mapped_invoice_lines.get(one.id) == line.id for one in ask.charge.lines)


def _is_referenced(ask: _Ask, line: InvoiceLine) -> bool:
    found = REFERENCE.search(line.description)
    return found is not None and found[1] == reference(ask.wanted.key)


def _has_item_and_dates(ask: _Ask, line: InvoiceLine) -> bool:
    item = ask.charge.item_price_id
    return item is not None and line.entity_id == item and _has_dates(ask, line)


def _has_dates(ask: _Ask, line: InvoiceLine) -> bool:
    first, last = booked_dates(ask.charge)
    return _is_theirs(ask, line) and _near(line.date_from, first) and _near(line.date_to, last)


def _lies_within(ask: _Ask, line: InvoiceLine) -> bool:
    first, last = booked_dates(ask.charge)
    return _is_theirs(ask, line) and _within(line, first, last)


def _is_theirs(ask: _Ask, line: InvoiceLine) -> bool:
    return line.subscription_id in (None, ask.charge.subscription_id)


def _near(one: datetime | None, other: datetime) -> bool:
    return one is not None and abs(one - other) <= NEAR


def _within(line: InvoiceLine, first: datetime, last: datetime) -> bool:
    if line.date_from is None or line.date_to is None:
        return False
    return first - NEAR <= line.date_from and line.date_to <= last + NEAR


EVIDENCE: tuple[tuple[str, Fits], ...] = (
    ("m3ter's mapping", _is_mapped),
    ("our reference", _is_referenced),
    ("charge item and dates", _has_item_and_dates),
    ("dates and amount", _has_dates),
    ("amount within the period", _lies_within),
    ("dates alone", _has_dates),
)
BY_AMOUNT = ("dates and amount", "amount within the period")
"""Evidence that counts with the same amount only."""


def _row(ask: _Ask) -> Compared:
    bill, charge = ask.case.bill, ask.charge
    verdict: Verdict = "missing"
    if ask.found is not None:
        verdict = "equal" if ask.found[1].amount == ask.wanted.amount else "different"
    return Compared(
        bill.id,
        charge.subscription_id,
        bill.currency,
        verdict,
        name_charge(charge),
        ask.wanted.amount,
        None if ask.found is None else ask.found[1].amount,
        "" if ask.found is None else ask.found[0].id,
        "" if ask.found is None else ask.found[1].id,
        ask.evidence,
    )


def _extra(case: BillCase, portions: Iterable[Portion], lines: Iterable[_Line], free: set[str]) -> Iterator[Compared]:
    """Lines in the bill's service period, of its subscriptions, that no charge of ours answers to."""
    periods: dict[str, tuple[datetime, datetime]] = {}
    for portion in portions:
        for one in portion.wanted:
            first, last = booked_dates(one.charge)
            known = periods.get(portion.subscription_id, (first, last))
            periods[portion.subscription_id] = (min(first, known[0]), max(last, known[1]))
    for invoice, line in lines:
        period = periods.get(line.subscription_id or "")
        if line.id in free and period is not None and _within(line, *period):
            free.remove(line.id)
            yield Compared(
                case.bill.id,
                line.subscription_id or "",
                case.bill.currency,
                "extra",
                f"{line.entity_type} {line.entity_id or ''}".strip(),
                None,
                line.amount,
                invoice.id,
                line.id,
            )
