"""What a comparison of both sides found, for people and scripts: the JSON report and the summary artifact."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from meterbridge.ledger import runs
from meterbridge.rules.naming import in_words as in_plain_words
from meterbridge.rules.naming import parts_of
from meterbridge.rules.outcome import Concern, Outcome, count_of, with_money
from tasks.engine import task
from tasks.publish import show
from tasks.report import SHOWN_ROWS, RunReport, money
from tasks.report_page import escaped, folded, folded_table, linked
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
    def concerns(self) -> list[Concern]:
        """Drift alone: what is known already was told by the run that set it aside or waits with it."""
        if not self.differences:
            return []
        return [Concern("Differences", with_money(count_of(self.differences, "difference"), _summed(self.drift)))]

    @property
    def outcome(self) -> Outcome:
        """Say if both sides agree, for how much they do not, and how much of that is known already."""
        known = with_money(f"{len(self.explained)} known already", _summed(self.explained)) if self.explained else ""
        if self.differences:
            words = [one.words for one in self.concerns]
            return Outcome("Differences", " · ".join([*words, known] if known else words))
        return Outcome("Completed", f"no difference but {known}" if known else "both sides agree")


def _summed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"amount": row["money"], "currency": row["currency"]} for row in rows]


@task(name="report differences")
def publish(run: Run, report: ReconcileReport) -> None:
    """Close the run in the ledger and show the differences in Prefect's UI."""
    work = services(run.run_id)
    counts = report.model_dump(mode="json", include={"extracted", "compared", "differences", "totals", "seconds"})
    with work.ledger.write() as tx:
        runs.close_run(tx, run.run_id, "done", counts, None)
        tx.commit()
    show(run, report, summary(report, work.settings.chargebee_site))
    logger.info("run done", extra={"run_id": run.run_id, "differences": report.differences})


def summary(report: ReconcileReport, site: str = "") -> str:
    """The comparison as Markdown, without personal data: ids and amounts only. ``site``: Chargebee's, for links."""
    looked = ", ".join(f"{count} {name}" for name, count in report.compared.items())
    ended = report.outcome
    lines = [f"# {ended.name}", "", ended.message, "", f"Both sides compared: {looked} · {report.seconds:.1f} s", ""]
    if report.totals:
        lines += ["| currency | bills want | charged or settled | difference |", "|---|---:|---:|---:|"]
        for currency, total in sorted(report.totals.items()):
            cells = [
                money({"amount": total[name], "currency": currency}) for name in ("wanted", "standing", "difference")
            ]
            lines.append(f"| {currency} | {' | '.join(cells)} |")
    lines += ["", "## What you should do", ""]
    if report.drift:
        lines += [
            f"{len(report.drift)} differ and nothing explains it. Look at each, then `meterbridge reconcile --repair`"
        ]
        lines += ["lets the syncs decide them anew; what somebody changed in m3ter by hand is undone then.", ""]
        lines += [f"- {line}" for line in _listed(report.drift, site)]
    else:
        lines.append("Nothing.")
    if report.explained:
        lines += folded("Known already: set aside, waiting or under way", _listed(report.explained))
    return "\n".join([*lines, *_bills(report)]) + "\n"


def _listed(rows: Sequence[Mapping[str, Any]], site: str | None = None) -> list[str]:
    """A difference on one line, in the order in which people ask: how much, what, which record, why.

    Plain text without a site; with one Markdown, ids as links.
    """
    lines = []
    for row in rows[:SHOWN_ROWS]:
        amount = money({"amount": row["money"], "currency": row["currency"]})
        kind = "charge" if row["currency"] else "account_plan"
        key = tuple(row["key"])
        named = in_plain_words(kind, key) if site is None else linked(parts_of(kind, key), site)
        what = f"{row['disagreement']} {row['what']}".strip()
        why = " ".join(str(row.get(name) or "") for name in ("why", "code", "message")).strip()
        found = f"wanted {side(row, 'wanted') or 'nothing'}, found {side(row, 'found') or 'nothing'}"
        told = [part for part in (amount, what, named, found, why) if part]
        lines.append(" · ".join(told if site is None else (escaped(part) for part in told)))
    more = len(rows) - SHOWN_ROWS
    return [*lines, f"{more} more are in the staging file."] if more > 0 else lines


def side(row: Mapping[str, Any], name: str) -> str:
    """Return one side's value, in major units with the currency where it begins with an amount."""
    text = str(row[name] or "")
    number, _, rest = text.partition(" ")
    if row["currency"] and number.lstrip("-").isdigit():
        text = f"{money({'amount': int(number), 'currency': row['currency']})} {rest}".strip()
    return text


def _bills(report: ReconcileReport) -> list[str]:
    odd = [row for row in report.bills if not row["equal"]]
    equal = len(report.bills) - len(odd)
    lines = ["", f"The charges of {equal} of {len(report.bills)} bills are their total to the minor unit."]
    if not odd:
        return lines
    table = [("bill", "total", "charged", "settled by hand", "difference", "why")]
    for row in odd[:SHOWN_ROWS]:
        total, charged, settled, apart = (
            money({"amount": row[name], "currency": row["currency"]})
            for name in ("total", "charged", "settled", "difference")
        )
        table.append((row["bill_id"], total, charged, settled, apart, row["why"] or ""))
    return [*lines, *folded_table(f"The other {len(odd)}, bill by bill", table)]
