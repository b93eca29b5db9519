"""``meterbridge link``: customers beside accounts that were there before us, for a person to link, or to take apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meterbridge import log
from meterbridge.cli.prefect_ready import prefect_ready
from meterbridge.cli.show import AsJson, say, table, write
from meterbridge.cli.show_report import report_table
from meterbridge.settings import load_settings

if TYPE_CHECKING:
    from tasks.link import LinkReport

app = typer.Typer(no_args_is_help=True, help="Link customers to accounts that were in m3ter before.")

LinkFile = Annotated[Path, typer.Argument(metavar="FILE", help="CSV: customer_id, and account_id or account_code.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Judge every line and explain; write nothing to m3ter.")]


@app.command("suggest")
def suggest(
    by: Annotated[
        str | None,
        typer.Option(
            metavar="WAY",
            help="code, email or name alone, or a custom field or metadata key of the customer "
            "that holds the account's code or id.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write; it holds names and addresses.")] = Path("links.csv"),
    as_json: AsJson = False,
) -> None:
    """Write which account may be which customer's, with evidence and score; change nothing."""
    from tasks import link_suggest
    from tasks.link_file import refuse_to_overwrite, write_links
    from tasks.services import serving

    refuse_to_overwrite(out)  # said before everything is read for it
    settings = load_settings()
    settings.require_vendors()
    log.configure(settings.log_level, settings.log_format)
    with serving() as work:
        found = link_suggest.suggest(work, by)
    write_links(out, link_suggest.rows(found.pairs, by))
    counts = {name: getattr(found, name) for name in ("customers", "accounts", "certain", "doubtful", "without")}
    if as_json:
        write({"file": str(out), "pairs": len(found.pairs), **counts})
        return
    say(f"{found.customers} customers have no account, {found.accounts} accounts no customer")
    say(
        f"{found.certain} customers fit one account and it fits no other: marked with yes; "
        f"{found.doubtful} fit some account, but not for certain; {found.without} fit none",
    )
    say(f"{len(found.pairs)} pairs are in {out}: read it, correct the column link, then")
    say(f"  meterbridge link apply {out} --dry-run")


@app.command("apply")
def apply(file: LinkFile, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Map the customers of the file to their accounts; the next sync adopts them."""
    _run(file, dry_run=dry_run, remove=False, as_json=as_json)


@app.command("remove")
def remove(file: LinkFile, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Take the customers of the file off their accounts again; what stands in m3ter stays there."""
    _run(file, dry_run=dry_run, remove=True, as_json=as_json)


def _run(file: Path, *, dry_run: bool, remove: bool, as_json: bool) -> None:
    from tasks.link_file import read_links

    read_links(file)  # a mistake in it is told at once, not after a server has come up
    with prefect_ready("link"):
        from flows.link_accounts import link_accounts

        report = link_accounts(file=str(file.absolute()), dry_run=dry_run, remove=remove)
    if as_json:
        write(report.model_dump(mode="json"))
    else:
        _show(report, remove=remove)
    raise typer.Exit(report.exit_code)


def _show(report: LinkReport, *, remove: bool) -> None:
    report_table(report)
    done = report.unlinked if remove else report.linked
    columns = ("customer", "account", "code")
    names = ("customer_id", "account_id", "account_code")
    what = "taken apart" if remove else "linked"
    if done:
        title = f"To be {what}" if report.dry_run else what.capitalize()
        table(title, columns, [[row[name] for name in names] for row in done])
    if report.refused:
        cells = [[row["line"], *(row[name] for name in names), row["message"]] for row in report.refused]
        table("Refused (MB-LINK)", ("line", *columns, "why"), cells, right=("line",))
    said = f"{len(done)} {what}, {report.as_it_was} as they were"
    say(f"{said}, {len(report.refused)} refused")
