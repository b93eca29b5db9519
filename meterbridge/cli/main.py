"""The command line, one module a command group.

Exit codes: 0 done · 1 failed · 2 wrong usage or configuration · 3 done, but something was set aside or drift was found.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from meterbridge import __version__
from meterbridge.cli import (
    approval,
    bills,
    both_sides,
    demo,
    holding,
    inspection,
    ledger,
    link,
    quarantine,
    sandbox,
    serve,
    sync,
    webhooks,
)
from meterbridge.cli.ledger_here import shows_tracebacks
from meterbridge.errors import Interrupted, MeterbridgeError, OnHold, SetupError
from meterbridge.mishaps import explained, forget_frames
from meterbridge.private_files import keep_private


class Commands(TyperGroup):
    """The commands; Ctrl-C in one of them is an error of ours, which Typer would only answer with a number."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Interrupted("MB-INTERRUPTED", "the command was interrupted") from stop


app = typer.Typer(
    name="meterbridge",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The bridge between Chargebee and m3ter: every cent accounted for, nothing written twice.",
)
app.add_typer(sync.app, name="sync")
app.add_typer(quarantine.quarantine, name="quarantine")
app.add_typer(bills.app, name="bills")
app.add_typer(ledger.app, name="ledger")
app.add_typer(link.app, name="link")
app.add_typer(webhooks.app, name="webhooks")
app.command("hold")(holding.hold)
app.command("release")(holding.release)
app.command("demo")(demo.demo)
app.command("sandbox")(sandbox.sandbox)
app.command("serve")(serve.serve)
app.command("doctor")(inspection.doctor)
app.command("status")(inspection.status)
app.command("trace")(inspection.trace)
app.command("reconcile")(both_sides.reconcile)
app.command("approve")(approval.approve)
app.command("undo")(approval.undo)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"meterbridge {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that belong to no command."""
    del version  # acted on in its callback


def main() -> None:
    """Run the command line; whatever stops it becomes two lines, what happened and what to do, and an exit code."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    keep_private()
    try:
        _refuse_no_text(words)
        app(list(words), prog_name="meterbridge")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException as failure:  # noqa: BLE001 - nobody above us could tell it better
        ours = explained(failure)
        _tell(ours)
        if shows_tracebacks():
            typer.echo("".join(traceback.format_exception(failure)), err=True)
        forget_frames(failure)
        return _exit_code(ours)
    return 0


def _exit_code(failure: MeterbridgeError) -> int:
    if isinstance(failure, SetupError):
        return 2
    return 3 if isinstance(failure, OnHold) else 1


def _refuse_no_text(words: Sequence[str]) -> None:
    for number, word in enumerate(words, 1):
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise SetupError("MB-COMMAND", f"argument {number} is no text in this terminal's encoding: {word!a}")


def _tell(failure: MeterbridgeError) -> None:
    """One line of what happened, one of what to do."""
    where = f" [{failure.key}]" if failure.key else ""
    happened, remedy = (" ".join(text.split()) for text in (failure.message, failure.remedy))
    try:
        typer.echo(f"{failure.code}{where}: {happened}", err=True)
        typer.echo(f"  → {remedy}", err=True)
    except OSError:  # nobody reads it; the exit code still tells
        return
