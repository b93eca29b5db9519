"""Portions that go out in one call: an invoice of their own, or unbilled charges. Looked for before any second send.

What the call makes has no id until it is answered. While Chargebee surely knows our
key the same request is a replay; later two looks, apart from each other, must show
nothing before it is sent again, under its own old key.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.chargebee import requests
from connectors.chargebee.encoding import in_list
from connectors.chargebee.models import Invoice, UnbilledCharge
from connectors.records import read_record, read_written
from connectors.transport import Answer, Request
from meterbridge.errors import BrokenInvariant, OutcomeUnknown, RecordRefused
from meterbridge.ledger import facts, intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Reader, Writer
from meterbridge.rules.booked import Wish
from meterbridge.rules.charge_mappings import Held, Names, mapping_intents
from meterbridge.rules.charge_sets import Paired, is_named, pair
from meterbridge.rules.standing import UNBILLED
from tasks.batch import Batch, stored
from tasks.charges import lines_of
from tasks.services import Services
from tasks.unbilled import in_place_of_invoices, living
from tasks.write_charges import Stops
from tasks.write_protocol import Done, Later, Send, Step, Write, Wrong
from tasks.write_removals import removal_of, take_off

LISTS_LAG_SECONDS = 86_400
"""How much earlier than the first send an invoice may be dated and still be what it made."""

PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Landed:
    """Where the lines of a set are: an invoice, or the subscription's unbilled charges in an invoice's form."""

    invoice: Invoice
    paired: Paired


def wishes(payload: Mapping[str, Any]) -> list[Wish]:
    """The lines that a set asks for, in its order."""
    return [
        Wish(
            entity_type=line["state"]["entity_type"],
            entity_id=line["state"]["entity_id"],
            reference=line["reference"],
            date_from=line["date_from"],
            date_to=line["date_to"],
            subscription_id=payload["subscription_id"],
            amount=line["amount"],
        )
        for line in payload["lines"]
    ]


class ChargeSets(Write):
    """See the module."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._work = batch.work
        self._stops = Stops(batch)

    def look(self, row: IntentRow) -> Step:
        """A call whose answer never came is found out about, and only then sent again."""
        if row.state == "ready":
            stopped = {line.get("item_price_id") for line in row.payload["lines"]} & self._stops.items
            if stopped:
                raise RecordRefused("MB-CHARGE-WRONG", f"{stopped.pop()} was booked wrongly before in this run")
            return Send(render(row.payload), {"line_ids": waiting_ids(self._work, row)})
        request = stored(row, render(row.payload))
        if self._batch.knows_key(row):
            return Send(request, again=True)
        landed = look(self._work, row)
        if landed is not None:
            return self._booked(row, landed)
        return Send(request) if self._batch.looked_before(row) else Later("not in sight; looked for again later")

    def read(self, row: IntentRow, sent: Send, answer: Answer) -> Done | Wrong:
        """The lines that the answer shows, each paired with what was asked for."""
        del sent
        return self._booked(row, answered(self._work, row, answer, row.baseline.get("line_ids", ())))

    def _booked(self, row: IntentRow, landed: Landed) -> Done | Wrong:
        """Write down what stands of the set, line by line, and take wrong lines off again.

        A line that is missing although the call landed was taken off by a person: it is
        written down as such, so that the next run asks about it instead of sending it.
        """
        invoice, at = landed.invoice, self._work.clock.epoch()
        refusal = _refusal(row, landed)
        if refusal is not None:
            return Wrong(refusal, lambda: self._correct(row, landed, at))
        ours = {"invoice_id": invoice.id, "written": True}

        def close(tx: Writer) -> bool:
            if not intents.applied(tx, row.id, self._batch.run.run_id, ours, mapping=None):
                return False
            for line in row.payload["lines"]:
                if line.get("item_price_id"):
                    facts.put(tx, f"canary:{line['item_price_id']}", "verified")
            self._write_down(tx, row, landed, at)
            return True

        return Done(close, note=_note(row, invoice))

    def _correct(self, row: IntentRow, landed: Landed, at: float) -> None:
        """What is right stands in the ledger before a wrong line goes."""
        with self._work.ledger.write() as tx:
            self._write_down(tx, row, landed, at)
            tx.commit()
        invoice = landed.invoice
        for index, wrong in landed.paired.wrong.items():
            line = row.payload["lines"][index]
            if invoice.status in (PENDING, UNBILLED):
                self._stops.booked_wrongly(line.get("item_price_id"))
                take_off(self._batch, removal_of(tuple(line["key"]), invoice.id, wrong.id, row.payload["bill_id"]))

    def _write_down(self, tx: Writer, row: IntentRow, landed: Landed, at: float) -> None:
        invoice, paired = landed.invoice, landed.paired
        standing = [
            _standing(row, line, invoice, paired.booked.get(index, f"missing:{line['reference']}"), at)
            for index, line in enumerate(row.payload["lines"])
            if index not in paired.wrong
        ]
        standing = [one for one in standing if not _known(tx, one)]
        mappings.put(tx, *standing)
        self._follow_up(tx, row, invoice, standing)

    def _follow_up(self, tx: Writer, row: IntentRow, invoice: Invoice, standing: Sequence[mappings.Mapping]) -> None:
        """Write down m3ter's mappings of the new invoice: only now has it an id. What is unbilled gets them later."""
        if invoice.status == UNBILLED or not standing:
            return
        held = [Held(one.key, invoice.id, one.remote_id, tuple(one.state["bill_line_ids"])) for one in standing]
        names = Names.of(json.loads(facts.get(tx, "m3ter_mapping_names") or "{}"))
        wanted = [
            one
            for one in mapping_intents((), names, known=(), held=held, moved=(), bills=())
            if (known := mappings.get(tx, one.kind, one.key)) is None or not known.active
        ]
        site = self._work.settings.chargebee_site
        intents.record(tx, self._batch.run.run_id, row.change_set, wanted, site=site)


