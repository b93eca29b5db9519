"""What a shadow run found, for people and scripts: the JSON report and the artifact."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from meterbridge.ledger import runs
from meterbridge.rules.outcome import Concern, Outcome, count_of, outcome, with_money
from tasks.engine import task
from tasks.publish import show
from tasks.report import SHOWN_ROWS, RunReport, money
from tasks.runs import Run
from tasks.services import services

logger = logging.getLogger(__name__)


class ShadowReport(RunReport):
    """What we would charge beside what is there, as ``--json`` prints it. Amounts are minor units, found less wanted.

    ``native`` names m3ter's own integrations that are active meanwhile; ``unreadable``
    are bills that cannot be reckoned, with the reason code.
    """

    native: list[str] = Field(default_factory=list)
    bills: list[dict[str, Any]] = Field(default_factory=list)
    unreadable: list[dict[str, Any]] = Field(default_factory=list)
    totals: dict[str, dict[str, int]] = Field(default_factory=dict)

    @property
    def differences(self) -> int:
        """Bills that are not equal line by line, and those that cannot be reckoned."""
        return sum(not bill["equal"] for bill in self.bills) + len(self.unreadable)

    @property
    def concerns(self) -> list[Concern]:
        """Bills that differ: one equal line by line is what should be there, and nothing else counts here."""
        if not self.differences:
            return []
        apart = [
            {"amount": row["difference"], "currency": name} for name, row in self.totals.items() if row["difference"]
        ]
        words = f"{count_of(self.differences, 'bill')} of {len(self.bills) + len(self.unreadable)} differ"
        return [Concern("Differences", with_money(words, apart))]

    @property
    def done(self) -> str:
        """Return in words how much was compared; nothing is written."""
        return "" if self.differences else f"{count_of(len(self.bills), 'bill')} equal line by line"

    @property
    def outcome(self) -> Outcome:
        """How the comparison ended."""
        return outcome(self.done, self.concerns)


def odd_lines(report: ShadowReport) -> Iterator[Mapping[str, Any]]:
    """Every line that is not equal, with its bill."""
    for bill in report.bills:
        yield from ({**line, "bill_id": bill["bill_id"]} for line in bill["lines"] if line["verdict"] != "equal")


@task(name="report comparison")
def publish(run: Run, report: ShadowReport) -> None:
    """Close the run in the ledger and show the comparison in Prefect's UI."""
    counts = {"bills": len(report.bills), "differences": report.differences, "totals": report.totals}
    with services(run.run_id).ledger.write() as tx:
        runs.close_run(tx, run.run_id, "dry run", counts, None)
        tx.commit()
    show(run, report, summary(report))
    logger.info("compared", extra={"run_id": run.run_id, "count": len(report.bills), "differences": report.differences})


def summary(report: ShadowReport) -> str:
    """The comparison as Markdown, without personal data: ids and amounts only."""
    equal = len(report.bills) - sum(not bill["equal"] for bill in report.bills)
    ended = report.outcome
    lines = [f"# {ended.name}", "", ended.message, "", "What we would charge, and what is there.", ""]
    lines += [f"{equal} of {len(report.bills)} bills are equal line by line · nothing was written.", ""]
    if report.native:
        lines += [f"m3ter's own integration is active: {', '.join(report.native)}.", ""]
    lines += ["| currency | bills | we would charge | is there | difference |", "|---|---:|---:|---:|---:|"]
    for currency, total in report.totals.items():
        cells = [money({"amount": total[name], "currency": currency}) for name in ("wanted", "found", "difference")]
        lines.append(f"| {currency} | {total['bills']} | {' | '.join(cells)} |")
    odd = list(odd_lines(report))
    if odd:
        lines += ["", "## Lines that differ", "", "| bill | line | we would charge | is there | verdict | where |"]
        lines += ["|---|---|---:|---:|---|---|"]
    lines += [f"| {' | '.join(cells_of(line))} |" for line in odd[:SHOWN_ROWS]]
    for one in report.unreadable[:SHOWN_ROWS]:
        lines += ["", f"Bill `{one['bill_id']}` cannot be reckoned: {one['code']} {one['message']}"]
    return "\n".join(lines) + "\n"


def cells_of(line: Mapping[str, Any]) -> list[str]:
    """A line for people: bill, line, both amounts, verdict, where it is."""
    amounts = [money({"amount": line[name], "currency": line["currency"]}) for name in ("wanted", "found")]
    where = f"{line['invoice_id']} {line['line_id']}".strip()
    what = f"{line['subscription_id']}: {line['what']}".replace("|", "\\|")
    return [str(line["bill_id"]), what, *amounts, str(line["verdict"]), where]
