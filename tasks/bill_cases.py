"""Rows of the staging file as the bill rules take them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from meterbridge.rules.bills import BillPolicy, decide_bill, decide_vanished
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.records import (
    Bill,
    BillCase,
    BillLine,
    Decision,
    InFlight,
    Invoice,
    InvoiceLine,
    InvoiceNote,
    PlacedPlan,
    StandingLine,
    SubscriptionFacts,
)
from meterbridge.staging.moments import instant, moment, required


def decide_case(case: BillCase, policy: BillPolicy) -> list[Decision]:
    """Decide one bill; one that m3ter no longer has is one, too."""
    return decide_vanished(case, policy) if case.bill.status == "DELETED" else decide_bill(case, policy)


def case_of(row: Mapping[str, Any], now: datetime) -> BillCase:
    """A row of ``int_bills``."""
    return BillCase(
        bill=_bill(row),
        plans=tuple(_plan(p) for p in row["plans"]),
        subscriptions={s["id"]: _facts(s) for s in row["subscriptions"]},
        invoices=tuple(invoice_of(i) for i in row["invoices"]),
        standing=tuple(_standing(r) for r in row["standing"]),
        settled={r["subscription_id"]: int(r["amount"]) for r in row["settled"]},
        known=row["known"],
        mapped_invoice_lines={m["line_id"]: m["invoice_line_id"] for m in row["mapped"]},
        now=now,
        owned_lines=frozenset(row["owned_lines"]),
        waiting_since={
            p["subscription_id"]: datetime.fromisoformat(p["since"])
            for p in row["portions"]
            if p["state"] == "waiting" and p["since"]
        },
        in_flight=tuple(_in_flight(one) for one in row["unproven"]),
        payers=frozenset(row["payers"]),
        released=sum(int(one["amount"]) for one in row["releases"] if one["currency"] == row["currency"]),
        undone={u["subscription_id"]: json.loads(u["lines"]) for u in row["undone"]},
        marks=tuple(row["marks"]),
        not_ours=row["not_ours"],
    )


def _bill(row: Mapping[str, Any]) -> Bill:
    return Bill(
        id=row["id"],
        version=row["version"],
        account_id=row["account_id"],
        customer_id=row["customer_id"],
        status=row["status"],
        locked=row["locked"],
        currency=row["currency"],
        bill_date=date.fromisoformat(row["bill_date"]),
        start=moment(row["start_utc"]),
        end=moment(row["end_utc"]),
        last_calculated=row["last_calculated"],
        total=None if row["total"] is None else Decimal(row["total"]),
        lines=tuple(_line(line) for line in row["lines"]),
    )


def _line(row: Mapping[str, Any]) -> BillLine:
    typed: dict[str, Any] = {name: Decimal(row[name]) for name in ("amount", "quantity", "units")}
    typed |= {name: moment(row[name]) for name in ("service_start", "service_end")}
    typed["segment"] = json.loads(row["segment"])
    return BillLine(**{name: value for name, value in row.items() if name != "bill_id"} | typed)


def _plan(row: Mapping[str, Any]) -> PlacedPlan:
    return PlacedPlan(
        account_plan_id=row["account_plan_id"],
        account_id=row["account_id"],
        plan_id=row["plan_id"],
        subscription_id=row["subscription_id"],
        item_price_id=row["item_price_id"],
        start=required(row["start_at"]),
        end=moment(row["end_at"]),
    )


def _in_flight(row: Mapping[str, Any]) -> InFlight:
    key, amount = key_from_text(row["key"]), int(row["amount"] or 0)
    return InFlight(row["kind"], key, amount, row["currency"] or "", row["payer"])


def _facts(row: Mapping[str, Any]) -> SubscriptionFacts:
    return SubscriptionFacts(
        id=row["id"],
        customer_id=row["customer_id"],
        invoice_owner_id=row["invoice_owner_id"],
        status=row["status"],
        currency=row["currency"],
        created_at=instant(row["created_at"]),
        next_billing_at=instant(row["next_billing_at"]),
        current_term_end=instant(row["current_term_end"]),
        consolidated=row["consolidated"],
        item_price_ids=tuple(row["item_price_ids"]),
        auto_close=row["auto_close"],
        customer_auto_close=row["customer_auto_close"],
        business_entity_id=row["business_entity_id"],
    )


def invoice_of(row: Mapping[str, Any]) -> Invoice:
    """A row of ``stg_invoices``."""
    return Invoice(
        id=row["id"],
        status=row["status"],
        customer_id=row["customer_id"],
        subscription_id=row["subscription_id"],
        business_entity_id=row["business_entity_id"],
        currency=row["currency"],
        date=instant(row["date"]),
        price_type=row["price_type"],
        strong=row["strong"],
        foreign_notes=tuple(InvoiceNote(note["id"], note["amount"]) for note in row["foreign_notes"]),
        lines=tuple(
            InvoiceLine(
                id=line["id"],
                entity_type=line["entity_type"],
                entity_id=line["entity_id"],
                description=line["description"],
                date_from=instant(line["date_from"]),
                date_to=instant(line["date_to"]),
                amount=line["amount"],
                subscription_id=line["subscription_id"],
            )
            for line in row["lines"]
        ),
    )


def _standing(row: Mapping[str, Any]) -> StandingLine:
    return StandingLine(
        key=key_from_text(row["key"]),
        bill_id=row["bill_id"],
        subscription_id=row["subscription_id"],
        invoice_id=row["invoice_id"],
        line_id=row["line_id"],
        amount=int(row["amount"]),
        currency=row["currency"],
        fingerprint=row["fingerprint"],
        draft=row["draft"] or "found",
        candidates=tuple(json.loads(row["candidates"] or "[]")),
        transit_until=instant(None if row["transit_until"] is None else int(row["transit_until"])),
        adopted=row["adopted"] == "true",
        movable=row["movable"] != "false",
        carried=row["carried"] is not None,
        bill_line_ids=tuple(json.loads(row["bill_line_ids"] or "[]")),
        customer_id=row["customer_id"],
    )
