"""Every bill's charges beside the lines on its customer's invoices, as ``out_shadow``. Calls no vendor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from meterbridge.errors import RecordRefused
from meterbridge.rules.bill_policy import BillPolicy
from meterbridge.rules.money import exponent
from meterbridge.rules.portions import Portion, reckon
from meterbridge.rules.records import BillCase, Decision
from meterbridge.rules.shadow import Compared, compare
from meterbridge.staging.database import opened
from tasks.bill_cases import case_of, decide_case
from tasks.decide_bills import broken_bills, policy_of
from tasks.engine import task
from tasks.extract_bills import shadow_since
from tasks.not_ours import sums_of
from tasks.report_shadow import ShadowReport
from tasks.runs import Run
from tasks.services import services

VERDICTS = ("equal", "different", "missing", "extra")


@task(name="compare with invoices")
def compare_with_invoices(run: Run, native: Sequence[str]) -> ShadowReport:
    """Reckon every approved bill as if nothing were known of it, and compare it with what is there."""
    work = services(run.run_id)
    policy = policy_of(work, run, shadow_since(work, run))
    now = datetime.fromtimestamp(run.started_at, UTC)
    reckoned: list[tuple[BillCase, list[Portion]]] = []
    strange: list[Decision] = []
    with opened(run.path) as file:
        file.clear("out_shadow")
        unreadable = [_unreadable(bill_id, "", "MB-RECORD", message) for bill_id, message in broken_bills(file)]
        if file.count("stg_bills"):
            for row in file.rows("select * from int_bills where status = 'APPROVED' order by bill_date, id"):
                case = case_of(row, now)
                if case.not_ours:
                    strange += decide_case(case, policy)
                    continue
                try:
                    reckoned.append((case, _portions(case, policy)))
                except RecordRefused as refusal:
                    unreadable.append(_unreadable(case.bill.id, case.bill.currency, refusal.code, refusal.message))
        rows = compare(reckoned)
        file.land_rows("out_shadow", (asdict(row) for row in rows))
        extracted = {"bills": file.count("raw_m3ter__bills"), "invoices": file.count("raw_chargebee__invoices")}
    bills = [_bill(case, rows_of) for case, rows_of in _by_bill([case for case, _ in reckoned], rows)]
    return ShadowReport(
        flow=run.flow,
        flow_run_id=run.flow_run_id,
        dry_run=True,
        extracted=extracted,
        requests=work.requests(),
        throttled=work.throttled(),
        seconds=round(work.clock.epoch() - run.started_at, 3),
        staging=run.staging,
        native=list(native),
        bills=bills,
        unreadable=unreadable,
        not_ours=sums_of(strange),
        totals=_totals(bills),
    )


def _unreadable(bill_id: str, currency: str, code: str, message: str) -> dict[str, Any]:
    return {"bill_id": bill_id, "currency": currency, "code": code, "message": message}


def _portions(case: BillCase, policy: BillPolicy) -> list[Portion]:
    return reckon(case, policy, exponent(case.bill.currency, three_decimal=policy.three_decimal))


def _by_bill(cases: Sequence[BillCase], rows: Sequence[Compared]) -> list[tuple[BillCase, list[Compared]]]:
    own: dict[str, list[Compared]] = defaultdict(list)
    for row in rows:
        own[row.bill_id].append(row)
    return [(case, own[case.bill.id]) for case in cases]


def _bill(case: BillCase, rows: Sequence[Compared]) -> dict[str, Any]:
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in VERDICTS}
    wanted, found = sum(row.wanted or 0 for row in rows), sum(row.found or 0 for row in rows)
    return {
        "bill_id": case.bill.id,
        "customer_id": case.bill.customer_id,
        "currency": case.bill.currency,
        "wanted": wanted,
        "found": found,
        "difference": found - wanted,
        "equal": counts["equal"] == len(rows),
        "counts": counts,
        "lines": [{name: value for name, value in asdict(row).items() if name != "bill_id"} for row in rows],
    }


def _totals(bills: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for bill in sorted(bills, key=lambda one: str(one["currency"])):
        total = totals.setdefault(bill["currency"], {"bills": 0, "wanted": 0, "found": 0, "difference": 0})
        total["bills"] += 1
        for name in ("wanted", "found", "difference"):
            total[name] += bill[name]
    return totals
