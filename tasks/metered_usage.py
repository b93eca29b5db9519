"""Metered usage from a staged input to Chargebee and the run's report."""

from __future__ import annotations

import json

from meterbridge.rules.records import Quarantined
from meterbridge.staging.database import opened
from tasks.change_set import ChangeSet, landed_quarantine, record
from tasks.decide_metered_usage import KINDS, decide_metered_usage, preview_metered_usage, subject
from tasks.deliver import USAGE_WAVES, Delivered, deliver
from tasks.ledger_trust import notices
from tasks.receipts import as_shown
from tasks.report_usage import (
    UsageReport,
    accounts_of,
    lines_of,
    notes_of,
    publish_usage,
    quarantine_usage,
    set_aside,
)
from tasks.runs import Run
from tasks.services import services
from tasks.stage_metered_usage import stage_metered_usage
from tasks.stage_usage import Preflight
from tasks.usage_input import UsageInput, UsageRequest


def sync_metered_usage(run: Run, given: UsageInput, request: UsageRequest, preview: int) -> UsageReport:
    """The stages of a run for Chargebee: judge, decide, and unless it is a dry run record and deliver."""
    preflight = stage_metered_usage(run, given, request)
    change_set = decide_metered_usage(run, given)
    aside = set_aside(given, preflight, None)
    if request.dry_run:
        shown = [json.dumps(one, ensure_ascii=False) for one in preview_metered_usage(run, preview)]
        report = _report(run, given, preflight, change_set, aside=aside)
        report = report.model_copy(update={"dry_run": True, "preview": shown})
    else:
        quarantine_usage(run, given, aside)
        record(run, change_set, KINDS, subject)
        delivered = deliver(run, USAGE_WAVES)
        report = _report(run, given, preflight, change_set, aside=aside, delivered=delivered)
    publish_usage(run, report)
    return report


def _report(
    run: Run,
    given: UsageInput,
    preflight: Preflight,
    change_set: ChangeSet,
    *,
    aside: list[Quarantined],
    delivered: Delivered | None = None,
) -> UsageReport:
    work = services(run.run_id)
    with opened(run.path) as file:
        decided = list(landed_quarantine(file))
    return UsageReport(
        flow=run.flow,
        flow_run_id=run.flow_run_id,
        extracted={"rows": preflight.rows},
        intended=change_set.intended,
        applied=dict(sorted(delivered.applied.items())) if delivered else {},
        unchanged=change_set.unchanged,
        held=delivered.held if delivered else 0,
        quarantined=[as_shown(one) for one in (*aside, *decided)] + (delivered.refused if delivered else []),
        requests=work.requests(),
        throttled=work.throttled(),
        notices=notices(work.settings, work.ledger),
        seconds=round(work.clock.epoch() - run.started_at, 3),
        change_set=change_set.hash,
        staging=run.staging,
        input_hash=given.hash,
        lines=lines_of(given),
        notes=notes_of(given),
        accounts=accounts_of(run),
        rejects=preflight.rejects_file,
        to="chargebee",
    )
