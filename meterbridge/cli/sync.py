"""``meterbridge sync``: run a flow here and now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from meterbridge.cli import usage as usage_command
from meterbridge.cli.prefect_ready import prefect_ready
from meterbridge.cli.show import AsJson, write
from meterbridge.cli.show_report import report_table
from meterbridge.cli.show_shadow import shadow_table
from meterbridge.errors import SetupError

if TYPE_CHECKING:
    from tasks.report import RunReport

app = typer.Typer(no_args_is_help=True, help="Bring the two sides in step.")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Decide and explain; write nothing to either vendor.")]
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
    start = _instant(since)
    with prefect_ready("subscriptions"):
        from flows.sync_subscriptions import sync_subscriptions

        report = sync_subscriptions(dry_run=dry_run, full=full, ids=ids, since=start)
    _end(report, as_json)


@app.command()
def bills(
    dry_run: DryRun = False,
    as_json: AsJson = False,
    full: Full = False,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only this bill; repeatable.")] = None,
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="Compare what would be charged with what is on the invoices; no writes."),
    ] = False,
    since: Annotated[
        str | None, typer.Option(help="With --shadow: bills dated from this day on (ISO 8601, UTC if no zone).")
    ] = None,
) -> None:
    """Approved m3ter bills → charges on the customer's pending Chargebee invoice."""
    if since is not None and not shadow:
        raise SetupError("MB-COMMAND", "--since goes with --shadow; METERBRIDGE_BILLS_SINCE says what is charged")
    if shadow:
        _compare(ids, _instant(since), as_json=as_json)
    with prefect_ready("bills"):
        from flows.sync_bills import sync_bills

        report = sync_bills(dry_run=dry_run, full=full, ids=ids)
    _end(report, as_json)


def _compare(ids: list[str] | None, since: float | None, *, as_json: bool) -> NoReturn:
    with prefect_ready("bills"):
        from flows.shadow_bills import shadow_bills

        report = shadow_bills(ids=ids, since=since)
    if as_json:
        write({**report.model_dump(mode="json"), "differences": report.differences})
    else:
        shadow_table(report)
    raise typer.Exit(report.exit_code)


app.command("usage")(usage_command.usage)


def _instant(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as failure:
        raise SetupError("MB-COMMAND", f"--since {text!r} is no ISO 8601 instant") from failure
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _end(report: RunReport, as_json: bool) -> None:
    if as_json:
        write(report.model_dump(mode="json"))
    else:
        report_table(report)
    raise typer.Exit(report.exit_code)
