"""/bills: found, read, approved, locked, deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meterbridge.sandbox import rating
from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.m3ter import fields
from meterbridge.sandbox.m3ter.call import PAGING, Call, Selection, answer_page, refusal
from meterbridge.sandbox.m3ter.state import SERVICE_USER, M3terState
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import Routes

routes = Routes()


@routes.get(
    "/bills",
    *PAGING,
    "accountId",
    "status",
    "locked",
    "billDate",
    "billDateStart",
    "billDateEnd",
    "externalInvoiceDateStart",
    "externalInvoiceDateEnd",
    "billingFrequency",
    "billJobId",
    "ids",
    "excludeLineItems",
    "includeBillTotal",
)
def list_bills(call: Call) -> Row:
    where: list[Callable[[Row], bool]] = []
    for name in ("accountId", "billDate", "billingFrequency", "billJobId"):
        if call.one(name):
            where.append(_equals(name, call.one(name)))
    if call.one("status"):
        if call.one("status") not in ("PENDING", "APPROVED"):
            raise refusal(400, "status: must be PENDING or APPROVED")
        where.append(_equals("status", call.one("status")))
    if call.flag("locked") is not None:
        where.append(_equals("locked", call.flag("locked")))
    for prefix in ("billDate", "externalInvoiceDate"):
        where += _between(call, prefix)
    by = next(
        ((column, call.many(name)) for name, column in (("ids", "id"), ("accountId", "accountId")) if call.many(name)),
        None,
    )
    shape = _shape(bool(call.flag("excludeLineItems")), bool(call.flag("includeBillTotal")))
    return answer_page(call, Selection(call.state.bills, by, tuple(where), shape=shape))


def _equals(name: str, value: Any) -> Callable[[Row], bool]:
    return lambda row: row.get(name) == value


def _between(call: Call, name: str) -> list[Callable[[Row], bool]]:
    """`…Start` inclusive, `…End` exclusive; dates compare as text."""
    found: list[Callable[[Row], bool]] = []
    start, end = call.one(f"{name}Start"), call.one(f"{name}End")
    for text in (start, end):
        if text is not None and fields.day(text):
            raise refusal(400, f"{name}: must be a date (YYYY-MM-DD)")
    if start is not None:
        found.append(lambda row: row[name] >= start)
    if end is not None:
        found.append(lambda row: row[name] < end)
    return found


def _shape(exclude_lines: bool, include_total: bool) -> Callable[[Row], Row]:
    hidden = ({"lineItems"} if exclude_lines else set()) | (set() if include_total else {"billTotal"})
    return lambda row: {name: value for name, value in row.items() if name not in hidden}


@routes.get("/bills/latest/{accountId}")
def latest(call: Call, account_id: str) -> Row:
    bills = call.state.bills.find("accountId", account_id)
    if not bills:
        raise refusal(404, f"account {account_id} has no bills")
    return max(bills, key=lambda bill: str(bill["endDateTimeUTC"]))


@routes.get("/bills/accountid/{accountId}", *PAGING)
def of_account(call: Call, account_id: str) -> Row:
    return answer_page(call, Selection(call.state.bills, ("accountId", [account_id])))


@routes.get("/bills/{id}")
def read(call: Call, bill_id: str) -> Row:
    return call.existing(call.state.bills, bill_id, "Bill")


@routes.get("/bills/{id}/lineitems", *PAGING)
def line_items(call: Call, bill_id: str) -> Row:
    """Here the bands are called bandUsage. Pages by position, since lines are no table of their own."""
    bill = call.existing(call.state.bills, bill_id, "Bill")
    start = int(call.one("nextToken") or 0)
    size = int(call.one("pageSize") or 100)
    if not 1 <= size <= 100:
        raise refusal(400, "pageSize must be between 1 and 100")
    rows = [_as_line_item(bill, line) for line in bill["lineItems"]]
    answer: Row = {"data": rows[start : start + size]}
    if len(rows) > start + size:
        answer["nextToken"] = str(start + size)
    return answer


def _as_line_item(bill: Row, line: Row) -> Row:
    row = {name: value for name, value in line.items() if name != "usagePerPricingBand"}
    return row | {"billId": bill["id"], "bandUsage": line.get("usagePerPricingBand", [])}


@routes.put("/bills/{id}/status")
def set_status(call: Call, bill_id: str) -> Row:
    bill = call.existing(call.state.bills, bill_id, "Bill")
    status = call.body.get("status") if isinstance(call.body, dict) else None
    if status not in ("PENDING", "APPROVED"):
        raise refusal(400, "status: must be PENDING or APPROVED")
    return with_status(call.state, bill, status)


def with_status(state: M3terState, bill: Row, status: str) -> Row:
    """Approved by the service user, or back to PENDING; a locked bill refuses."""
    if bill["locked"]:
        raise refusal(400, "the bill is locked")
    approved = status == "APPROVED"
    row = bill | {
        "status": status,
        "dtApproved": rfc3339(state.clock.now_ms()) if approved else None,
        "approvedBy": SERVICE_USER if approved else None,
    }
    saved = state.save(state.bills, row, bill)
    state.emit("billing.bill.updated", saved, bill)
    return saved


@routes.post("/bills/approve")
def approve(call: Call) -> Row:
    bill_ids = call.body.get("billIds") if isinstance(call.body, dict) else None
    if not isinstance(bill_ids, list) or not bill_ids:
        raise refusal(400, "billIds: must not be empty")
    bills = [call.existing(call.state.bills, bill_id, "Bill") for bill_id in bill_ids]
    for bill in bills:
        with_status(call.state, bill, "APPROVED")
    return {"message": f"{len(bills)} bills approved"}


@routes.put("/bills/{id}/lock")
def lock(call: Call, bill_id: str) -> Row:
    bill = call.existing(call.state.bills, bill_id, "Bill")
    if bill["status"] == "PENDING":
        raise refusal(400, "a pending bill cannot be locked")
    locked = {"locked": True, "dtLocked": rfc3339(call.world.clock.now_ms()), "lockedBy": SERVICE_USER}
    saved = call.state.save(call.state.bills, bill | locked, bill)
    call.state.emit("billing.bill.updated", saved, bill)
    return saved


@routes.delete("/bills/{id}")
def delete(call: Call, bill_id: str) -> Row:
    bill = call.existing(call.state.bills, bill_id, "Bill")
    if bill["locked"]:
        raise refusal(400, "the bill is locked")
    call.state.bills.remove(bill_id, call.world.clock.now_ms())
    call.state.emit("billing.bill.deleted", None, bill)
    return bill


_MEMO_FIELDS = (
    "amount",
    "description",
    "productId",
    "accountingProductId",
    "referencedBillId",
    "referencedLineItemId",
    "servicePeriodStartDate",
    "servicePeriodEndDate",
)
# The answer to a memo is another type than a bill's line: none of the line's amounts, no accounting product.
_MEMO_ANSWERED = tuple(name for name in _MEMO_FIELDS[1:] if name != "accountingProductId")


@routes.post("/bills/{id}/creditlineitems")
def add_credit(call: Call, bill_id: str) -> Row:
    return _add_memo(call, bill_id, "CREDIT_MEMO")


@routes.post("/bills/{id}/debitlineitems")
def add_debit(call: Call, bill_id: str) -> Row:
    return _add_memo(call, bill_id, "DEBIT_MEMO")


def _add_memo(call: Call, bill_id: str, kind: str) -> Row:
    """A line without a plan: a credit is positive in the request and negative on the bill."""
    bill = call.existing(call.state.bills, bill_id, "Bill")
    if bill["locked"]:
        raise refusal(400, "the bill is locked")
    body = call.body if isinstance(call.body, dict) else {}
    for name in _MEMO_FIELDS:
        if body.get(name) in (None, ""):
            raise refusal(400, f"{name}: must not be empty")
    if fields.number(above=0)(body["amount"]):
        raise refusal(400, "amount: must be greater than 0")
    amount = -body["amount"] if kind == "CREDIT_MEMO" else body["amount"]
    product = call.existing(call.state.products, body["productId"], "Product")
    line = {name: body[name] for name in _MEMO_FIELDS[1:]} | {
        "id": call.state.ids.uuid("BillLineItem", bill_id, kind, body["description"]),
        "sequenceNumber": len(bill["lineItems"]) + 1,
        "lineItemType": kind,
        "quantity": 1,
        "units": 1,
        "unit": "",
        "averageUnitPrice": amount,
        "subtotal": amount,
        "currency": bill["currency"],
        "conversionRate": 1,
        "convertedSubtotal": amount,
        "productName": product["name"],
        "productCode": product["code"],
    }
    lines = [*bill["lineItems"], line]
    saved = call.state.save(call.state.bills, bill | {"lineItems": lines, "billTotal": rating.total(lines)}, bill)
    call.state.emit("billing.bill.updated", saved, bill)
    answered = {name: line[name] for name in ("id", "lineItemType", *_MEMO_ANSWERED)}
    return answered | {"amount": body["amount"], "version": 1}
