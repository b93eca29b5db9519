"""What a comparison of both sides found, for people and scripts: the JSON report and the summary artifact."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext
from pydantic import Field

from meterbridge.ledger import runs
from tasks.engine import task
from tasks.report import SHOWN_ROWS, RunReport, money
from tasks.runs import Run
from tasks.services import services

logger = logging.getLogger(__name__)


class ReconcileReport(RunReport):
    """What a comparison found, as ``--json`` prints it. Amounts are minor units, standing less wanted.

    ``differences`` counts drift alone; ``explained`` are set aside, waiting or under way, and known. ``repaired``
    says what the syncs were asked, and wrote, before this comparison; empty where nothing was.
    """

    differences: int = 0
    drift: list[dict[str, Any]] = Field(default_factory=list)
    explained: list[dict[str, Any]] = Field(default_factory=list)
    totals: dict[str, dict[str, int]] = Field(default_factory=dict)
    compared: dict[str, int] = Field(default_factory=dict)
    bills: list[dict[str, Any]] = Field(default_factory=list)
    repaired: dict[str, Any] = Field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 both sides agree, or differ only where it is known why; 3 drift was found."""
        return 3 if self.differences else 0


@task(name="report differences")
def publish(run: Run, report: ReconcileReport) -> None:
    """Close the run in the ledger and show the differences in Prefect's UI."""
    work = services(run.run_id)
    counts = report.model_dump(mode="json", include={"extracted", "compared", "differences", "totals", "seconds"})
    with work.ledger.write() as tx:
        runs.close_run(tx, run.run_id, "done", counts, None)
        tx.commit()
    if FlowRunContext.get() is not None:
        create_markdown_artifact(
            summary(report),
            key=f"reconcile-{run.connection}-report".replace("_", "-"),
            description="Both sides compared.",
        )
    logger.info("run done", extra={"run_id": run.run_id, "differences": report.differences})


def summary(report: ReconcileReport) -> str:
    """The comparison as Markdown, without personal data: ids and amounts only."""
    looked = ", ".join(f"{count} {name}" for name, count in report.compared.items())
    lines = ["# Both sides compared", "", f"{report.differences} differences in {looked} · {report.seconds:.1f} s", ""]
    if report.totals:
        lines += ["| currency | bills want | charged or settled | difference |", "|---|---:|---:|---:|"]
        for currency, total in sorted(report.totals.items()):
            cells = [
                money({"amount": total[name], "currency": currency}) for name in ("wanted", "standing", "difference")
            ]
            lines.append(f"| {currency} | {' | '.join(cells)} |")
    lines += _bills(report)
    lines += _section("Differences", report.drift)
    lines += _section("Known already: set aside, waiting or under way", report.explained)
    return "\n".join(lines) + "\n"


def _bills(report: ReconcileReport) -> list[str]:
    odd = [row for row in report.bills if not row["equal"]]
    equal = len(report.bills) - len(odd)
    lines = ["", f"The charges of {equal} of {len(report.bills)} bills are their total to the minor unit."]
    if odd:
        lines += [
            "",
            "| bill | total | charged | settled by hand | difference | why |",
            "|---|---:|---:|---:|---:|---|",
        ]
    for row in odd[:SHOWN_ROWS]:
        cells = [
            money({"amount": row[name], "currency": row["currency"]})
            for name in ("total", "charged", "settled", "difference")
        ]
        lines.append(f"| `{row['bill_id']}` | {' | '.join(cells)} | {_cell(row['why'])} |")
    return lines


def _section(title: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = ["", f"## {title}", "", "| what | record | money | wanted | found | why |", "|---|---|---:|---|---|---|"]
    for row in rows[:SHOWN_ROWS]:
        amount = money({"amount": row["money"], "currency": row["currency"]})
        why = " ".join(str(row.get(name) or "") for name in ("why", "code", "message")).strip()
        cells = [f"{row['disagreement']} {row['what']}".strip(), f"`{' / '.join(row['key'])}`", amount]
        lines.append(f"| {' | '.join(_cell(c) for c in (*cells, row['wanted'], row['found'], why))} |")
    more = len(rows) - SHOWN_ROWS
    return [*lines, "", f"{more} more are in the staging file."] if more > 0 else lines


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("\n", " ")
