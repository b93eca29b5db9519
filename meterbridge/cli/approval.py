"""``meterbridge approve`` and ``undo``: a person lets a proposed change set pass, or takes a run's lines back."""

from __future__ import annotations

from typing import Annotated

import typer

from meterbridge.cli.prefect_ready import prefect_ready
from meterbridge.cli.show import AsJson, say, table, write
from meterbridge.cli.show_report import answer, report_table
from meterbridge.errors import SetupError
from meterbridge.rules.keys import refuse_no_hash
from meterbridge.rules.money import amount_text
from meterbridge.rules.outcome import amounts, count_of, in_words


def approve(
    change_set: Annotated[str, typer.Argument(metavar="HASH", help="The hash that `status` shows.")],
    by: Annotated[str, typer.Option(help="Who approves; it is written down.")],
    note: Annotated[str, typer.Option(help="Anything that whoever asks later should know.")] = "",
    as_json: AsJson = False,
) -> None:
    """Approve a proposed change set of bills, and send what of it is still as it was proposed."""
    if not by.strip():
        raise SetupError("MB-COMMAND", "--by must say something")
    refuse_no_hash(change_set.strip())
    with prefect_ready("approval"):
        from flows.approve_bills import approve_bills

        report = approve_bills(change_set=change_set, by=by, note=note)
    if as_json:
        write(report.model_dump(mode="json"))
        raise typer.Exit(report.exit_code)
    report_table(report)
    if report.approved:
        sums = in_words(amounts(report.approved_money))
        say(f"approved by {report.approved_by}: {count_of(report.approved, 'write')}, {sums}")
    if report.changed_since:
        changed = f"{report.changed_since} writes of it had changed and were not sent"
        say(f"{changed}; `meterbridge sync bills` proposes them again")
    raise typer.Exit(report.exit_code)


def undo(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id; `status` shows the last ones.")],
    by: Annotated[str, typer.Option(help="Who wants it; it is written down.")] = "somebody",
    as_json: AsJson = False,
) -> None:
    """Take the lines that a run put on pending invoices off again; nothing is charged anew until `quarantine retry`."""
    with prefect_ready("undo"):
        from flows.undo_run import undo_run

        report = undo_run(run_id=run_id.strip(), by=by.strip() or "somebody")
    if as_json:
        write(report.model_dump(mode="json"))
        raise typer.Exit(report.exit_code)
    answer(report)
    columns = ("invoice", "line", "bill", "subscription", "amount", "why")
    for title, rows in (("Taken off", report.undone), ("Not taken off", report.kept)):
        cells = [
            (
                row["invoice_id"],
                row["line_id"],
                row["bill_id"],
                row["subscription_id"],
                amount_text(row["amount"], row["currency"]),
                row.get("why", ""),
            )
            for row in rows
        ]
        if cells:
            table(title, columns, cells, right=("amount",))
    say(f"{len(report.undone)} lines taken off, {len(report.kept)} not")
    raise typer.Exit(report.exit_code)
