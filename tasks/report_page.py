"""A run's report as Markdown for Prefect's UI: how it ended, for how much, what to do; everything else folded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from meterbridge.rules.naming import Parts
from meterbridge.rules.naming import in_words as named
from meterbridge.rules.outcome import count_of, grouped
from tasks.advice import Advice, Record, advice
from tasks.not_ours import in_words as strangers
from tasks.report import MONEY_NAMES, SHOWN_ROWS, RunReport, money, travelling
from tasks.unbilled_money import in_words as unbilled_words
from tasks.waits import in_words
from tasks.warned import warning_lines

SHOWN_RECORDS = 10
"""Records of one reason that are shown unfolded."""


_CONSOLE = {"customer": "customers", "subscription": "subscriptions", "invoice": "invoices"}
"""Pages of Chargebee's console (chargebee.com/docs, "construct the admin console URL", November 2026)."""


def summary(report: RunReport, site: str = "") -> str:
    """The report without personal data: ids, counts and sums only. ``site``: Chargebee's, for links to its console."""
    word = "Dry run" if report.dry_run else "Run"
    ended = report.outcome
    lines = [f"# {ended.name}", "", ended.message, "", f"{word} of {report.flow} · {report.seconds:.1f} s", ""]
    lines += [line for one in report.notices for line in (f"**{one['code']}** {one['message']}", "")]
    lines += [travelling(report.site_time), ""] if report.site_time else []
    lines += [*money_table(report.money), *to_do(advice(report), site)]
    if report.notes:
        lines += ["", "## To know", "", *(f"- {escaped(note)}" for note in report.notes[:SHOWN_ROWS])]
    lines += warning_lines(report.warnings[:SHOWN_ROWS], len(report.warnings))
    if report.unbilled:
        lines += ["", "## Unbilled", "", *(f"- {unbilled_words(row)}" for row in report.unbilled[:SHOWN_ROWS])]
    lines += _waiting(report.waiting)
    return "\n".join([*lines, *_counters(report)]) + "\n"


def money_table(sums: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Money by currency, a row for each thing that became of it; nothing where there is none."""
    currencies = sorted({currency for own in sums.values() for currency in own})
    if not currencies:
        return []
    lines = [f"| money | {' | '.join(currencies)} |", f"|---|{'---:|' * len(currencies)}"]
    for name in MONEY_NAMES:
        if sums.get(name):
            cells = [grouped(sums[name].get(currency, "")) for currency in currencies]
            lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return [*lines, ""]


def to_do(found: Sequence[Advice], site: str) -> list[str]:
    """Return the section of things to do as Markdown; each with what helps and the records it is about."""
    lines = ["## What you should do", ""]
    if not found:
        return [*lines, "Nothing."]
    for one in found:
        code = f" ({one.code})" if one.code else ""
        lines += [f"- **{escaped(one.what)}**{code} {escaped(one.remedy)}".rstrip()]
        for record in one.records[:SHOWN_RECORDS]:
            lines.append(f"    - {line_of(record, site)}")
            lines += [f"        - waits for it: {line_of(below, site)}" for below in record.below[:SHOWN_RECORDS]]
            if len(record.below) > SHOWN_RECORDS:
                lines.append(f"        - and {len(record.below) - SHOWN_RECORDS} more wait for it")
        if len(one.records) > SHOWN_RECORDS:
            lines.append(
                f"    - {len(one.records) - SHOWN_RECORDS} more: `meterbridge status`, `meterbridge quarantine list`"
            )
    return lines


def line_of(record: Record, site: str) -> str:
    """A record on one line: money first, ids as links where Chargebee's console has a page."""
    told = ", ".join(part for part in (record.money, linked(record.parts, site)) if part)
    return f"{told}: {escaped(record.message)}" if record.message else told


def linked(parts: Parts, site: str) -> str:
    """A record's ids with their nouns."""
    words = []
    for noun, name in parts:
        address = console_address(site, noun, name)
        words.append(f"{noun} [{name}]({address})" if address else f"{noun} `{name}`")
    return ", ".join(words)


def console_address(site: str, noun: str, name: str) -> str:
    """Return a record's address in Chargebee's console; empty where it has no page, or the site is not known.

    >>> console_address("acme-test", "customer", "c/1")
    'https://acme-test.chargebee.com/admin-console/customers/c%2F1'
    """
    page = _CONSOLE.get(noun)
    return f"https://{site}.chargebee.com/admin-console/{page}/{quote(name, safe='')}" if page and site and name else ""


def folded(title: str, items: Iterable[str]) -> list[str]:
    """A list of plain lines that a reader opens when wanted.

    One block of HTML without an empty line, at which Prefect's UI would end it; it drops links there.
    """
    inside = "".join(f"<li>{escape(item)}</li>" for item in items)
    return ["", f"<details><summary>{escape(title)}</summary><ul>{inside}</ul></details>"]


def folded_table(title: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """A table that a reader opens when wanted."""
    inside = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return ["", f"<details><summary>{escape(title)}</summary><table>{inside}</table></details>"]


def escaped(text: str) -> str:
    """Text that stands in a table or a list as it is."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _waiting(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [f"{money(row)}, {named('charge', row['key'])}: {row['reason']}" for row in rows[:SHOWN_ROWS]]
    return folded(f"{count_of(len(rows), 'record')} waiting for their invoice", lines)


def _counters(report: RunReport) -> list[str]:
    rows = [
        (f"{title} {name}", str(count))
        for title, counts in (("read", report.extracted), ("intended", report.intended), ("applied", report.applied))
        for name, count in counts.items()
    ]
    counts = {
        "unchanged": report.unchanged,
        "out of scope": report.out_of_scope,
        "waiting": len(report.waiting),
        "awaiting approval": sum(row["count"] for row in report.awaiting_approval),
        "set aside": len(report.quarantined),
        "held by another run": report.held,
        "seen, next run": report.seen_next_run,
    }
    rows += [(name, str(count)) for name, count in counts.items()]
    rows += [("not ours", words)] if (words := strangers(report.not_ours)) else []
    rows += [("waits", in_words(report.waited, report.delivering))]
    names = {"change set": report.change_set, "run": report.flow_run_id, "staging file": report.staging}
    rows += [(name, value) for name, value in names.items() if value]
    return folded_table("Counters, requests and waits", rows)
