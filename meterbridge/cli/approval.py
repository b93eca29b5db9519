"""``meterbridge approve``: a person lets a proposed change set pass."""

from __future__ import annotations

from typing import Annotated

import typer

from meterbridge.cli.prefect_ready import prefect_ready
from meterbridge.cli.show import console, report_table, write
from meterbridge.errors import SetupError
from meterbridge.rules.money import amount_text


def approve(
    change_set: Annotated[str, typer.Argument(metavar="HASH", help="The hash that `status` shows.")],
    by: Annotated[str, typer.Option(help="Who approves; it is written down.")],
    note: Annotated[str, typer.Option(help="Anything that whoever asks later should know.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Approve a proposed change set of bills, and send what of it is still as it was proposed."""
    if not by.strip():
        raise SetupError("MB-USAGE-ERROR", "--by must say something")
    with prefect_ready("approval"):
        from flows.approve_bills import approve_bills

        report = approve_bills(change_set=change_set, by=by, note=note)
    if as_json:
        write(report.model_dump(mode="json"))
        raise typer.Exit(report.exit_code)
    report_table(report)
    say = console()
    if report.approved:
        sums = ", ".join(amount_text(row["amount"], row["currency"]) for row in report.approved_money)
        say.print(f"approved by {report.approved_by}: {report.approved} writes, {sums}", markup=False)
    else:
        say.print(f"was approved by {report.approved_by} before; nothing is approved anew", markup=False)
    if report.changed_since:
        changed = f"{report.changed_since} writes of it had changed and were not sent"
        say.print(f"{changed}; `meterbridge sync bills` proposes them again", markup=False)
    raise typer.Exit(report.exit_code)
