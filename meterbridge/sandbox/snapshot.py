"""The final state of both vendors in a form that two runs can be compared in.

Ids that the vendors drew are replaced by what the thing is; instants of modification are left out. Twins stay visible:
a row that exists twice is listed twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from meterbridge.sandbox.exact_json import dumps
from meterbridge.sandbox.table import Row, Table

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

_VOLATILE = frozenset(
    {
        "resource_version",
        "updated_at",
        "created_at",
        "generated_at",
        "paid_at",
        "voided_at",
        "version",
        "dtCreated",
        "dtLastModified",
        "dtApproved",
        "dtLocked",
        "createdDate",
        "lastCalculatedDate",
        "billJobId",
    }
)


def comparable(world: World) -> dict[str, Any]:
    """`{"chargebee": {resource: rows}, "m3ter": {resource: rows}}`, sorted."""
    chargebee, m3ter = world.chargebee, world.m3ter
    labels = _labels(world)
    tables: dict[str, dict[str, Table]] = {
        "chargebee": {
            "customers": chargebee.customers,
            "subscriptions": chargebee.subscriptions,
            "invoices": chargebee.invoices,
            "credit_notes": chargebee.credit_notes,
            "unbilled_charges": chargebee.unbilled_charges,
            "promotional_credits": chargebee.promotional_credits,
            "usages": chargebee.usages,
            "comments": chargebee.comments,
        },
        "m3ter": {
            "accounts": m3ter.accounts,
            "account_plans": m3ter.account_plans,
            "bills": m3ter.bills,
            "external_mappings": m3ter.mappings,
        },
    }
    return {
        vendor: {name: _rows(table, labels) for name, table in resources.items()}
        for vendor, resources in tables.items()
    }


def _rows(table: Table, labels: dict[str, str]) -> list[Any]:
    return sorted((_normal(row, labels) for row in table.rows()), key=lambda row: json.dumps(row, sort_keys=True))


def _normal(value: Any, labels: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _normal(part, labels) for name, part in value.items() if name not in _VOLATILE}
    if isinstance(value, list):
        parts = [_normal(part, labels) for part in value]
        return sorted(parts, key=lambda part: json.dumps(part, sort_keys=True))
    if isinstance(value, str):
        return labels.get(value, value)
    if isinstance(value, bool | int) or value is None:
        return value
    return dumps(value).decode()


def _labels(world: World) -> dict[str, str]:
    labels: dict[str, str] = {}
    m3ter = world.m3ter
    for account in m3ter.accounts.rows():
        labels[account["id"]] = f"account {account['code']}"
    for plan in m3ter.plans.rows():
        labels[plan["id"]] = f"plan {plan['code']}"
    for each in m3ter.account_plans.rows():
        owner, plan_label = labels.get(each["accountId"]), labels.get(each["planId"])
        labels[each["id"]] = f"account plan {owner} / {plan_label} / {each['startDate']}"
    for bill in m3ter.bills.rows():
        labels[bill["id"]] = f"bill {bill['accountCode']} / {bill['startDate']} / {bill['endDate']}"
        for line in bill["lineItems"]:
            labels[line["id"]] = f"line {line['sequenceNumber']} of {labels[bill['id']]}"
    for mapping in m3ter.mappings.rows():
        labels[mapping["id"]] = "mapping"
    for invoice in world.chargebee.invoices.rows():
        _label_invoice(labels, invoice)
    for table in (world.chargebee.comments, world.chargebee.credit_notes, world.chargebee.unbilled_charges):
        for row in table.rows():
            labels[row["id"]] = row["object"]
    for draft_id, final in world.chargebee.closed_drafts.items():
        labels[draft_id] = f"draft of {labels.get(final['id'])}"
    return labels


def _label_invoice(labels: dict[str, str], invoice: Row) -> None:
    label = f"invoice {invoice['customer_id']} / {invoice.get('subscription_id')} / {invoice['date']}"
    labels[invoice["id"]] = label
    for line in invoice["line_items"]:
        what = (line["entity_type"], line.get("entity_id"), line["description"], line["date_from"], line["date_to"])
        labels[line["id"]] = f"line {what} {line['amount']} of {label}"
