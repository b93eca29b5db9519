"""``meterbridge doctor``, ``status`` and ``trace``: look, and change nothing. None of them starts Prefect."""

from __future__ import annotations

from typing import Annotated

import typer

from meterbridge.cli.ledger_here import configure_logs, ledger_here
from meterbridge.cli.overview import overview
from meterbridge.cli.show import AsJson, say, table, write
from meterbridge.cli.tables import show_status, show_trace
from meterbridge.errors import SetupError
from meterbridge.rules.outcome import count_of

MARKS = {"ok": "ok", "warning": "warning", "failure": "FAILURE"}


def doctor(as_json: AsJson = False) -> None:
    """Check settings, credentials, rights, catalog and ledger; each line says what is wrong and what to do.

    Ends with 2 when a line is a failure. Changes nothing at either vendor.
    """
    from meterbridge.cli.checks import examine

    configure_logs()
    findings = examine()
    failed = sum(1 for one in findings if one.verdict == "failure")
    warned = sum(1 for one in findings if one.verdict == "warning")
    if as_json:
        write({"checks": [one.as_json() for one in findings], "failures": failed, "warnings": warned})
    else:
        rows = [(MARKS[one.verdict], one.check, one.words, one.remedy) for one in findings]
        table("What was checked", ("", "check", "found", "what to do"), rows)
        say(f"{count_of(failed, 'failure')}, {count_of(warned, 'warning')}")
    raise typer.Exit(2 if failed else 0)


def status(as_json: AsJson = False) -> None:
    """Where things stand: how far each sync has read, money waiting and set aside, open writes, recent runs.

    Ends with 3 when records are set aside, money is overdue, sending is on hold, or the ledger is older than the
    world. Asks no vendor.
    """
    with ledger_here() as (settings, ledger):
        found = overview(settings, ledger)
    if as_json:
        write(found)
    else:
        show_status(found)
    raise typer.Exit(3 if found["quarantined_records"] or found["overdue"] or found["notices"] else 0)


def trace(
    named: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Invoice line, invoice, m3ter bill, bill line, subscription or account plan: any of their ids.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Why was this charged? From an id to bill lines, amounts before and after rounding, subscription, run, rule."""
    from meterbridge.cli.tracing import trace as look_up

    with ledger_here() as (_, ledger), ledger.read() as rx:
        found = look_up(rx, named)
    if found is None:
        message = f"the ledger knows no invoice line, invoice, bill, bill line, subscription or account plan {named!r}"
        raise SetupError(
            "MB-COMMAND",
            message,
            remedy="Check the id; an invoice line that meterbridge did not make is not known.",
        )
    if as_json:
        write(found)
    else:
        show_trace(found)
