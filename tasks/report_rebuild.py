"""What a rebuild took over and what it has to ask, for people and scripts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from meterbridge.ledger import runs
from meterbridge.rules.money import amount_text
from meterbridge.rules.outcome import Outcome, amounts, count_of, in_words, outcome
from tasks.engine import task
from tasks.ledger_trust import notices
from tasks.publish import show
from tasks.rebuild import Rebuilt
from tasks.report import RunReport
from tasks.runs import Run
from tasks.services import services

logger = logging.getLogger(__name__)


class RebuildReport(RunReport):
    """What a rebuild did, as ``--json`` prints it. Amounts are minor units.

    ``taken_over`` counts by kind; ``charges`` are the lines that the ledger did not know. ``in_doubt`` are bills of
    which more is wanted than stands: their charges are proposed until a person answers. ``missing_runs`` are those
    that the ledger lacked, ``kept`` counts persons' decisions that it has, ``questions`` says what only people know.
    """

    taken_over: dict[str, int] = Field(default_factory=dict)
    charges: list[dict[str, Any]] = Field(default_factory=list)
    in_doubt: list[dict[str, Any]] = Field(default_factory=list)
    missing_runs: list[str] = Field(default_factory=list)
    kept: dict[str, int] = Field(default_factory=dict)
    questions: list[str] = Field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """Return in words the records that the ledger took over; neither vendor is written to."""
        taken = ", ".join(count_of(count, name.replace("_", " ")) for name, count in self.taken_over.items())
        more = in_words(amounts(self.in_doubt))
        verb = "would take over" if self.dry_run else "took over"
        return outcome(f"{verb} {taken or 'nothing'}{f'; in doubt: {more}' if more else ''}", self.concerns)


@task(name="report rebuild")
def report_rebuild(run: Run, accounts: Mapping[str, int], found: Rebuilt, *, dry_run: bool) -> RebuildReport:
    """Close the run in the ledger; returns the report."""
    work = services(run.run_id)
    taken = Counter(accounts) + Counter(found.counts) + Counter(charge=len(found.charges))
    report = RebuildReport(
        flow=run.flow,
        flow_run_id=run.run_id,
        dry_run=dry_run,
        taken_over=dict(sorted(taken.items())),
        charges=found.charges,
        in_doubt=found.doubted,
        missing_runs=list(found.missing),
        kept=found.decided,
        questions=_questions(found),
        quarantined=[{"kind": "charge", **row} for row in found.aside],
        requests=work.requests(),
        throttled=work.throttled(),
        notices=notices(work.settings, work.ledger),
        seconds=round(work.clock.epoch() - run.started_at, 3),
        staging=run.staging,
    )
    counts = report.model_dump(mode="json", include={"taken_over", "requests", "seconds"})
    with work.ledger.write() as tx:
        runs.close_run(tx, run.run_id, "dry run" if dry_run else "done", counts, None)
        tx.commit()
    show(run, report, summary(report))
    return report


def _questions(found: Rebuilt) -> list[str]:
    asked = ["What people dismissed, undid, settled or approved since the backup is lost: say it again if it counts."]
    if found.doubted:
        sums: Counter[str] = Counter()
        for row in found.doubted:
            sums[row["currency"]] += row["amount"]
        money = ", ".join(amount_text(amount, currency) for currency, amount in sorted(sums.items()))
        asked.append(
            f"{len(found.doubted)} bills want {money} more than stands. The next `meterbridge sync bills` proposes it: "
            "`meterbridge approve HASH` charges it, `meterbridge bills mark-invoiced ID` settles a bill without that."
        )
    if found.strange:
        asked.append(
            f"Credits {', '.join(found.strange)} carry a reference of ours, and no bill claims them: look at them in "
            "Chargebee."
        )
    if found.aside:
        asked.append(f"{len(found.aside)} portions are set aside: `meterbridge quarantine list` after the next run.")
    return asked


def summary(report: RebuildReport) -> str:
    """The report as Markdown: ids, counts and amounts only."""
    title = "Dry run of a rebuild of the ledger" if report.dry_run else "The ledger was rebuilt"
    ended = report.outcome
    lines = [f"# {ended.name}", "", ended.message, "", title, "", "| taken over | |", "|---|---:|"]
    lines += [f"| {name} | {count} |" for name, count in report.taken_over.items()]
    lines += [f"| runs that the ledger lacked | {len(report.missing_runs)} |", "", *report.questions, ""]
    if report.in_doubt:
        lines += ["| bill | more than stands |", "|---|---:|"]
        lines += [f"| `{one['bill_id']}` | {amount_text(one['amount'], one['currency'])} |" for one in report.in_doubt]
    return "\n".join(lines) + "\n"
