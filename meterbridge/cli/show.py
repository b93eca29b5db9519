"""How commands show things: tables for people on a terminal, one JSON object for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from meterbridge.rules.keys import shown

if TYPE_CHECKING:
    from tasks.report import RunReport


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

PLAIN_WIDTH = 140
"""Columns where there is no terminal to ask, such as a CI log."""

_DONE = {
    "create": "created",
    "update": "updated",
    "adopt": "adopted",
    "replace": "replaced",
    "delete": "deleted",
}


def writes(counts: Mapping[str, int]) -> str:
    """What was written, in words: ``29 accounts created, 2 accounts adopted``."""
    words = []
    for name, count in counts.items():
        kind, _, action = name.partition(".")
        noun = kind.replace("_", " ") + ("" if count == 1 else "s")
        words.append(f"{count} {noun} {_DONE.get(action, action)}")
    return ", ".join(words) or "nothing"


def console() -> Console:
    """Where tables go; plain text when stdout is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def write(value: Any) -> None:
    """One JSON object on stdout, and nothing else."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """A table; columns named in ``right`` are aligned to the right. Text is shown as it is, never as markup."""
    shown = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        shown.add_column(column, justify="right" if column in set(right) else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_plain(cell) for cell in row))
    console().print(shown)


def _plain(cell: object) -> str:
    return str("" if cell is None else cell).replace("[", r"\[")


def tell(notices: Iterable[Mapping[str, str]]) -> None:
    """What everybody must know, before anything else."""
    for one in notices:
        console().print(f"{one['code']}: {one['message']}", markup=False)


def _asked(report: RunReport) -> None:
    from tasks.report import money

    asked = [
        (r["change_set"], r["count"], r["bills"], money(r), "; ".join(r["why"].values()))
        for r in report.awaiting_approval
    ]
    if asked:
        asking = ("change set", "writes", "bills", "total", "why")
        table("Awaiting approval (`meterbridge approve`)", asking, asked, right=("writes", "bills", "total"))


def report_table(report: RunReport) -> None:
    """A run's report for people."""
    from tasks.not_ours import in_words as not_ours
    from tasks.report import money, travelling
    from tasks.unbilled_money import in_words as unbilled
    from tasks.waits import in_words

    tell(report.notices)
    title = f"{'Dry run of ' if report.dry_run else ''}{report.flow}"
    rows: list[tuple[str, str, object]] = [("read", name, count) for name, count in report.extracted.items()]
    rows += [("intended", name, count) for name, count in report.intended.items()]
    rows += [("written", name, count) for name, count in report.applied.items()]
    rows += [("unchanged", "", report.unchanged), ("out of scope", "", report.out_of_scope)]
    rows += [("waiting", "", len(report.waiting)), ("quarantined", "", len(report.quarantined))]
    if report.seen_next_run:
        rows.append(("seen, next run", "subscriptions", report.seen_next_run))
    if report.held:
        rows.append(("held by another run", "", report.held))
    rows += [("not ours", "", words)] if (words := not_ours(report.not_ours)) else []
    rows += [("requests", name, count) for name, count in report.requests.items()]
    table(title, ("what", "of", "count"), rows, right=("count",))
    for note in report.notes:
        console().print(note, markup=False)
    for row in report.unbilled:
        console().print(unbilled(row), markup=False)
    if report.site_time:
        console().print(travelling(report.site_time), markup=False)
    if report.closing_soon:
        soon = [(r["closes_at"], shown(r["key"]), money(r), f"{r['state']} {r['code']}") for r in report.closing_soon]
        columns = ("closes", "record", "amount", "held")
        table("Drafts that close soon, without this money", columns, soon, right=("amount",))
    if report.waiting:
        cells = [(shown(r["key"]), money(r), r["reason"]) for r in report.waiting]
        table("Waiting", ("record", "amount", "why"), cells, right=("amount",))
    _asked(report)
    if report.quarantined:
        aside = [(r["code"], shown(r["key"]), money(r), r["message"]) for r in report.quarantined]
        table("Set aside", ("code", "record", "amount", "what to know"), aside, right=("amount",))
    console().print(in_words(report.waited, report.delivering), markup=False)
    console().print(f"change set {report.change_set} · staging {report.staging} · {report.seconds:.1f} s", markup=False)
