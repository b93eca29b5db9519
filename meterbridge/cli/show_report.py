"""A run's report for people: how it ended, for how much, what to do; then what it read and wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meterbridge.cli.show import console, folded, say, table, tell
from meterbridge.rules.naming import in_words as named

if TYPE_CHECKING:
    from tasks.advice import Advice, Record
    from tasks.report import RunReport

SHOWN_RECORDS = 20
SHOWN_BELOW = 5
SHOWN_WRITES = 50


def report_table(report: RunReport) -> None:
    """The whole report."""
    from tasks.report import money, travelling
    from tasks.unbilled_money import in_words as unbilled
    from tasks.waits import in_words

    tell(report.notices)
    answer(report)
    if report.site_time:
        say(travelling(report.site_time))
    if report.dry_run:
        _show_writes(report)
    for note in report.notes:
        say(note)
    _show_warnings(report)
    for row in report.unbilled:
        say(unbilled(row))
    if report.waiting:
        cells = [(money(r), named("charge", r["key"]), r["reason"]) for r in report.waiting]
        table("Waiting", ("amount", "record", "why"), cells, right=("amount",))
    _show_counts(report)
    say(in_words(report.waited, report.delivering))
    change_set = f"change set {report.change_set} · " if report.intended else ""  # of nothing there is no set
    say(f"{change_set}staging {report.staging} · {report.seconds:.1f} s")


def verdict(report: RunReport) -> None:
    """The first line of every answer: how the run ended. In colour on a terminal, unless NO_COLOR is set."""
    from rich.text import Text

    ended = report.outcome
    on = console()
    first, *more = folded(ended.sentence, on.width)
    colour = "bold green" if ended.name == "Completed" else "bold yellow"
    shown = Text("\n".join([first, *more]))
    shown.stylize(colour, 0, len(ended.name))
    on.print(shown, soft_wrap=True)


def answer(report: RunReport) -> None:
    """The first lines: the verdict, the money by currency, what to do."""
    from tasks.advice import advice

    verdict(report)
    _show_money(report)
    found = advice(report)
    if found:
        say("What to do")
    for one in found:
        _show_advice(one)


def _show_money(report: RunReport) -> None:
    from meterbridge.rules.outcome import grouped

    currencies = sorted({currency for own in report.money.values() for currency in own})
    rows = [
        (name.replace("_", " "), *(grouped(own.get(currency, "")) for currency in currencies))
        for name, own in report.money.items()
        if own
    ]
    if rows:
        table("Money", ("", *currencies), rows, right=currencies)


def _show_advice(one: Advice) -> None:
    say(f"- {one.what}" + (f" ({one.code})" if one.code else ""))
    if one.remedy:
        say(f"  → {one.remedy}")
    for record in one.records[:SHOWN_RECORDS]:
        say(f"    {_words(record)}: {record.message}")
        for below in record.below[:SHOWN_BELOW]:
            say(f"      waits for it: {_words(below)}")
        if len(record.below) > SHOWN_BELOW:
            say(f"      and {len(record.below) - SHOWN_BELOW} more wait for it")
    if len(one.records) > SHOWN_RECORDS:
        say(f"    {len(one.records) - SHOWN_RECORDS} more: --json, or `meterbridge quarantine list`")


def _words(record: Record) -> str:
    named_parts = ", ".join(f"{noun} {name}" for noun, name in record.parts)
    return ", ".join(part for part in (record.money, named_parts) if part)


def _show_writes(report: RunReport) -> None:
    """Show the writes of a dry run: money first, the largest first; how much in all, and where the rest is."""
    from meterbridge.staging.database import opened
    from tasks.report import money
    from tasks.review import moves_of, others_of, sums_of

    path = Path(report.staging)
    if not report.intended or path.suffix != ".duckdb" or not path.exists():
        return
    with opened(path) as file:
        moves = moves_of(file)
        others = others_of(file)
    if moves:
        rows = [(money({"amount": one.amount, "currency": one.currency}), *one.shown) for one in moves[:SHOWN_WRITES]]
        table("Would be charged", ("amount", "customer", "what", "invoice", "closes"), rows, right=("amount",))
    if others:
        table("Would be written", ("what", "record", "why"), others[:SHOWN_WRITES])
    say(f"In all: {sums_of(report, moves)}")
    if max(len(moves), len(others)) > SHOWN_WRITES:
        say(f"Of each the first {SHOWN_WRITES}; table out_intents of the staging file has every one")


def _show_warnings(report: RunReport) -> None:
    for row in report.warnings[:SHOWN_RECORDS]:
        say(f"warning: {named(row['kind'], row['key'])}: {row['warning']}")
    if len(report.warnings) > SHOWN_RECORDS:
        say(f"{len(report.warnings) - SHOWN_RECORDS} more warnings: --json")


def _show_counts(report: RunReport) -> None:
    from tasks.not_ours import in_words as not_ours

    title = f"{'Dry run of ' if report.dry_run else ''}{report.flow}"
    rows: list[tuple[str, str, object]] = [("read", name, count) for name, count in report.extracted.items()]
    rows += [("intended", name, count) for name, count in report.intended.items()]
    rows += [("written", name, count) for name, count in report.applied.items()]
    rows += [("unchanged", "", report.unchanged), ("out of scope", "", report.out_of_scope)]
    rows += [("waiting", "", len(report.waiting)), ("set aside", "", len(report.quarantined))]
    if report.seen_next_run:
        rows.append(("seen, next run", "subscriptions", report.seen_next_run))
    if report.held:
        rows.append(("held by another run", "", report.held))
    rows += [("not ours", "", words)] if (words := not_ours(report.not_ours)) else []
    rows += [("requests", name, count) for name, count in report.requests.items()]
    table(title, ("what", "of", "count"), rows, right=("count",))
