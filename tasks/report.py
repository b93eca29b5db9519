"""What a run did, for people and scripts: the JSON report, the summary artifact, the change-set artifact."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from pydantic import BaseModel, ConfigDict, Field

from meterbridge.ledger import bills, runs
from meterbridge.rules.keys import key_from_text, shown
from meterbridge.rules.money import amount_text
from meterbridge.staging.database import Staging, opened
from tasks.awaiting import announce, awaiting
from tasks.change_set import ChangeSet
from tasks.closing_soon import announce_closing, closing_soon
from tasks.deliver import Delivered
from tasks.engine import task
from tasks.ledger_trust import notices
from tasks.leftovers import left_behind
from tasks.not_ours import in_words as words_of
from tasks.not_ours import seen
from tasks.runs import Run
from tasks.services import Services, services
from tasks.unbilled_money import in_words as unbilled_words
from tasks.unbilled_money import unbilled_money
from tasks.waits import in_words, waited
from tasks.warned import Warned, warning_lines

logger = logging.getLogger(__name__)

SHOWN_ROWS = 200
"""Rows of the change set shown as an artifact; the staging file has all."""


class RunReport(BaseModel):
    """One run's outcome, as ``--json`` prints it. Amounts are minor units."""

    model_config = ConfigDict(frozen=True)

    flow: str
    flow_run_id: str
    dry_run: bool = False
    site_time: str | None = None
    extracted: dict[str, int] = Field(default_factory=dict)
    intended: dict[str, int] = Field(default_factory=dict)
    applied: dict[str, int] = Field(default_factory=dict)
    unchanged: int = 0
    out_of_scope: int = 0
    not_ours: list[dict[str, Any]] = Field(default_factory=list)
    unbilled: list[dict[str, Any]] = Field(default_factory=list)
    waiting: list[dict[str, Any]] = Field(default_factory=list)
    awaiting_approval: list[dict[str, Any]] = Field(default_factory=list)
    closing_soon: list[dict[str, Any]] = Field(default_factory=list)
    held: int = 0
    notes: list[str] = Field(default_factory=list)
    warnings: list[dict[str, Any]] = Field(default_factory=list)
    quarantined: list[dict[str, Any]] = Field(default_factory=list)
    recovered: int = 0
    missing: int = 0
    seen_next_run: int = 0
    requests: dict[str, int] = Field(default_factory=dict)
    throttled: int = 0
    seconds: float = 0.0
    waited: dict[str, float] = Field(default_factory=dict)
    delivering: dict[str, float] = Field(default_factory=dict)
    change_set: str = ""
    staging: str = ""
    notices: list[dict[str, str]] = Field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 done; 3 done, but something was set aside, is held, overdue or missing."""
        overdue = any(row.get("overdue") for row in self.waiting)
        return 3 if self.quarantined or self.held or self.missing or overdue else 0

    @property
    def writes(self) -> int:
        """Writes that were applied at a vendor in this run."""
        return sum(self.applied.values())


SET_ASIDE = "select * from out_set_aside where decision in ('quarantined', 'waiting') order by rowid"


def build(
    run: Run,
    change_set: ChangeSet,
    *,
    delivered: Delivered | None = None,
    recovered: tuple[int, int] = (0, 0),
) -> RunReport:
    """Gather the run's outcome from the staging file and the ledger."""
    work = services(run.run_id)
    with opened(run.path) as file:
        told = Warned.read(file)
        aside, soon = list(file.rows(SET_ASIDE)), list(closing_soon(work, run, file))
        more = {"extracted": _extracted(file), **_of_bills(work, run, file)}
    done = delivered or Delivered()
    return RunReport(
        flow=run.flow,
        flow_run_id=run.flow_run_id,
        dry_run=run.request.dry_run,
        site_time=run.site.shown,
        intended=change_set.intended,
        applied=dict(sorted(done.applied.items())),
        unchanged=change_set.unchanged,
        out_of_scope=change_set.out_of_scope,
        waiting=_waiting(work, aside, run),
        closing_soon=soon,
        awaiting_approval=awaiting(run, change_set.proposal),
        held=done.held,
        **told.shown(done.notes),
        quarantined=[*_quarantined(aside), *done.refused],
        recovered=recovered[0],
        missing=recovered[1],
        seen_next_run=change_set.next_run,
        requests=work.requests(),
        throttled=work.throttled(),
        seconds=round(work.clock.epoch() - run.started_at, 3),
        waited=waited(work) | ({"other_runs": round(delivered.waited_for_others, 3)} if delivered else {}),
        delivering=delivered.pace.shown(work) if delivered else {},
        change_set=change_set.hash,
        staging=str(left_behind(run)),
        notices=notices(work.settings, work.ledger),
        **more,
    )