def waiting_ids(work: Services, row: IntentRow) -> list[str]:
    """Unbilled charges that stand before the first send: an equal one of somebody else is not ours."""
    if row.payload["method"] != "unbilled":
        return []
    return [one.id for one in living(work, [row.payload["subscription_id"]])]


def answered(work: Services, row: IntentRow, answer: Answer, stood: Collection[str]) -> Landed:
    """What the answer shows; a replayed one tells what stood then, so the invoice is read again, if it still is there.

    Raises:
        OutcomeUnknown: The answer cannot be typed; the lists tell later.
    """
    if row.payload["method"] == "unbilled":
        body = answer.json()
        raw = body.get("unbilled_charges") if isinstance(body, dict) else None
        if not isinstance(raw, list):
            raise OutcomeUnknown("MB-OUTCOME-UNKNOWN", "the answer holds no unbilled charges")
        made = [read_written(UnbilledCharge, one, resource="unbilled charge") for one in raw]
        place = next(in_place_of_invoices(made), None)
        if place is None:
            raise OutcomeUnknown("MB-OUTCOME-UNKNOWN", "the answer holds no unbilled charges")
    else:
        place = work.chargebee.parse_invoice(answer)
        if answer.replayed:
            place = work.chargebee.invoice_or_none(place.id) or place
    return Landed(place, pair(wishes(row.payload), lines_of(place), stood))


def look(work: Services, row: IntentRow) -> Landed | None:
    """Search the customer's invoices and unbilled charges since the first send; None when nothing is in sight.

    Raises:
        RecordRefused: MB-DOUBLE-CHARGE or MB-INVOICE-AMBIGUOUS; a person has to look.
    """
    wanted = wishes(row.payload)
    # Charges that these replace: a late list may show them still, with the same references.
    taken = {*row.baseline.get("line_ids", ()), *row.payload.get("replaces", ()), *_owned(work, row)}
    found: list[Landed] = []
    for place in _places(work, row):
        paired = pair(wanted, lines_of(place), taken)
        if paired.nothing:
            continue
        whole = work.chargebee.invoice_or_none(place.id) if place.status != UNBILLED else place
        seen = whole or place
        found.append(Landed(seen, pair(wanted, lines_of(seen), taken)))
    named = [one for one in found if _is_named(wanted, one)]
    clear = named or [one for one in found if len(one.paired.booked) == len(wanted)]
    if len(clear) > 1:
        where = ", ".join(one.invoice.id for one in clear)
        raise RecordRefused("MB-DOUBLE-CHARGE", f"charges of {row.key[:2]} stand on {where}: one call was sent")
    if not clear and found:
        where = ", ".join(one.invoice.id for one in found)
        raise RecordRefused("MB-INVOICE-AMBIGUOUS", f"lines on {where} may be some of the charges of {row.key[:2]}")
    return clear[0] if clear else None


def _is_named(wanted: Sequence[Wish], landed: Landed) -> bool:
    ours = set(landed.paired.booked.values()) | {line.id for line in landed.paired.wrong.values()}
    lines = [line for line in lines_of(landed.invoice) if line.id in ours]
    return any(is_named(wish, line) for wish in wanted for line in lines)


