"""The ledger of this environment, for commands that ask no vendor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from meterbridge import log
from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import holds
from meterbridge.ledger.ledger import Ledger
from meterbridge.settings import Settings, load_settings
from tasks.ledger_opening import open_ledger


@contextmanager
def ledger_here() -> Iterator[tuple[Settings, Ledger]]:
    """Settings and ledger for the length of a block; no vendor's setting is needed."""
    settings = load_settings()
    log.configure(settings.log_level, settings.log_format)
    ledger = open_ledger(settings)
    try:
        with ledger.read() as rx:
            in_force = holds.active(rx)
        for one in in_force:  # not on stdout: that is the command's own
            typer.echo(f"MB-ON-HOLD: {one.words}", err=True)
        yield settings, ledger
    finally:
        ledger.close()


def configure_logs() -> None:
    """Configure logging as the settings say; as they stand by default where the settings cannot be read."""
    with suppress(MeterbridgeError):
        settings = load_settings()
        log.configure(settings.log_level, settings.log_format)
        return
    log.configure()


def shows_tracebacks() -> bool:
    """True if the settings ask for logs at DEBUG; False also where they cannot be read."""
    try:
        return load_settings().log_level == "DEBUG"
    except MeterbridgeError:
        return False