def _of_bills(work: Services, run: Run, file: Staging) -> dict[str, list[dict[str, Any]]]:
    """Money that stands off the invoices, or is none of ours: what earlier runs found, too."""
    if run.flow != "sync_bills":
        return {}
    with work.ledger.read() as rx:
        return {"not_ours": seen(rx, file), "unbilled": unbilled_money(rx, run.started_at)}


def _extracted(file: Staging) -> dict[str, int]:
    tables = {
        "customers": "raw_chargebee__customers",
        "subscriptions": "raw_chargebee__subscriptions",
        "events": "raw_chargebee__events",
        "invoices": "raw_chargebee__invoices",
        "bills": "raw_m3ter__bills",
        "accounts": "raw_m3ter__accounts",
    }
    counted = {name: file.count(table) for name, table in tables.items()}
    return {name: count for name, count in counted.items() if count}


def _quarantined(aside: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "key": list(key_from_text(row["key"])),
            "kind": row["kind"],
            "code": row["code"],
            "message": row["message"],
            **_money(row),
        }
        for row in aside
        if row["decision"] == "quarantined"
    ]


def _money(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["amount"] is None:
        return {}
    return {"amount": int(row["amount"]), "currency": row["currency"]}


def _waiting(work: Services, aside: list[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    with work.ledger.read() as rx:
        since = {(p.bill_id, p.subscription_id): p.since for p in bills.portions(rx) if p.state == "waiting"}
    rows = []
    for row in aside:
        if row["decision"] == "waiting":
            key = key_from_text(row["key"])
            first = since.get((key[0], key[1])) if len(key) > 1 else None
            days = None if first is None else round((run.started_at - first) / 86_400, 1)
            overdue = days is not None and days > work.settings.max_wait_days
            shown = {"key": list(key), "reason": row["message"], **_money(row), "until": row["until"]}
            rows.append({**shown, "age_days": days or 0.0, "overdue": overdue})
    return rows


@task(name="report")
def publish(run: Run, report: RunReport) -> RunReport:
    """Close the run in the ledger and show its summary and change set in Prefect's UI; returns the report."""
    work = services(run.run_id)
    counts = report.model_dump(
        mode="json",
        include={
            "extracted",
            "intended",
            "applied",
            "unchanged",
            "awaiting_approval",
            "missing",
            "requests",
            "seconds",
        },
    ) | {"set_aside": len(report.quarantined)}
    state = "dry run" if report.dry_run else "done"
    with work.ledger.write() as tx:
        runs.close_run(tx, run.run_id, state, counts, report.change_set)
        tx.commit()
    if FlowRunContext.get() is not None:
        name = f"{run.flow}-{run.connection}".replace("_", "-")
        create_markdown_artifact(summary(report, _sums(run)), key=f"{name}-report", description=f"What {run.flow} did.")
        create_table_artifact(_table(run), key=f"{name}-change-set", description=_caption(report))
        if report.closing_soon:
            announce_closing(run, report.closing_soon)
        if report.awaiting_approval:
            announce(run, report.awaiting_approval)
    logger.info("run done", extra={"run_id": run.run_id, "writes": report.writes, "seconds": report.seconds})
    return report


def _sums(run: Run) -> dict[str, str]:
    """What the change set charges or credits, per kind and currency, as people write it."""
    query = (
        "select kind, currency, sum(amount::HUGEINT)::VARCHAR as amount from out_intents "
        "where amount is not null and currency is not null group by all order by all"
    )
    with opened(run.path) as file:
        return {f"{row['kind']} in {row['currency']}": money(row) for row in file.rows(query)}


def summary(report: RunReport, sums: Mapping[str, str] = MappingProxyType({})) -> str:
    """The report as Markdown, without personal data: ids, counts and sums only."""
    word = "Dry run" if report.dry_run else "Run"
    travels = [travelling(report.site_time), ""] if report.site_time else []
    told = [line for one in report.notices for line in (f"**{one['code']}** {one['message']}", "")]
    lines = [f"# {word} of {report.flow}", "", *told, f"Change set `{report.change_set}` · {report.seconds:.1f} s", ""]
    lines += [*travels, in_words(report.waited, report.delivering), "", "| | |", "|---|---:|"]
    for title, counts in (("read", report.extracted), ("intended", report.intended), ("applied", report.applied)):
        lines += [f"| {title} {name} | {count} |" for name, count in counts.items()]
    lines += [f"| intended {name} | {amount} |" for name, amount in sums.items()]
    lines += [
        f"| unchanged | {report.unchanged} |",
        f"| out of scope | {report.out_of_scope} |",
        *([f"| not ours | {words_of(report.not_ours)} |"] if report.not_ours else []),
        f"| waiting | {len(report.waiting)} |",
        f"| awaiting approval | {sum(row['count'] for row in report.awaiting_approval)} |",
        f"| quarantined | {len(report.quarantined)} |",
        f"| held by another run | {report.held} |",
        f"| seen, next run | {report.seen_next_run} |",
    ]
    if report.notes:
        lines += ["", "## To know", "", *(f"- {note}" for note in report.notes[:SHOWN_ROWS])]
    lines += warning_lines(report.warnings[:SHOWN_ROWS], len(report.warnings))
    if report.unbilled:
        lines += ["", "## Unbilled", "", *(f"- {unbilled_words(row)}" for row in report.unbilled[:SHOWN_ROWS])]
    lines += _closing(report)
    if report.quarantined:
        lines += ["", "## Set aside", "", "| code | record | what to know |", "|---|---|---|"]
        for row in report.quarantined[:SHOWN_ROWS]:
            lines.append(f"| {row['code']} | `{shown(row['key'])}` | {_cell(row['message'])} |")
    if report.awaiting_approval:
        lines += ["", "## Awaiting approval", "", "| change set | writes | total | why |", "|---|---:|---:|---|"]
        for row in report.awaiting_approval:
            why = _cell("; ".join(row["why"].values()))
            lines.append(f"| `{row['change_set']}` | {row['count']} | {money(row)} | {why} |")
    if report.waiting:
        lines += ["", "## Waiting", "", "| amount | record | why |", "|---:|---|---|"]
        for row in report.waiting[:SHOWN_ROWS]:
            lines.append(f"| {money(row)} | `{shown(row['key'])}` | {_cell(row['reason'])} |")
    return "\n".join(lines) + "\n"


def _closing(report: RunReport) -> list[str]:
    if not report.closing_soon:
        return []
    lines = ["", "## Drafts that close soon, without this money", "", "| closes | amount | record | what holds it |"]
    lines += ["|---|---:|---|---|"]
    for row in report.closing_soon[:SHOWN_ROWS]:
        held = f"{row['state']} {row['code']}".strip()
        lines.append(f"| {row['closes_at']} | {money(row)} | `{shown(row['key'])}` | {held} |")
    return lines


def travelling(site_time: str) -> str:
    """What a run says of a site that is in another time."""
    return f"The Chargebee site travels with Time Machine: it is {site_time} there."


def money(row: Mapping[str, Any]) -> str:
    """A row's ``amount`` in minor units with its ``currency``, as people write it; empty without one."""
    return amount_text(None if row.get("amount") is None else int(row["amount"]), row.get("currency"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(run: Run) -> list[dict[str, Any]]:
    with opened(run.path) as file:
        rows = file.rows(f"select * from out_intents order by rowid limit {SHOWN_ROWS}")
        return [
            {
                # In the order in which people read; the UI cuts off what stands to the right.
                "action": f"{row['action']} {row['kind']}",
                "amount": money(row),
                "reason": row["reason"],
                "awaits approval": row["proposed_words"] or "",
                "warnings": "; ".join(json.loads(row["warnings"])),
                "key": shown(key_from_text(row["key"])),
            }
            for row in rows
        ]


def _caption(report: RunReport) -> str:
    total = sum(report.intended.values())
    shown = f"the first {SHOWN_ROWS} of {total}" if total > SHOWN_ROWS else f"all {total}"
    return (
        f"Change set `{report.change_set}`: {shown} intended writes; the staging file has every row: `{report.staging}`"
    )
