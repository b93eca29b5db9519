"""Usage files and tables become m3ter measurements, or Chargebee usages."""

from __future__ import annotations

from typing import Literal

from tasks.deliver_usage import deliver_usage
from tasks.engine import flow
from tasks.metered_usage import sync_metered_usage
from tasks.report_usage import UsageReport, preview_usage, report_usage
from tasks.runs import Request, run_name, running
from tasks.settle_usage import settle_usage
from tasks.stage_usage import declare_backfill, open_input, stage_usage
from tasks.upload_usage import by_file, upload_usage
from tasks.usage_failures import collect_failures
from tasks.usage_input import UsageRequest


@flow(name="sync_usage", flow_run_name=run_name)
def sync_usage(
    mapping: str,
    sources: list[str] | None = None,
    via: Literal["auto", "api", "file"] = "auto",
    strict: bool = False,
    allow_old: bool = False,
    preview: int = 0,
    dry_run: bool = False,
    to: Literal["m3ter", "chargebee"] = "m3ter",
    expect_rows: int = 0,
) -> UsageReport:
    """Usage files and tables become m3ter measurements, or Chargebee usages.

    Args:
        mapping: The usage mapping's path; a relative one may start at METERBRIDGE_ROOT.
        sources: Files, globs or ``-``; none when the mapping has a query.
        via: The ingest API, file uploads, or by size (METERBRIDGE_USAGE_FILE_FROM).
        strict: Send nothing when a single row is rejected.
        allow_old: A backfill: rows older than 34 days go too, once.
        preview: Only show the first so many measurements as they would be sent.
        dry_run: Only judge the input; send nothing.
        to: m3ter, or Chargebee's own metered billing.
        expect_rows: Send nothing when the input has fewer rows.
    """
    dry = dry_run or preview > 0
    request = UsageRequest(mapping, tuple(sources or ()), via, strict, allow_old, dry, to, expect_rows)
    with running("sync_usage", Request(request.dry_run), keep_open=False) as run:
        given = open_input(run, request)
        if to == "chargebee":
            return sync_metered_usage(run, given, request, preview)
        preflight = stage_usage(run, given, request)
        if request.dry_run:
            return report_usage(run, given, preflight, preview=preview_usage(run, preview))
        if allow_old:
            declare_backfill(run, given)
        send = upload_usage if by_file(run, request, preflight) else deliver_usage
        delivered = send(run, given, preflight.sendable)
        settle_usage(run, given)
        return report_usage(run, given, preflight, delivered, later=collect_failures(run))
