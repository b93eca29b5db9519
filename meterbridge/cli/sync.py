"""``meterbridge sync``: run a flow here and now."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from meterbridge import log
from meterbridge.cli import usage as usage_command
from meterbridge.cli.show import report_table, write
from meterbridge.errors import SetupError
from meterbridge.settings import load_settings

if TYPE_CHECKING:
    from tasks.report import RunReport

app = typer.Typer(no_args_is_help=True, help="Bring the two sides in step.")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Decide and explain; write nothing to either vendor.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Full = Annotated[bool, typer.Option("--full", help="Read everything, not only what changed.")]


@app.command()
def subscriptions(
    dry_run: DryRun = False,
    as_json: AsJson = False,
    full: Full = False,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="Only this subscription or customer; repeatable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Read changes since this instant (ISO 8601, UTC if no zone).")
    ] = None,
) -> None:
    """Chargebee customers and subscriptions → m3ter accounts and account plans."""
    prepare_prefect()
    from flows.sync_subscriptions import sync_subscriptions

    _end(sync_subscriptions(dry_run=dry_run, full=full, ids=ids, since=_instant(since)), as_json)


@app.command()
def bills(
    dry_run: DryRun = False,
    as_json: AsJson = False,
    full: Full = False,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only this bill; repeatable.")] = None,
) -> None:
    """Approved m3ter bills → charges on the customer's pending Chargebee invoice."""
    prepare_prefect()
    from flows.sync_bills import sync_bills

    _end(sync_bills(dry_run=dry_run, full=full, ids=ids), as_json)


app.command("usage")(usage_command.usage)


def prepare_prefect() -> None:
    """Set Prefect up for one process; without PREFECT_API_URL its ephemeral server gets time, and we say so."""
    settings = load_settings()
    settings.require_vendors()
    log.configure(settings.log_level, settings.log_format)
    defaults = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks,meterbridge,connectors",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PREFECT_API_URL"):
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_ENABLED", "true")
        # What stops a run is told once, by us; Prefect would tell it twice more, with a traceback.
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        typer.echo("No PREFECT_API_URL: starting Prefect's ephemeral server (10–20 s) …", err=True)


def _instant(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as failure:
        raise SetupError("MB-USAGE-ERROR", f"--since {text!r} is no ISO 8601 instant") from failure
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _end(report: RunReport, as_json: bool) -> None:
    if as_json:
        write(report.model_dump(mode="json"))
    else:
        report_table(report)
    raise typer.Exit(report.exit_code)
