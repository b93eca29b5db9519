"""``meterbridge ledger``: keep a copy of it, and rebuild it from both vendors when it is older than the world."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meterbridge.cli.ledger_here import ledger_here
from meterbridge.cli.prefect_ready import prefect_ready
from meterbridge.cli.show import AsJson, say, table, write
from meterbridge.cli.show_report import answer
from meterbridge.ledger.backup import back_up
from meterbridge.ledger.engine import parse_url
from meterbridge.rules.money import amount_text

if TYPE_CHECKING:
    from tasks.report_rebuild import RebuildReport

app = typer.Typer(no_args_is_help=True, help="The ledger itself: back it up, rebuild it.")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes; a file that is not there yet.")],
    as_json: AsJson = False,
) -> None:
    """Copy the ledger while runs work: one state of it, whole. PostgreSQL needs pg_dump on this machine."""
    with ledger_here() as (settings, ledger):
        url = parse_url(settings.ledger_url.get_secret_value() if settings.ledger_url else None, settings.home)
        size = back_up(url, file.expanduser().absolute())
        found = {"ledger": ledger.url_text, "file": str(file), "bytes": size}
    if as_json:
        write(found)
    else:
        say(f"{found['ledger']} → {file}, {size} bytes")


@app.command()
def rebuild(
    as_json: AsJson = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be taken over.")] = False,
) -> None:
    """Take over what stands at both vendors into a lost or an older ledger; writes to neither vendor.

    What people decided before the backup is kept. Bills of which more is wanted than stands are proposed from then
    on, until a person answers. Ends with 3 when something is set aside.
    """
    with prefect_ready("rebuild"):
        from flows.rebuild_ledger import rebuild_ledger

        report = rebuild_ledger(dry_run=dry_run)
    if as_json:
        write(report.model_dump(mode="json"))
    else:
        _show(report)
    raise typer.Exit(report.exit_code)


def _show(report: RebuildReport) -> None:
    answer(report)
    charges = [
        (one["bill_id"], one["subscription_id"], one["invoice_id"], one["line_id"], _money(one))
        for one in report.charges
    ]
    columns = ("bill", "subscription", "invoice", "line", "amount")
    for title, names, rows in (
        ("Charges taken over", columns, charges),
        ("Wanted beyond what stands", ("bill", "amount"), [(one["bill_id"], _money(one)) for one in report.in_doubt]),
    ):
        if rows:
            table(title, names, rows, right=("amount",))
    taken = ", ".join(f"{count} {name}" for name, count in report.taken_over.items()) or "nothing"
    kept = ", ".join(f"{count} {name}" for name, count in report.kept.items()) or "none"
    verb = "would take over" if report.dry_run else "took over"
    say(f"{verb} {taken}; decisions of people kept: {kept}")
    say(f"runs that wrote money and that the ledger lacked: {len(report.missing_runs)}")
    for question in report.questions:
        say(f"? {question}")


def _money(row: dict[str, object]) -> str:
    return amount_text(int(str(row["amount"])), str(row["currency"]))
