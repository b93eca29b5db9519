"""How commands show things: tables for people on a terminal, one JSON object for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from meterbridge.rules.keys import shown

if TYPE_CHECKING:
    from tasks.report import RunReport


def console() -> Console:
    """Where tables go; plain text when stdout is no terminal."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


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


def report_table(report: RunReport) -> None:
    """A run's report for people."""
    from tasks.report import money

    title = f"{'Dry run of ' if report.dry_run else ''}{report.flow}"
    rows: list[tuple[str, str, object]] = [("read", name, count) for name, count in report.extracted.items()]
    rows += [("intended", name, count) for name, count in report.intended.items()]
    rows += [("written", name, count) for name, count in report.applied.items()]
    rows += [("unchanged", "", report.unchanged), ("out of scope", "", report.out_of_scope)]
    rows += [("waiting", "", len(report.waiting)), ("quarantined", "", len(report.quarantined))]
    if report.held:
        rows.append(("held by another run", "", report.held))
    rows += [("requests", name, count) for name, count in report.requests.items()]
    table(title, ("what", "of", "count"), rows, right=("count",))
    if report.waiting:
        cells = [(shown(r["key"]), money(r), r["reason"]) for r in report.waiting]
        table("Waiting", ("record", "amount", "why"), cells, right=("amount",))
    if report.quarantined:
        aside = [(r["code"], shown(r["key"]), money(r), r["message"]) for r in report.quarantined]
        table("Set aside", ("code", "record", "amount", "what to know"), aside, right=("amount",))
    console().print(f"change set {report.change_set} · staging {report.staging} · {report.seconds:.1f} s", markup=False)
