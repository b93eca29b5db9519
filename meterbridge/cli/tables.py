"""How ``status`` and ``trace`` show people what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meterbridge.cli import words
from meterbridge.cli.show import say, table, tell
from meterbridge.rules.money import amount_text
from tasks.not_ours import in_words
from tasks.unbilled_money import in_words as unbilled


def show_status(found: dict[str, Any]) -> None:
    """Where things stand."""
    tell(found["notices"])
    marks = [
        (
            one["flow"],
            one["position"] or "never run",
            "" if one["lag_seconds"] is None else words.age(one["lag_seconds"]),
        )
        for one in found["watermarks"]
    ]
    table("Read and settled up to", ("flow", "watermark", "behind now"), marks)
    _show_waiting(found["waiting"])
    _show_closing(found["closing_soon"])
    _show_asked(found["awaiting_approval"])
    aside = [
        (one["code"], one["records"], amount_text(one["amount"], one["currency"]), words.age(one["oldest_seconds"]))
        for one in found["quarantined"]
    ]
    columns = ("code", "records", "amount", "oldest")
    _table("Set aside (`meterbridge quarantine list`)", columns, aside, right=("records", "amount"))
    runs = [
        (one["started_at"], one["flow"], _state(one), one["applied"], one["message"] or "", one["run_id"])
        for one in found["runs"]
    ]
    _table("Last runs", ("started", "flow", "state", "writes", "message", "run"), runs, right=("writes",))
    # What awaits approval stands above, counted in charges: mappings that follow them are no second question.
    open_writes = {state: count for state, count in found["open_intents"].items() if state != "proposed"}
    counted = ", ".join(f"{count} {state}" for state, count in open_writes.items()) or "none"
    say(f"Open writes: {counted}")
    for one in found["settled_by_hand"]:
        money = amount_text(one["amount"], one["currency"])
        say(f"Settled by hand: {one['count']} portions, {money}")
    for one in found["unbilled"]:
        say(f"Unbilled: {unbilled(one)}")
    if found["not_ours"]:
        say(f"Not ours: {in_words(found['not_ours'])}")
    say(f"Ledger: {found['ledger']} (connection {found['connection']})")
    say(f"Staging files: {found['staging']}")


def show_trace(found: dict[str, Any]) -> None:
    """The chain behind an id, a table a charge."""
    say(f"{found['id']} is a {found['what']}")
    for charge in found["charges"]:
        table(f"Charge {charge['reference']}", ("", ""), list(_charge_rows(charge)))
    if not found["charges"]:
        say("No charge of it stands on an invoice that the ledger knows.")
    totals = [
        (one["bill_id"], one["status"] or "unknown", f"{one.get('total') or ''} {one.get('currency') or ''}".strip())
        for one in found["bills"]
    ]
    _table("m3ter bills", ("bill", "status", "total"), totals, right=("total",))
    portions = [
        (
            one["bill_id"],
            one["subscription_id"],
            one["state"],
            amount_text(one["amount"], one["currency"]),
            one["reason"],
        )
        for one in found["portions"]
    ]
    _table("Portions", ("bill", "subscription", "state", "amount", "why"), portions, right=("amount",))
    _show_plans(found["account_plans"])
    _show_proposed(found["awaiting_approval"])
    for row in found["set_aside"]:
        say(f"Set aside (record {row['id']}): {row['code']}: {row['message']}")


def _state(run: Mapping[str, Any]) -> str:
    return run["state"] if run["attempt"] == 1 else f"{run['state']} (attempt {run['attempt']})"


def _show_waiting(rows: Sequence[dict[str, Any]]) -> None:
    waiting = [
        (
            one["bill_id"],
            one["subscription_id"],
            amount_text(one["amount"], one["currency"]),
            words.age(one["age_seconds"]) + (" OVERDUE" if one["overdue"] else ""),
            one["reason"],
        )
        for one in rows
    ]
    _table("Waiting for an invoice", ("bill", "subscription", "amount", "age", "why"), waiting, right=("amount",))


def _show_closing(rows: Sequence[dict[str, Any]]) -> None:
    closing = [
        (
            one["closes_at"],
            words.age(one["closes_in_seconds"]),
            amount_text(one["amount"], one["currency"]),
            one["bill_id"],
            one["subscription_id"],
            one["state"],
        )
        for one in rows
    ]
    columns = ("closes", "in", "amount", "bill", "subscription", "held as")
    _table("Drafts that close soon, without this money", columns, closing, right=("amount",))


def _show_asked(rows: Sequence[dict[str, Any]]) -> None:
    asked = [
        (
            one["change_set"],
            one["count"],
            one["bills"],
            amount_text(one["amount"], one["currency"]),
            words.age(one["age_seconds"]),
            "; ".join(one["why"].values()),
        )
        for one in rows
    ]
    asking = ("change set", "writes", "bills", "total", "age", "why")
    _table(
        "Awaiting approval (`meterbridge approve HASH --by NAME`)", asking, asked, right=("writes", "bills", "total")
    )


def _show_plans(rows: Sequence[dict[str, Any]]) -> None:
    plans = [
        (
            one["account_plan_id"],
            one["item_price_id"],
            one["plan_id"],
            one["start"],
            one["end"] or "open",
            one["reason"],
        )
        for one in rows
    ]
    _table("Account plans", ("account plan", "item price", "plan", "from", "to", "why"), plans)


def _show_proposed(rows: Sequence[dict[str, Any]]) -> None:
    proposed = [
        (
            one["bill_id"],
            one["subscription_id"],
            one["action"],
            amount_text(one["amount"], one["currency"]),
            one["change_set"],
            one["why"],
        )
        for one in rows
    ]
    asking = ("bill", "subscription", "write", "amount", "change set", "why")
    _table("Awaiting approval", asking, proposed, right=("amount",))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """A table, unless it would be empty."""
    if rows:
        table(title, columns, rows, right=right)


def _approved(approval: dict[str, Any] | None) -> str:
    if approval is None:
        return ""
    said = f": {approval['note']}" if approval["note"] else ""
    return f"by {approval['by']} at {approval['at']}, change set {approval['change_set']}{said}"


def _run_words(run: dict[str, Any] | None) -> str:
    return "unknown" if run is None else f"{run['run_id']} ({run['flow']}, {run['started_at']})"


def _charge_rows(charge: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("on invoice", f"{charge['invoice_id']}, line {charge['invoice_line_id']}"),
        ("amount", amount_text(charge["amount"], charge["currency"])),
        ("before rounding", f"{charge['exact_amount']} {charge['currency']}" if charge["exact_amount"] else ""),
        ("service", f"{charge['date_from']} to {charge['date_to']} (last second included)"),
        ("subscription", charge["subscription_id"]),
        ("bill", charge["bill_id"]),
    ]
    for line in charge["bill_lines"]:
        what = f"{line['line_item_type']} {line['aggregation_code'] or line['product_code'] or line['description']}"
        rows.append(("bill line", f"{line['id']}: {what}, {line['units']} {line['unit']} = {line['amount']}"))
    rows += [
        ("rule", charge["rule"]),
        ("reason", charge["reason"] or "unknown"),
        ("approved", _approved(charge["approved"])),
        ("decided by", _run_words(charge["decided_by"])),
        ("sent by", _run_words(charge["run"])),
        ("staging file", (charge["decided_by"] or {}).get("staging") or ""),
        ("not known", charge["missing"] or ""),
    ]
    return [(name, value) for name, value in rows if value]