def _places(work: Services, row: IntentRow) -> Iterator[Invoice]:
    since = str(int(row.first_sent_at or 0) - LISTS_LAG_SECONDS)
    customers = {"customer_id[in]": in_list(row.payload["customers"]), "date[after]": since, "include_deleted": "true"}
    for entry in work.chargebee.rows("invoices", customers, sort_by="date"):
        yield read_record(Invoice, entry.get("invoice"), resource="invoice")
    if row.payload["method"] == "unbilled":
        yield from in_place_of_invoices(list(living(work, [row.payload["subscription_id"]])))


def _owned(work: Services, row: IntentRow) -> set[str]:
    """Lines that the ledger gives to other charges of the subscription."""
    ours = {tuple(line["key"]) for line in row.payload["lines"]}
    with work.ledger.read() as rx:
        held = mappings.by_state(rx, "charge", "subscription_id", row.payload["subscription_id"])
        return {one.remote_id for one in held if one.active and one.key not in ours}


def _refusal(row: IntentRow, landed: Landed) -> RecordRefused | None:
    invoice, paired = landed.invoice, landed.paired
    if paired.beyond:
        lines = ", ".join([*paired.booked.values(), *paired.beyond])
        return RecordRefused("MB-DOUBLE-CHARGE", f"{invoice.id}: lines {lines} are more than the charges sent")
    if paired.wrong:
        sent = [row.payload["lines"][index]["amount"] for index in paired.wrong]
        booked = [line.amount for line in paired.wrong.values()]
        gone = "taken off again" if invoice.status in ("pending", UNBILLED) else "on a closed invoice"
        return RecordRefused("MB-CHARGE-WRONG", f"{invoice.id}: booked {booked} instead of {sent}; {gone}")
    if invoice.currency_code != row.payload["currency"]:
        return RecordRefused(
            "MB-CHARGE-WRONG", f"{invoice.id} is in {invoice.currency_code}, not in {row.payload['currency']}"
        )
    return None


def _note(row: IntentRow, invoice: Invoice) -> str:
    """What the report says of an invoice that was not left pending: a declined card, for one, leaves it unpaid."""
    if row.payload["method"] != "create_invoice" or invoice.status == PENDING:
        return ""
    return f"invoice {invoice.id} of {row.key[:2]} is {invoice.status}, not pending: its charges stand"


def _standing(row: IntentRow, line: Mapping[str, Any], invoice: Invoice, line_id: str, at: float) -> mappings.Mapping:
    """The charge as it stands; unbilled charges have no date of their own, so ``at`` dates those just sent."""
    here = {
        "line_id": line_id,
        "invoice_id": invoice.id,
        "invoice_status": invoice.status,
        "invoice_date": invoice.date or int(row.first_sent_at or at),
        "customer_id": invoice.customer_id,
    }
    return mappings.Mapping(
        kind="charge",
        key=tuple(line["key"]),
        remote_id=line_id,
        fingerprint=line["fingerprint"],
        scope=invoice.id,
        state={**line["state"], **here},
        active=True,
        source_version=row.source_version,
        run_id=row.run_id,
    )


def _known(rx: Reader, one: mappings.Mapping) -> bool:
    """Another run found the line meanwhile."""
    known = mappings.get(rx, "charge", one.key)
    return known is not None and known.active and known.remote_id == one.remote_id


def render(payload: Mapping[str, Any]) -> Request:
    """The exact request of a set, stored before it is sent."""
    method = payload["method"]
    charges = [_charge(line) for line in payload["lines"] if line["method"] == "add_charge"]
    items = [_item(line, method) for line in payload["lines"] if line["method"] == "add_charge_item"]
    owner = {"subscription_id": payload["subscription_id"], "currency_code": payload["currency"]}
    if method == "create_invoice":
        return requests.create_for_charge_items_and_charges(
            **owner, charges=charges, item_prices=items, create_pending_invoice=True
        )
    if method == "unbilled":
        return requests.create_unbilled_charges(**owner, charges=charges, item_prices=items)
    raise BrokenInvariant("MB-INVARIANT", f"no Chargebee request for {method}")


def _charge(line: Mapping[str, Any]) -> requests.Charge:
    return {name: line[name] for name in ("amount", "description", "date_from", "date_to")}  # type: ignore[return-value]


def _item(line: Mapping[str, Any], method: str) -> requests.ChargeItem:
    item: requests.ChargeItem = {
        "item_price_id": line["item_price_id"],
        "unit_price": line["amount"],
        "quantity": 1,
        "date_from": line["date_from"],
        "date_to": line["date_to"],
    }
    # Unbilled charge items take no text of their own; they are known again by their looks.
    return {**item, "description": line["description"]} if method == "create_invoice" else item
