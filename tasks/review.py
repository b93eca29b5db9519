"""The change set as Markdown, to be reviewed: what is charged to whom for how much, on which invoice, until when."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meterbridge.rules.keys import key_from_text
from meterbridge.rules.kinds import moves_money
from meterbridge.rules.naming import in_words as named
from meterbridge.rules.outcome import with_money, writes
from meterbridge.rules.standing import is_unbilled
from meterbridge.staging.database import Staging
from tasks.report import SHOWN_ROWS, RunReport, money
from tasks.report_page import escaped, linked

_MARK = re.compile(r"\s*\[[^\[\]]*\]$")
"""Our reference at the end of a line's words: for machines."""


@dataclass(frozen=True, slots=True)
class Move:
    """A write that moves money, as a person judges it; ``amount`` in minor units."""

    customer_id: str
    what: str
    amount: int
    currency: str
    invoice_id: str
    closes_at: str
    why: str

    @property
    def shown(self) -> tuple[str, str, str, str]:
        """Customer, what, invoice and when that closes."""
        return self.customer_id, self.what, self.invoice_id, self.closes_at


def change_set_page(file: Staging, report: RunReport, site: str) -> str:
    """Money first, the largest first, with sums; what else is written by kind, mappings in one line."""
    moves = moves_of(file)
    title = "would be written" if report.dry_run else "was decided"
    name = f"Change set `{report.change_set}`: " if report.intended else ""  # of nothing there is no set
    lines = [f"# What {title}", "", f"{name}{sums_of(report, moves)}", ""]
    why = sorted({move.why for move in moves if move.why})
    lines += [line for one in why for line in (f"Awaits approval: {escaped(one)}", "")]
    if moves:
        lines += ["| amount | customer, invoice, when that closes | what |", "|---:|---|---|"]
        lines += [_row(move, site, why) for move in moves[:SHOWN_ROWS]]
    if len(moves) > SHOWN_ROWS:
        lines += ["", f"The first {SHOWN_ROWS} of {len(moves)}; the staging file has every row: `{report.staging}`"]
    return "\n".join([*lines, *_others(file, report)]) + "\n"


def sums_of(report: RunReport, moves: Iterable[Move]) -> str:
    """Return in words the change set's writes, and their money."""
    sums = [{"amount": move.amount, "currency": move.currency} for move in moves]
    return with_money(writes(report.intended) or "nothing", sums)


def moves_of(file: Staging) -> list[Move]:
    """Every write of the change set that moves money, by currency, the largest first."""
    query = "select * from out_intents where amount is not null order by rowid"
    rows = [row for row in file.rows(query) if moves_money(row["kind"], row["action"])]
    moves = _moves(file, rows) if rows else ()
    return sorted(moves, key=lambda move: (move.currency, -abs(move.amount), move.customer_id))


def _moves(file: Staging, rows: Iterable[Mapping[str, Any]]) -> Iterator[Move]:
    # Only a run of bills has them.
    there = {row["table_name"] for row in file.rows("select table_name from duckdb_tables()")}
    bills = file.rows("select id, customer_id from stg_bills") if "stg_bills" in there else ()
    customers = {row["id"]: row["customer_id"] for row in bills}
    drafts = file.rows("select * from map_deadlines") if "map_deadlines" in there else ()
    closings = {(row["bill_id"], row["subscription_id"]): (row["invoice_id"], row["closes_at"]) for row in drafts}
    products = _products(file) if "stg_bill_lines" in there else {}
    for row in rows:
        key, payload = key_from_text(row["key"]), json.loads(row["payload"])
        state = json.loads(row["state"])
        draft, closes = closings.get((key[0], key[1]), ("", ""))
        invoice = str(payload.get("invoice_id") or "")
        customer = state.get("customer_id") or customers.get(key[0]) or next(iter(payload.get("customers", ())), "")
        yield Move(
            customer_id=customer or "",
            what=_what(row, payload, products),
            amount=int(row["amount"]),
            currency=row["currency"] or "",
            invoice_id="" if is_unbilled(invoice) else invoice,
            closes_at=str(closes or "")[:16].replace("T", " ") if draft == invoice else "",
            why=row["proposed_words"] or "",
        )


def _products(file: Staging) -> dict[str, str]:
    """Names of products by bill line, as m3ter has them."""
    query = "select id, coalesce(product_name, product_code, description) as name from stg_bill_lines"
    return {row["id"]: row["name"] for row in file.rows(query)}


def _what(row: Mapping[str, Any], payload: Mapping[str, Any], products: Mapping[str, str]) -> str:
    """The words that the customer reads on the invoice; of a write without such words product and reason."""
    texts = [line["description"] for line in payload.get("lines", ())] or [payload.get("description") or ""]
    words = "; ".join(_MARK.sub("", text) for text in texts if text)
    if words:
        return words
    named = ", ".join(dict.fromkeys(products[one] for one in payload.get("line_ids", ()) if one in products))
    reason = str(row["reason"]).partition(" of bill ")[0]
    return f"{named}: {reason}" if named else reason


def _row(move: Move, site: str, why: Sequence[str]) -> str:
    """Ids below each other: the UI cuts off what stands to the right."""
    customer = linked([("customer", move.customer_id)], site).removeprefix("customer ")
    invoice = linked([("invoice", move.invoice_id)], site).removeprefix("invoice ") if move.invoice_id else ""
    closes = f"closes {move.closes_at}" if move.closes_at else ""
    place = "<br>".join(part for part in (customer, invoice, closes) if part)
    amount = money({"amount": move.amount, "currency": move.currency})
    held = f"<br>{escaped(move.why)}" if move.why and len(why) > 1 else ""
    return f"| {amount} | {place} | {escaped(move.what)}{held} |"


def others_of(file: Staging) -> list[tuple[str, str, str]]:
    """List the writes that move no money: action and kind, record, reason. Mappings follow from the rest."""
    return [
        (
            f"{row['action']} {row['kind'].replace('_', ' ')}",
            named(row["kind"], key_from_text(row["key"])),
            row["reason"],
        )
        for row in file.rows("select kind, key, action, reason from out_intents order by rowid")
        if row["kind"] != "external_mapping" and not moves_money(row["kind"], row["action"])
    ]


def _others(file: Staging, report: RunReport) -> list[str]:
    """Return lines on the writes that move no money: accounts and plans one by one, mappings counted."""
    shown, lines = others_of(file), []
    if shown:
        lines += ["", "| what | record | why |", "|---|---|---|"]
        lines += [f"| {' | '.join(map(escaped, row))} |" for row in shown[:SHOWN_ROWS]]
    if len(shown) > SHOWN_ROWS:
        lines += ["", f"The first {SHOWN_ROWS} of {len(shown)}; the staging file has every row: `{report.staging}`"]
    mappings = {name: count for name, count in report.intended.items() if name.startswith("external_mapping")}
    if mappings:
        lines += ["", f"And m3ter's notes of what stands where: {writes(mappings)}."]
    return lines
