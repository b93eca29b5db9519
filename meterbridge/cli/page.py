"""The comparison of both sides as one page of HTML: everything in it, nothing fetched, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from meterbridge.cli import words
from meterbridge.rules.money import amount_text

if TYPE_CHECKING:
    from tasks.report_differences import ReconcileReport

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; margin: .5rem 0 2rem; width: 100% }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.differs { background: #fdecea }
caption { font-weight: 600; text-align: left; padding: .3rem 0 }
"""

AMOUNTS = ("total", "charged", "settled by hand", "difference")


def page(report: ReconcileReport, *, connection: str, at: str) -> str:
    """The whole page; ids and amounts, no names, no addresses.

    Args:
        at: When both sides were compared, as people read it.
    """
    equal = sum(bool(bill["equal"]) for bill in report.bills)
    parts = [
        f"<h1>Both sides compared: {escape(connection)}</h1>",
        f"<p>{escape(at)} · {report.differences} differences · the charges of {equal} of {len(report.bills)} bills are "
        "their total to the minor unit.</p>",
        _table("Per currency", ("currency", "bills want", "stands", "difference"), _totals(report), numbers=(1, 2, 3)),
        _table("Per bill", ("bill", "customer", "status", *AMOUNTS, "why"), _bills(report), numbers=(3, 4, 5, 6)),
        _table("Differences", ("what", "record", "money", "wanted", "found"), _drift(report), numbers=(2,)),
        _table("Known already", ("what", "record", "money", "why", "what to know"), _known(report), numbers=(2,)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Both sides compared</title>'
        f"<style>{STYLE}</style></head><body>\n" + "\n".join(part for part in parts if part) + "\n</body></html>\n"
    )


Row = tuple[bool, Sequence[str]]
"""A mark for rows that are to catch the eye, and the cells."""


def _table(caption: str, columns: Sequence[str], rows: Iterable[Row], *, numbers: Iterable[int]) -> str:
    right = set(numbers)
    body = [
        f"<tr{' class=differs' if odd else ''}>" + "".join(_cell(n, text, right) for n, text in enumerate(cells))
        for odd, cells in rows
    ]
    if not body:
        return ""
    head = "".join(f"<th{' class=number' if n in right else ''}>{escape(name)}" for n, name in enumerate(columns))
    return f"<table><caption>{escape(caption)}</caption><tr>{head}\n" + "\n".join(body) + "</table>"


def _cell(place: int, text: str, right: set[int]) -> str:
    return f"<td{' class=number' if place in right else ''}>{escape(text)}"


def _totals(report: ReconcileReport) -> Iterable[Row]:
    for currency, total in sorted(report.totals.items()):
        amounts = [amount_text(total[name], currency) for name in ("wanted", "standing", "difference")]
        yield total["difference"] != 0, (currency, *amounts)


def _bills(report: ReconcileReport) -> Iterable[Row]:
    for bill in report.bills:
        names = ("total", "charged", "settled", "difference")
        amounts = [amount_text(bill[name], bill["currency"]) for name in names]
        yield not bill["equal"], (bill["bill_id"], bill["customer_id"], bill["status"], *amounts, bill["why"])


def _drift(report: ReconcileReport) -> Iterable[Row]:
    for row in report.drift:
        what = f"{row['disagreement']} {row['what']}".strip()
        money = amount_text(row["money"], row["currency"])
        yield True, (what, words.key(tuple(row["key"])), money, row["wanted"] or "", row["found"] or "")


def _known(report: ReconcileReport) -> Iterable[Row]:
    for row in report.explained:
        what = f"{row['disagreement']} {row['what']}".strip()
        money, why = amount_text(row["money"], row["currency"]), f"{row['why']} {row['code']}".strip()
        yield False, (what, words.key(tuple(row["key"])), money, why, row["message"] or "")
