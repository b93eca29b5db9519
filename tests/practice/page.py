"""The page of all cases: your set-up, what happens, the settings that matter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.practice.case import Case, cases

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "practice.md"
CHAPTERS = (
    "Subscriptions as they live",
    "Plans and accounts that were there before",
    "Bills as months bring them",
    "Invoices as finance has them",
    "Corrections",
    "Lines that belong to the bill",
    "People in the loop",
)


def written() -> str:
    """The whole page."""
    every = cases()
    lines = [
        "# The book of practice",
        "",
        "Set-ups that companies with Chargebee and m3ter have, what happens in them, and the settings that matter.",
        "Each is a file in `tests/practice`, played on the sandbox of both vendors, by schedule and by webhook, every",
        "run twice: the second writes nothing. `make practice` writes this page from those files.",
        "",
        *_contents(every),
    ]
    for chapter in CHAPTERS:
        lines += ["", f"## {chapter}"]
        for case in of_chapter(every, chapter):
            lines += ["", *_case(case)]
    return "\n".join(lines) + "\n"


def of_chapter(every: list[Case], chapter: str) -> list[Case]:
    """The chapter's cases, by file name, which puts what is alike side by side."""
    return [one for one in every if one.told["chapter"] == chapter]


def _contents(every: list[Case]) -> Iterator[str]:
    for chapter in CHAPTERS:
        yield f"- [{chapter}](#{_anchor(chapter)})"
        for case in of_chapter(every, chapter):
            yield f"  - [{case.told['title']}](#{_anchor(case.told['title'])})"


def _anchor(title: str) -> str:
    kept = "".join(one for one in title.lower() if one.isalnum() or one in " -_")
    return kept.replace(" ", "-")


def _case(case: Case) -> Iterator[str]:
    yield f"### {case.told['title']}"
    yield ""
    yield f"**Your set-up.** {_flat(case.told['set_up'])}"
    yield ""
    if settings := case.part("settings"):
        yield "**With** " + ", ".join(f"`{name}={value}`" for name, value in settings.items()) + "."
        yield ""
    yield "**What happens.**"
    yield ""
    for step in case.steps:
        yield f"- *{step.when}*: {_flat(step.words)}"
    yield ""
    yield from _end(case.part("in_the_end"))
    if settings := case.part("settings_that_matter"):
        yield ""
        yield "**Settings that matter.** " + " · ".join(f"`{name}`: {_flat(said)}" for name, said in settings.items())
    wrong = {way: said for way in ("schedule", "webhook") if (said := case.goes_wrong_today(way))}
    for way, said in wrong.items() if len(set(wrong.values())) == len(wrong) else [("", wrong["schedule"])]:
        yield ""
        yield f"> **Goes wrong today{way and ' by ' + way}.** {_flat(said)}"
    yield ""
    yield f"Played: [`{case.name}.yaml`](../../tests/practice/{case.name}.yaml)"


def _end(end: dict[str, Any]) -> Iterator[str]:
    yield "**In the end.**"
    yield ""
    plans = end.get("account_plans") or []
    for row in plans if isinstance(plans, list) else [f"{plans} account plans"]:
        yield f"- m3ter: {row}"
    for invoice, lines in (end.get("invoices") or {}).items():
        yield f"- Chargebee: {invoice}: " + "; ".join(lines)
    for name in ("unbilled", "credits"):
        for row in end.get(name) or ():
            yield f"- Chargebee: {'unbilled, ' if name == 'unbilled' else ''}{row}"
    yield f"- {_report(end.get('report') or {})}"


def _report(report: dict[str, Any]) -> str:
    if report.get("fails"):
        return f"The run stops with {' and '.join(report['fails'])}"
    parts = [f"exit code {report.get('exit_code', 0)}"]
    for name, word in (("set_aside", "set aside"), ("waiting", "waiting")):
        if report.get(name):
            parts.append(f"{word}: {'; '.join(report[name])}")
    if report.get("awaiting_approval"):
        parts.append(f"awaiting approval: {report['awaiting_approval']}")
    if len(parts) == 1:
        parts.append("nothing set aside, nothing waiting")
    return "The run: " + ", ".join(parts)


def _flat(text: Any) -> str:
    return " ".join(str(text).split())
