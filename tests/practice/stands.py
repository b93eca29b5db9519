"""Tell the end at both vendors and in the report, in the words in which cases expect it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from meterbridge.sandbox.table import Row
from tests.histories.lines import OURS
from tests.histories.people import BY_HAND
from tests.practice.words import instant, money

if TYPE_CHECKING:
    from tests.practice.play import Play


def stands(play: Play) -> dict[str, Any]:
    """Everything that a case says under ``in_the_end``, in sorted rows."""
    return {
        "accounts": sorted(_accounts(play)),
        "account_plans": sorted(_account_plans(play)),
        "mappings": dict(sorted(Counter(row["m3terEntity"] for row in play.world.m3ter.mappings.rows()).items())),
        "invoices": _invoices(play),
        "unbilled": sorted(_unbilled(play)),
        "credits": sorted(_credits(play)),
        "report": _report(play),
    }


def _accounts(play: Play) -> list[str]:
    rows = {row["id"]: row for row in play.world.m3ter.accounts.rows()}
    found = []
    for row in rows.values():
        parent = rows.get(row.get("parentAccountId", ""))
        found.append(row["code"] if parent is None else f"{row['code']} under {parent['code']}")
    return found


def _account_plans(play: Play) -> list[str]:
    """``acme: api-pro-eur, 2026-01-01 to open, billed from 2026-01-01, for acme-sub-api-pro-EUR-Monthly``."""
    state = play.world.m3ter
    codes = {row["id"]: row["code"] for row in state.accounts.rows()}
    plans = {row["id"]: row["code"] for row in state.plans.rows()}
    found = []
    for row in state.account_plans.rows():
        mapped = [one for one in state.mappings.find("m3terId", row["id"]) if one["m3terEntity"] == "AccountPlan"]
        names = " and ".join(sorted({one["externalId"] for one in mapped})) or "nobody"
        epoch = f", billed on the {_ordinal(row['billEpoch'][-2:])}" if "billEpoch" in row else ""
        span = f"{instant(row['startDate'])} to {instant(row.get('endDate'))}"
        found.append(f"{codes.get(row['accountId'])}: {plans[row['planId']]}, {span}{epoch}, for {names}")
    return found


def _ordinal(day: str) -> str:
    """The day of a month as people say it: every one of them ends like one of ten, but for the teens."""
    number = int(day)
    last = 0 if number in (11, 12, 13) else number % 10
    return f"{number}{('0th', '1st', '2nd', '3rd')[last if last < 4 else 0][1:]}"


def _invoices(play: Play) -> dict[str, list[str]]:
    """Our lines by invoice: ``acme 2026-04-01 pending``; an invoice without a line of ours is not named."""
    found: dict[str, list[str]] = {}
    for row in sorted(play.world.chargebee.invoices.rows(), key=lambda one: (one["date"], one["id"])):
        lines = [line for line in row["line_items"] if line["entity_type"] in OURS and not _typed(line)]
        if lines:
            status = "deleted" if row["deleted"] else row["status"]
            name = f"{row['customer_id']} {instant(row['date'])[:10]} {status}"
            found.setdefault(name, []).extend(_shown(play, line, row) for line in lines)
    return {name: sorted(lines) for name, lines in sorted(found.items())}


def _typed(line: Row) -> bool:
    return str(line["description"]).startswith(BY_HAND)


def _shown(play: Play, line: Row, invoice: Row) -> str:
    """``30.00 EUR for acme-sub (bill of 2026-04-01)``: the subscription, and the bill that m3ter's mapping names."""
    item = f" as {line['entity_id']}" if line["entity_type"] == "charge_item_price" else ""
    amount = money(line["amount"], invoice["currency_code"])
    return f"{amount} for {line.get('subscription_id')}{item} ({_bill(play, line['id'])})"


def _bill(play: Play, line_id: str) -> str:
    """Whose line it is: ``as it was`` where the bill has been calculated again since and has other lines."""
    state = play.world.m3ter
    ids = {row["m3terId"] for row in state.mappings.find("externalId", line_id) if row["m3terEntity"] == "BillLineItem"}
    there = {line["id"] for bill in state.bills.rows() for line in bill["lineItems"]}
    ends = sorted({play.bill_lines[one] + ("" if one in there else " as it was") for one in ids})
    return f"bill of {' and '.join(ends)}" if ends else "not mapped"


def _unbilled(play: Play) -> list[str]:
    rows = (row for row in play.world.chargebee.unbilled_charges.rows() if not row["deleted"])
    return [f"{money(row['amount'], row['currency_code'])} for {row['subscription_id']}" for row in rows]


def _credits(play: Play) -> list[str]:
    state = play.world.chargebee
    found = []
    for row in state.credit_notes.rows():
        if not row["deleted"] and row["status"] != "voided":
            whose = "by hand" if str(row.get("customer_notes", "")).startswith(BY_HAND) else "ours"
            invoice = state.invoices.get(row["reference_invoice_id"]) or {}
            found.append(
                f"{money(row['total'], row['currency_code'])} credit note ({row['type']}, {whose}) "
                f"on {invoice.get('customer_id')} {instant(invoice.get('date'))[:10]}"
            )
    for row in state.promotional_credits.rows():
        found.append(f"{money(row['amount'], row['currency_code'])} promotional credit for {row['customer_id']}")
    return found


def _report(play: Play) -> dict[str, Any]:
    """Of the last two runs, those that had nothing to write any more."""
    reports = [play.last[flow] for flow in ("subscriptions", "bills") if flow in play.last]
    return {
        "exit_code": max(one.exit_code for one in reports),
        "fails": sorted(play.failed.values()),
        "set_aside": sorted(_aside(play, row) for one in reports for row in one.quarantined),
        "waiting": sorted(_amount(row) for one in reports for row in one.waiting),
        "awaiting_approval": sum(row["count"] for one in reports for row in one.awaiting_approval),
        "differences": play.last["reconcile"].differences if "reconcile" in play.last else 0,
    }


def _aside(play: Play, row: dict[str, Any]) -> str:
    """``MB-BILL-CHANGED -20.00 EUR of acme-sub``: the code, the money, whose it is."""
    key = [part for part in row["key"] if part]
    whose = key[1] if row["kind"] == "charge" and len(key) > 1 else key[0]
    bill = play.world.m3ter.bills.get(whose)
    if bill is not None:
        whose = f"the bill of {bill['accountCode']} until {bill['endDate']}"
    amount = f" {money(row['amount'], row['currency'])}" if row.get("amount") is not None else ""
    return f"{row['code']}{amount} of {whose}"


def _amount(row: dict[str, Any]) -> str:
    return f"{money(row['amount'], row['currency'])} of {row['key'][1]}" if "amount" in row else str(row["key"])
