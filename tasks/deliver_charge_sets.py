"""Portions that go out in one call: an invoice of their own, or unbilled charges. Looked for before any second send.

What the call makes has no id until it is answered. While Chargebee surely knows our
key the same request is a replay; later two looks, apart from each other, must show
nothing before it is sent again, under its own old key.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.chargebee import requests
from connectors.transport import Request
from meterbridge.errors import BrokenInvariant, OutcomeUnknown, RecordRefused, RetriableError
from meterbridge.ledger import intents
from meterbridge.ledger.intents import IntentRow
from tasks.charge_corrections import still_decided
from tasks.charge_desk import Desk
from tasks.charge_sets import Landed, answered, book, look, waiting_ids
from tasks.charges import RESEND_SECONDS
from tasks.keyed_writes import answer, looked_before, unknown
from tasks.receipts import Receipt
from tasks.runs import Run
from tasks.services import Services

logger = logging.getLogger(__name__)


def send(work: Services, run: Run, rows: Sequence[IntentRow]) -> Receipt:
    """Book the sets one after the other, each checked before the next; one that is refused stops no other.

    Raises:
        RetriableError: Chargebee is down or an outcome is unknown; what was not sent is ready again.
        SetupError: Chargebee refuses our credentials.
    """
    desk = Desk.open(work, run, len(rows))
    try:
        for row in rows:
            desk.renew(rows)
            if not desk.may_send():
                break
            _book(desk, row)
    finally:
        with work.ledger.write() as tx:
            for row in rows:
                intents.release(tx, row.id, run.run_id)
            tx.commit()
    return desk.receipt


def _book(desk: Desk, row: IntentRow) -> None:
    try:
        if row.state == "ready":
            _first(desk, row)
        else:
            _probe(desk, row)
    except RecordRefused as refusal:
        with desk.work.ledger.write() as tx:
            desk.receipt.set_aside(tx, desk.run, row, refusal)
            tx.commit()


def _first(desk: Desk, row: IntentRow) -> None:
    stopped = {line.get("item_price_id") for line in row.payload["lines"]} & desk.stopped_items
    if stopped:
        raise RecordRefused("MB-CHARGE-WRONG", f"{stopped.pop()} was booked wrongly before in this run")
    if not still_decided(desk.work, row.payload):
        with desk.work.ledger.write() as tx:
            intents.supersede(tx, row.id, desk.run.run_id)
            tx.commit()
        desk.receipt.concluded += 1
        return
    stood = {"line_ids": waiting_ids(desk.work, row)}
    request = render(row.payload)
    with desk.work.ledger.write() as tx:
        marked = intents.mark_sending(tx, row.id, desk.run.run_id, request.to_json(), stood, at=desk.work.clock.epoch())
        tx.commit()
    if not marked or not desk.may_send():
        raise _lease_lost(row)
    book(desk, row, _transmit(desk, row, request, stood["line_ids"]))


def _probe(desk: Desk, row: IntentRow) -> None:
    """A call whose answer never came: find out, and only then send again, under its own old key."""
    age = desk.work.clock.epoch() - (row.attempt_started_at or 0)
    if row.request and 0 <= age < RESEND_SECONDS:
        book(desk, row, _again(desk, row, at=row.attempt_started_at))
        return
    landed = look(desk.work, row)
    if landed is not None:
        book(desk, row, landed)
    elif looked_before(desk.work, row):
        book(desk, row, _again(desk, row, at=desk.work.clock.epoch()))
    else:
        with desk.work.ledger.write() as tx:
            intents.unknown(tx, row.id, desk.run.run_id, "not in sight; looked for again later")
            tx.commit()


def _again(desk: Desk, row: IntentRow, *, at: float | None) -> Landed:
    """The stored request once more; never for a row that another run has taken over."""
    request = Request.from_json(row.request) if row.request else render(row.payload)
    with desk.work.ledger.write() as tx:
        ours = intents.reattempt(tx, row.id, desk.run.run_id, at=at)
        tx.commit()
    if not ours or not desk.may_send():
        raise _lease_lost(row)
    return _transmit(desk, row, request, row.baseline.get("line_ids", ()))


def _transmit(desk: Desk, row: IntentRow, request: Request, stood: Sequence[str]) -> Landed:
    name = f"charges of {row.key[:2]}"
    made = answer(desk.work, desk.run, row, request, name)
    try:
        return answered(desk.work, row, made, stood)
    except OutcomeUnknown as lost:
        raise unknown(desk.work, desk.run, row, lost, name) from lost


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


def _lease_lost(row: IntentRow) -> RetriableError:
    return RetriableError("MB-HELD", f"the lease on {row.kind} {row.key[:2]} ran out before it was sent")
