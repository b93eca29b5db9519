"""Charges on pending invoices: confirmed right before, one write in flight per invoice, every answer checked."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from connectors.chargebee.models import Invoice
from connectors.transport import Answer
from meterbridge.errors import OutcomeUnknown, RecordRefused
from meterbridge.ledger import facts, intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.booked import Absent, Booked, TooMany, Wrong, judge
from meterbridge.rules.records import InvoiceLine
from meterbridge.rules.standing import is_unbilled
from meterbridge.rules.strangers import Stranger
from tasks.batch import Batch, in_flight, stored
from tasks.charge_finals import on_final, taken_on_final
from tasks.charge_strangers import line_to_take_over, strangers_on
from tasks.charges import baseline, item_price, lines_of, render, wish
from tasks.services import Services
from tasks.unbilled import in_place_of_invoice
from tasks.write_protocol import Done, Later, Left, Send, Step, Write
from tasks.write_protocol import Wrong as Incorrect
from tasks.write_removals import removal_of, take_off

logger = logging.getLogger(__name__)

CLOSED = (404, 409)
"""How Chargebee answers a write to a draft that has closed meanwhile, among other things: the draft itself tells."""


@dataclass(slots=True)
class Stops:
    """What must not be booked any more: item prices that were booked wrongly in this run, and invoices, by scope,
    that have a line too many. What earlier batches and runs had to stop is known from the ledger.
    """

    batch: Batch
    items: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        with self.batch.work.ledger.read() as rx:
            for row in intents.refused_rows(rx, ("charge",)):
                if row.error_code == "MB-DOUBLE-CHARGE":
                    self.scopes.add(row.scope)
                if row.error_code == "MB-CHARGE-WRONG" and row.run_id == self.batch.run.run_id:
                    self.items |= {item_price(row) or ""} - {""}

    def booked_wrongly(self, price: str | None) -> None:
        """Book nothing of the item price any more."""
        with self.batch.lock:
            self.items |= {price or ""} - {""}


@dataclass(frozen=True, slots=True)
class Seen:
    """An invoice's lines as they stand, and what of them is not this charge's.

    ``taken`` stood before or have another owner; ``alike``: open charges of this
    signature, as many new lines are no double charge; ``pending``: lines can still go.
    """

    lines: Sequence[InvoiceLine]
    taken: Collection[str]
    alike: int
    pending: bool


class Charges(Write):
    """See the module. What is known of an invoice is the lane's own: nobody else writes to its scope meanwhile."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._work = batch.work
        self._stops = Stops(batch)
        self._invoices: dict[str, Invoice | None] = {}
        self._strangers: dict[str, list[Stranger]] = {}
        self._verified: set[str] = set()

    def lanes(self, rows: Sequence[IntentRow]) -> tuple[list[list[IntentRow]], list[list[IntentRow]]]:
        """A lane for each invoice, what was sent before first. Item prices used for the first time go first and
        alone, one invoice an item price: one checked line before the rest.
        """
        by_invoice: dict[str, list[IntentRow]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: (row.state == "ready", row.id)):
            by_invoice[row.scope].append(row)
        prices = {price for row in rows if (price := item_price(row))}
        with self._work.ledger.read() as rx:
            unseen = {price for price in prices if facts.get(rx, f"canary:{price}") is None}
        alone: list[list[IntentRow]] = []
        beside: list[list[IntentRow]] = []
        for group in sorted(by_invoice.values(), key=lambda group: min(row.id for row in group)):
            new = {price for row in group if (price := item_price(row)) in unseen}
            (alone if new else beside).append(group)
            unseen -= new
        return alone, beside

    def look(self, row: IntentRow) -> Step:
        """What stands of the charge, from a strong read of its invoice; and whether it may be sent now."""
        invoice = self._invoice(row)
        if row.action == "adopt":
            return self._adopt(row, invoice)
        if row.action == "net":  # another bill's surplus uses it up whole: the ledger knows it, no line is written
            return self._stands(row, "", written=False)
        if row.state != "ready":
            return self._probe(row, invoice)
        if row.scope in self._stops.scopes:
            return Left(f"MB-DOUBLE-CHARGE: invoice {row.payload['invoice_id']} has lines that must be cleared first")
        if invoice is None or invoice.status != "pending":
            raise closed(row)
        if item_price(row) in self._stops.items:
            raise RecordRefused(
                "MB-CHARGE-WRONG", f"{item_price(row)} was booked wrongly on another invoice in this run"
            )
        found = line_to_take_over(row, self._strangers_on(row, invoice))
        if found is not None:
            return self._stands(row, found.id, written=False)
        return Send(render(row), baseline(lines_of(invoice)))

    def read(self, row: IntentRow, sent: Send, answer: Answer) -> Done | Incorrect:
        """Judge what the answer shows; a replayed one tells what stood then, so the invoice is read again."""
        del sent
        before = self._invoices.get(row.scope)
        invoice = self._as_it_stands(row, answer)
        self._invoices[row.scope] = invoice
        # What a replay shows may have been there since the first try, so what stood before that one counts.
        if answer.replayed or before is None:
            stood = set(row.baseline.get("line_ids", ()))
        else:
            stood = {line.id for line in lines_of(before)}
        alike = self._alike(row) if answer.replayed else 1
        seen = Seen(lines_of(invoice), stood | self._owned(row), alike, pending=invoice.status == "pending")
        return self._judged(row, seen)

    def failed(self, row: IntentRow, sent: Send, failure: RecordRefused | OutcomeUnknown) -> Step:
        """A draft that closes is no fault of the charge; only a strong read tells that it has closed."""
        del sent
        self._invoices.pop(row.scope, None)
        if isinstance(failure, RecordRefused) and failure.status in CLOSED:
            invoice = self._work.chargebee.invoice_or_none(row.payload["invoice_id"])
            if invoice is None or invoice.id != row.payload["invoice_id"] or invoice.status != "pending":
                raise closed(row) from failure
        raise failure

    def set_aside(self, tx: Writer, row: IntentRow, refusal: RecordRefused) -> RecordRefused:
        """An invoice with a line too many takes nothing more."""
        del tx
        if refusal.code == "MB-DOUBLE-CHARGE":
            with self._batch.lock:
                self._stops.scopes.add(row.scope)
        return refusal

    # --- the invoice

    def _invoice(self, row: IntentRow) -> Invoice | None:
        if row.scope not in self._invoices:
            self._invoices[row.scope] = as_it_is(self._work, row.payload["invoice_id"])
        return self._invoices[row.scope]

    def _strangers_on(self, row: IntentRow, invoice: Invoice) -> list[Stranger]:
        """Looked for once, before the first write to the invoice: what comes later is what this lane sends."""
        if row.scope not in self._strangers:
            self._strangers[row.scope] = strangers_on(self._work, invoice)
        return self._strangers[row.scope]

    def _as_it_stands(self, row: IntentRow, answer: Answer) -> Invoice:
        chargebee = self._work.chargebee
        if not answer.replayed:
            try:
                return chargebee.parse_invoice(answer)
            except OutcomeUnknown:
                logger.warning("an answer keeps lines back", extra={"key": str(row.key)})
        fresh = chargebee.invoice_or_none(row.payload["invoice_id"])
        return fresh if fresh is not None else chargebee.parse_invoice(answer)

    def _owned(self, row: IntentRow) -> set[str]:
        """Lines of the invoice that other charges own, by the ledger."""
        with self._work.ledger.read() as rx:
            found = mappings.by_state(rx, "charge", "invoice_id", row.payload["invoice_id"])
            return {m.remote_id for m in found if m.active and m.key != row.key}

    def _alike(self, row: IntentRow) -> int:
        """Open charges of this very signature on the invoice, the row included."""
        group = in_flight(one for one in self._batch.rows if one.scope == row.scope)
        return max(1, sum(1 for other in group if wish(other) == wish(row)))

    # --- what became of a charge

    def _probe(self, row: IntentRow, invoice: Invoice | None) -> Step:
        """A charge whose answer never came: find out, and only then send again, under its own old key."""
        if invoice is not None and self._batch.knows_key(row):
            # A replay if it landed, and the first execution if it did not.
            return Send(stored(row, render(row)), again=True)
        if invoice is None:
            found = on_final(self._work, row)
            if found is None:  # it may still come into sight: neither sent again nor given up
                return Later(f"draft {row.payload['invoice_id']} is closing, its final invoice is not in sight")
            row, seen = found.row, Seen(found.lines, found.taken, self._alike(row), pending=False)
        else:
            lines, pending = lines_of(invoice), invoice.status == "pending"
            before = set(row.baseline.get("line_ids", ())) | self._owned(row)
            taken = before if pending else taken_on_final(row, lines, before)
            seen = Seen(lines, taken, self._alike(row), pending=pending)
        if not isinstance(self._verdict(row, seen), Absent):
            return self._judged(row, seen)
        if not seen.pending:
            raise closed(row)
        return Send(stored(row, render(row)))

    def _verdict(self, row: IntentRow, seen: Seen) -> Booked | Wrong | Absent | TooMany:
        return judge(wish(row), seen.lines, seen.taken, open_alike=seen.alike)

    def _judged(self, row: IntentRow, seen: Seen) -> Done | Incorrect:
        invoice_id = row.payload["invoice_id"]
        match self._verdict(row, seen):
            case Booked(line_id):
                return self._stands(row, line_id, written=True)
            case Wrong(line_id, amount):
                self._stops.booked_wrongly(item_price(row))
                gone = "was taken off again" if seen.pending else "stands on the closed invoice"
                words = f"booked {amount} instead of {row.payload['amount']}; line {line_id} {gone}"
                refusal = RecordRefused("MB-CHARGE-WRONG", f"invoice {invoice_id}: {words}")
                return Incorrect(refusal, lambda: self._take_off(row, line_id) if seen.pending else None)
            case TooMany(line_ids):
                words = f"invoice {invoice_id}: lines {', '.join(line_ids)} are one charge"
                raise RecordRefused("MB-DOUBLE-CHARGE", words)
            case Absent():
                words = f"invoice {invoice_id}: Chargebee accepted the charge, but no line of it shows"
                raise RecordRefused("MB-CHARGE-WRONG", words)

    def _take_off(self, row: IntentRow, line_id: str) -> None:
        self._invoices.pop(row.scope, None)
        take_off(self._batch, removal_of(row.key, row.payload["invoice_id"], line_id, row.payload["bill_id"]))

    def _adopt(self, row: IntentRow, invoice: Invoice | None) -> Done:
        line_id = row.payload["line_id"]
        if line_id and (invoice is None or not any(line.id == line_id for line in invoice.line_items)):
            where = f"no longer on invoice {row.payload['invoice_id']}"
            raise RecordRefused("MB-LINE-CHANGED", f"line {line_id} is {where}")
        return self._stands(row, line_id, written=False)

    def _stands(self, row: IntentRow, line_id: str, *, written: bool) -> Done:
        return Done(lambda tx: self._close(tx, row, line_id, written=written), written=written)

    def _close(self, tx: Writer, row: IntentRow, line_id: str, *, written: bool) -> bool:
        """The charge stands as this line: close the intent and remember the line."""
        stands_on, run_id = row.payload["invoice_id"], self._batch.run.run_id
        mapping: mappings.Mapping | None = mappings.Mapping(
            kind="charge",
            key=row.key,
            remote_id=line_id,
            fingerprint=row.fingerprint,
            scope=stands_on,
            state={**row.wanted, "line_id": line_id, "invoice_id": stands_on},
            active=True,
            source_version=row.source_version,
            run_id=run_id,
        )
        known = mappings.get(tx, "charge", row.key)
        if row.action == "adopt" and known is not None and known.active and known.remote_id == line_id:
            mapping = None  # another run sent it meanwhile: it was not found, but is ours
        if not intents.applied(tx, row.id, run_id, {"line_id": line_id, "written": written}, mapping=mapping):
            return False
        price = item_price(row)
        if price and price not in self._verified:
            facts.put(tx, f"canary:{price}", "verified")
            self._verified.add(price)
        return True


def as_it_is(work: Services, invoice_id: str) -> Invoice | None:
    """The invoice, read strongly; for what is to be taken over off the invoices, a list has to do.

    None also for a charge that was lowered to nothing: it stands on no invoice.
    """
    if not invoice_id:
        return None
    return (
        in_place_of_invoice(work, invoice_id) if is_unbilled(invoice_id) else work.chargebee.invoice_or_none(invoice_id)
    )


def closed(row: IntentRow) -> RecordRefused:
    """The refusal of a write to a draft that is none any more."""
    message = f"invoice {row.payload['invoice_id']} is no longer pending"
    return RecordRefused("MB-INVOICE-CLOSED", message, key=str(row.key))
