"""``meterbridge sync usage``: files, tables and queries become m3ter measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meterbridge.cli.prefect_ready import prefect_ready
from meterbridge.cli.show import AsJson, table, write
from meterbridge.cli.show_report import report_table
from meterbridge.errors import SetupError

if TYPE_CHECKING:
    from tasks.report_usage import UsageReport

SHOWN_ACCOUNTS = 20


Via = Literal["auto", "api", "file"]
Target = Literal["m3ter", "chargebee"]


def usage(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="CSV, Parquet, NDJSON (also .gz, .zst), globs, or - for stdin; none for a mapping's query."
        ),
    ] = None,
    mapping: Annotated[str, typer.Option(help="The usage mapping (YAML).")] = "usage.yaml",
    preview: Annotated[int, typer.Option(help="Only show the first so many measurements as they would be sent.")] = 0,
    expect_rows: Annotated[int, typer.Option(help="Send nothing when the input has fewer rows (exit 2).")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Send nothing when a single row is rejected.")] = False,
    via: Annotated[Via, typer.Option(help="By m3ter's ingest API, as file uploads, or by size.")] = "auto",
    allow_old: Annotated[
        bool, typer.Option("--allow-old", help="A backfill: rows older than 34 days go too, once.")
    ] = False,
    to: Annotated[Target, typer.Option(help="m3ter, or Chargebee's own metered billing.")] = "m3ter",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge the input; send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Usage files, tables and queries → m3ter measurements, or Chargebee usages."""
    if preview < 0 or expect_rows < 0:
        raise SetupError("MB-COMMAND", "--preview and --expect-rows take a count of rows")
    with prefect_ready("usage"):
        from flows.sync_usage import sync_usage

        report = sync_usage(
            mapping,
            sources,
            via,
            strict=strict,
            allow_old=allow_old,
            preview=preview,
            dry_run=dry_run,
            to=to,
            expect_rows=expect_rows,
        )
    _tell(report, as_json=as_json)
    raise typer.Exit(report.exit_code)


def _tell(report: UsageReport, *, as_json: bool) -> None:
    if as_json:
        write(report.model_dump(mode="json"))
    elif report.preview:
        for measurement in report.preview:
            typer.echo(measurement)
        for row in report.quarantined:
            typer.echo(f"{row['code']}: {row['message']}", err=True)
    else:
        _show(report)


def _show(report: UsageReport) -> None:
    report_table(report)
    columns = ("meter", "account", "measurements", "rejected", "first_day", "last_day")
    rows = [[row[column] for column in columns] for row in report.accounts[:SHOWN_ACCOUNTS]]
    more = len(report.accounts) - SHOWN_ACCOUNTS
    what = "meter and account" if report.to == "m3ter" else "item price and subscription"
    title = f"Per {what}" + (f" (the {SHOWN_ACCOUNTS} largest; {more} more in --json)" if more > 0 else "")
    table(title, columns, rows, right=("measurements", "rejected"))
    for note in report.notes:
        typer.echo(note)
    if report.rejects:
        typer.echo(f"rejected rows: {report.rejects}")
