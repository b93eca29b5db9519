"""What became of a call that books several lines: read off its answer or the lists, and written down line by line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connectors.chargebee import requests
from connectors.chargebee.encoding import in_list
from connectors.chargebee.models import Invoice, UnbilledCharge
from connectors.records import read_record, read_written
from connectors.transport import Answer
from meterbridge.errors import OutcomeUnknown, RecordRefused
from meterbridge.ledger import facts, intents, mappings
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Reader, Writer
from meterbridge.rules.booked import Wish
from meterbridge.rules.charge_sets import Paired, is_named, pair
from meterbridge.rules.standing import UNBILLED
from tasks.charge_desk import Desk
from tasks.charge_mappings import Held, Names, mapping_intents
from tasks.charge_outcomes import take_off
from tasks.charges import lines_of
from tasks.services import Services
from tasks.unbilled import in_place_of_invoices, living

LISTS_LAG_SECONDS = 86_400
"""How much earlier than the first send an invoice may be dated and still be what it made."""


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


def book(desk: Desk, row: IntentRow, landed: Landed) -> None:
    """Write down what stands of the set, line by line, and take wrong lines off again.

    A line that is missing although the call landed was taken off by a person: it is
    written down as such, so that the next run asks about it instead of sending it.

    Raises:
        RecordRefused: MB-CHARGE-WRONG or MB-DOUBLE-CHARGE; what is right stands in the ledger.
    """
    invoice, paired, at = landed.invoice, landed.paired, desk.work.clock.epoch()
    refusal = _refusal(row, landed)
    with desk.work.ledger.write() as tx:
        standing = [
            _standing(row, line, invoice, paired.booked.get(index, f"missing:{line['reference']}"), at)
            for index, line in enumerate(row.payload["lines"])
            if index not in paired.wrong
        ]
        standing = [one for one in standing if not _known(tx, one)]
        if refusal is None:
            _close(tx, desk, row, invoice)
        mappings.put(tx, *standing)
        _follow_up(tx, desk, row, invoice, standing)
        tx.commit()
    for index, line in paired.wrong.items():
        _take_off(desk, row, invoice, row.payload["lines"][index], line.id)
    if refusal is not None:
        raise refusal


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


def _close(tx: Writer, desk: Desk, row: IntentRow, invoice: Invoice) -> None:
    outcome = {"invoice_id": invoice.id, "written": True}
    if not intents.applied(tx, row.id, desk.run.run_id, outcome, mapping=None):
        raise RecordRefused("MB-HELD", f"the lease on {row.kind} {row.key[:2]} ran out, another run has it")
    desk.receipt.concluded += 1
    for line in row.payload["lines"]:
        if line.get("item_price_id"):
            facts.put(tx, f"canary:{line['item_price_id']}", "verified")
    desk.receipt.took(row)


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


def _follow_up(tx: Writer, desk: Desk, row: IntentRow, invoice: Invoice, standing: Sequence[mappings.Mapping]) -> None:
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
    intents.record(tx, desk.run.run_id, row.change_set, wanted, site=desk.work.settings.chargebee_site)


def _take_off(desk: Desk, row: IntentRow, invoice: Invoice, line: Mapping[str, Any], line_id: str) -> None:
    if invoice.status not in ("pending", UNBILLED):
        return
    desk.stopped_items |= {line.get("item_price_id") or ""} - {""}
    unbilled = invoice.status == UNBILLED
    request = (
        requests.delete_unbilled_charge(line_id) if unbilled else requests.delete_line_items(invoice.id, [line_id])
    )
    one = {**row.payload, "invoice_id": invoice.id}
    take_off(desk, replace(row, key=tuple(line["key"]), payload=one, scope=f"invoice:{invoice.id}"), line_id, request)
