"""Rows of ``int_bills`` → rules → the change set of ``sync_bills``. Calls no vendor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from meterbridge.catalog import load_catalog
from meterbridge.errors import BrokenInvariant
from meterbridge.ledger import facts
from meterbridge.rules.bills import BillPolicy, decide_bill, decide_vanished
from meterbridge.rules.keys import fingerprint, key_from_text
from meterbridge.rules.records import (
    Bill,
    BillCase,
    BillLine,
    ChargeRule,
    Decision,
    Intent,
    Invoice,
    InvoiceLine,
    Key,
    PlacedPlan,
    Ref,
    StandingLine,
    SubscriptionFacts,
)
from meterbridge.staging.database import Staging, opened
from meterbridge.staging.moments import instant, moment, required
from tasks.change_set import ChangeSet, Tray, land, refused_before
from tasks.engine import task
from tasks.extract_bills import since
from tasks.runs import Run
from tasks.services import Services, services

KINDS = ("charge", "external_mapping")


def subject(kind: str, key: Key) -> str:
    """Whose record it is: always the bill's id."""
    return key[1] if kind == "external_mapping" else key[0]


@task(name="decide bills")
def decide_bills(run: Run) -> ChangeSet:
    """Desired minus standing, bill by bill, landed as ``out_intents`` and ``map_charges``."""
    work = services(run.run_id)
    with work.ledger.read() as rx:
        refused = {} if run.request.by_name else refused_before(rx, KINDS)
        names = json.loads(facts.get(rx, "m3ter_mapping_names") or "{}")
    policy = policy_of(work)
    tray = Tray(refused)
    subjects: set[str] = set()
    now = datetime.fromtimestamp(run.started_at, UTC)
    with opened(run.path) as file:
        for row in file.rows("select * from int_bills order by bill_date, id"):
            subjects.add(row["id"])
            for decision in _decide(row, policy, now):
                tray.put(decision)
        for intent in mapping_intents(tray.intents, names):
            tray.put(intent)
        change_set = land(file, tray, subjects)
        _land_mapped(file, tray.intents)
    return change_set


def _decide(row: Mapping[str, Any], policy: BillPolicy, now: datetime) -> list[Decision]:
    if row["status"] == "DELETED":
        return decide_vanished(row["id"], [_standing(r) for r in row["standing"]])
    return decide_bill(_case(row, now), policy)


def policy_of(work: Services) -> BillPolicy:
    """The settings as the bill rules take them."""
    settings = work.settings
    first = since(work)
    if first is None:
        raise BrokenInvariant("MB-INVARIANT", "bills are decided without a first bill date")
    catalog = load_catalog(settings.catalog_path)
    return BillPolicy(
        since=first,
        settle_hours=settings.bill_settle_hours,
        rounding=settings.rounding,
        three_decimal=settings.three_decimal_exponent,
        bill_amounts=settings.bill_amounts,
        charge_grouping=settings.charge_grouping,
        max_invoice_lines=settings.max_invoice_lines,
        max_wait_days=settings.max_wait_days,
        term_tolerance_hours=settings.term_tolerance_hours,
        no_pending_invoice=settings.no_pending_invoice,
        net_across_subscriptions=settings.net_across_subscriptions,
        main_subscription=settings.main_subscription,
        charges=tuple(ChargeRule(**row.model_dump()) for row in catalog.charges),
        description_template=settings.charge_description,
        schedule_interval_seconds=settings.schedule_interval_seconds,
        auto_close_days=settings.auto_close_days,
    )


def mapping_intents(charges: Iterable[Intent], names: Mapping[str, Any]) -> list[Intent]:
    """The m3ter mappings of each charge: bill ↔ invoice once, and each bill line ↔ its invoice line.

    ``names`` holds the entity and table names that this organisation permits
    (``bill``, ``invoice``, ``line``, ``invoice_line``); without them the ledger alone knows.
    """
    found: dict[Key, Intent] = {}
    for charge in charges:
        if charge.kind == "charge":
            for key, payload in _pairs(charge, names):
                found.setdefault(key, _mapping(charge, key, payload))
    return list(found.values())


def _pairs(charge: Intent, names: Mapping[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    bill_id, invoice_id = str(charge.payload["bill_id"]), str(charge.payload["invoice_id"])
    if names.get("bill") and names.get("invoice"):
        sides = {"m3terEntity": names["bill"], "m3terId": bill_id, "externalTable": names["invoice"]}
        yield ("Bill", bill_id, invoice_id), {**sides, "externalId": invoice_id}
    if names.get("line") and names.get("invoice_line"):
        for line_id in map(str, charge.payload["line_ids"]):
            sides = {"m3terEntity": names["line"], "m3terId": line_id, "externalTable": names["invoice_line"]}
            yield ("BillLine", bill_id, line_id), {**sides, "externalId": Ref("charge", charge.key)}


def _mapping(charge: Intent, key: Key, sides: Mapping[str, Any]) -> Intent:
    payload = {"externalSystem": "Chargebee", **sides}
    return Intent(
        kind="external_mapping",
        key=key,
        # An adopted charge may have been mapped before the ledger was lost: look first.
        action="adopt" if charge.action == "adopt" else "create",
        target="m3ter",
        payload=payload,
        fingerprint=fingerprint(payload),
        reason=f"{sides['m3terEntity']} {sides['m3terId']} ↔ Chargebee {sides['externalTable']}",
        scope=f"bill:{key[1]}",
        depends_on=(Ref("charge", charge.key),),
        source_version=charge.source_version,
    )


def _land_mapped(file: Staging, intents: list[Intent]) -> None:
    file.clear("map_charges")
    file.land_rows(
        "map_charges",
        (
            {
                "bill_id": i.key[0],
                "subscription_id": i.key[1],
                "line": i.key[2],
                "action": i.action,
                "invoice_id": i.payload["invoice_id"],
                "method": i.payload["method"],
                "amount": i.amount,
                "currency": i.currency,
                "reason": i.reason,
            }
            for i in intents
            if i.kind == "charge"
        ),
    )


def _case(row: Mapping[str, Any], now: datetime) -> BillCase:
    return BillCase(
        bill=_bill(row),
        plans=tuple(_plan(p) for p in row["plans"]),
        subscriptions={s["id"]: _facts(s) for s in row["subscriptions"]},
        invoices=tuple(_invoice(i) for i in row["invoices"]),
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
    )


def _bill(row: Mapping[str, Any]) -> Bill:
    return Bill(
        id=row["id"],
        version=row["version"],
        account_id=row["account_id"],
        account_code=row["account_code"],
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
    )


def _invoice(row: Mapping[str, Any]) -> Invoice:
    return Invoice(
        id=row["id"],
        status=row["status"],
        customer_id=row["customer_id"],
        subscription_id=row["subscription_id"],
        currency=row["currency"],
        date=instant(row["date"]),
        price_type=row["price_type"],
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
    )
