"""The command line, one module a command group.

Exit codes: 0 done · 1 failed · 2 wrong usage or configuration · 3 done, but something was set aside or drift was found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from meterbridge import __version__
from meterbridge.errors import Interrupted, MeterbridgeError, OnHold, SetupError
from meterbridge.mishaps import explained, forget_frames
from meterbridge.private_files import keep_private

if TYPE_CHECKING:
    app: typer.Typer

COMMANDS = {
    "sync": ("sync", "app"),
    "quarantine": ("quarantine", "quarantine"),
    "bills": ("bills", "app"),
    "ledger": ("ledger", "app"),
    "link": ("link", "app"),
    "webhooks": ("webhooks", "app"),
    "hold": ("holding", "hold"),
    "release": ("holding", "release"),
    "demo": ("demo", "demo"),
    "sandbox": ("sandbox", "sandbox"),
    "serve": ("serve", "serve"),
    "doctor": ("inspection", "doctor"),
    "status": ("inspection", "status"),
    "trace": ("inspection", "trace"),
    "reconcile": ("both_sides", "reconcile"),
    "approve": ("approval", "approve"),
    "undo": ("approval", "undo"),
}
"""Each command's module, and the function or group in it. Only the module of the command that runs is imported."""


class Commands(TyperGroup):
    """The commands; Ctrl-C in one of them is an error of ours, which Typer would only answer with a number."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Interrupted("MB-INTERRUPTED", "the command was interrupted") from stop


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"meterbridge {__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log on the terminal, too.")] = False,
) -> None:
    """Options that belong to no command."""
    del version  # acted on in its callback
    if verbose:
        from meterbridge.cli.ledger_here import shows_tracebacks

        if not shows_tracebacks():  # DEBUG, wherever it is set, shows more
            os.environ["METERBRIDGE_LOG_LEVEL"] = "INFO"


def commands(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """The command line with these commands, all of them by default."""
    found = typer.Typer(
        name="meterbridge",
        cls=Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="The bridge between Chargebee and m3ter: every cent accounted for, nothing written twice.",
    )
    found.callback()(root)
    for name in names:
        module, attribute = COMMANDS[name]
        command = getattr(import_module(f"meterbridge.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            found.add_typer(command, name=name)
        else:
            found.command(name)(command)
    return found


def _needed(words: Sequence[str]) -> Sequence[str]:
    """Commands that these words may be about: none for the version, one where it is named, else all, for the help."""
    if list(words) == ["--version"]:
        return ()
    first = next((word for word in words if not word.startswith("-")), "")
    return (first,) if first in COMMANDS else tuple(COMMANDS)


def __getattr__(name: str) -> Any:
    """``app`` is the whole command line, made when it is asked for."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = commands()
    return globals()["app"]


def main() -> None:
    """Run the command line; whatever stops it becomes two lines, what happened and what to do, and an exit code."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    keep_private()
    try:
        _refuse_no_text(words)
        commands(_needed(words))(list(words), prog_name="meterbridge")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException as failure:  # noqa: BLE001 - nobody above us could tell it better
        ours = explained(failure)
        _tell(ours)
        _tell_traceback(failure)
        forget_frames(failure)
        return _exit_code(ours)
    return 0


def _tell_traceback(failure: BaseException) -> None:
    import traceback

    from meterbridge.cli.ledger_here import shows_tracebacks

    if shows_tracebacks():
        typer.echo("".join(traceback.format_exception(failure)), err=True)


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
        plain = "NO_COLOR" in os.environ or not sys.stderr.isatty()
        code = failure.code if plain else typer.style(failure.code, fg="red", bold=True)
        typer.echo(f"{code}{where}: {happened}", err=True)
        typer.echo(f"  → {remedy}", err=True)
    except OSError:  # nobody reads it; the exit code still tells
        return
