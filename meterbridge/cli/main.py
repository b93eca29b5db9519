"""The command line, one module a command group.

Exit codes: 0 done · 1 failed · 2 wrong usage or configuration · 3 done, but something was set aside or drift was found.
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

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
from meterbridge.errors import MeterbridgeError, OnHold, SetupError

app = typer.Typer(
    name="meterbridge",
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
    """Run the command line; errors of ours become one clear line and an exit code."""
    try:
        app()
    except SetupError as failure:
        _tell(failure)
        sys.exit(2)
    except OnHold as failure:
        _tell(failure)
        sys.exit(3)
    except MeterbridgeError as failure:
        _tell(failure)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing is lost: the next run goes on from here", err=True)
        sys.exit(1)


def _tell(failure: MeterbridgeError) -> None:
    """One line of what happened, one of what to do."""
    where = f" [{failure.key}]" if failure.key else ""
    typer.echo(f"{failure.code}{where}: {failure.message}", err=True)
    typer.echo(f"  → {failure.remedy}", err=True)
    # Prefect keeps the exception; DuckDB's binding would complain at exit of what its frames still hold.
    held: BaseException | None = failure
    while held is not None:
        traceback.clear_frames(held.__traceback__)
        held = held.__cause__ or held.__context__
