"""``meterbridge serve``: the webhook receiver and the drain, in one process; the schedules too, if asked."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from meterbridge.cli.draining import DrainLoop, drain_by_prefect
from meterbridge.cli.ledger_here import ledger_here
from meterbridge.cli.prefect_ready import prefect_defaults
from meterbridge.cli.schedules import run_schedules
from meterbridge.cli.sockets import bound
from meterbridge.errors import SetupError
from meterbridge.ledger.ledger import Ledger
from meterbridge.receiver import Receiver
from meterbridge.settings import Settings, load_settings

logger = logging.getLogger(__name__)

STOP_SECONDS = 120.0
"""A batch under way may take this long after the signal; what is not done then waits in the inbox."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; a reverse proxy with TLS stands before it.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 8484,
    drain: Annotated[bool, typer.Option(help="Sync what the events name; --no-drain only receives.")] = True,
    limit: Annotated[int, typer.Option(min=1, help="Most events in one batch.")] = 500,
    schedules: Annotated[
        bool, typer.Option("--schedules", help="Run the scheduled flows too, instead of a Prefect worker.")
    ] = False,
) -> None:
    """Receive webhooks, and sync what they name, until Ctrl-C or SIGTERM."""
    if load_settings().log_level == "auto":
        os.environ["METERBRIDGE_LOG_LEVEL"] = "INFO"  # its log is all that it shows
    settings = load_settings()
    _check(settings, drain=drain, schedules=schedules)
    if drain and os.environ.get("PREFECT_API_URL"):
        prefect_defaults()
    with ledger_here() as (_, ledger), _scheduling(schedules):
        loop = _drain_loop(ledger, limit) if drain else None
        app = Receiver(settings, ledger, loop.arrived if loop else lambda: None)
        if loop:
            loop.start()
        try:
            _listen(app, host, port)
        finally:
            if loop and not loop.stop(STOP_SECONDS):
                logger.warning("stopped in the middle of a batch; its events wait in the inbox")


def _drain_loop(ledger: Ledger, limit: int) -> DrainLoop:
    drain = drain_by_prefect()
    from tasks.services import keeping_services

    return DrainLoop(ledger, drain, limit=limit, around=keeping_services)


def _check(settings: Settings, *, drain: bool, schedules: bool) -> None:
    if drain:
        settings.require_vendors()
    if not settings.webhook_password.get_secret_value() and not settings.webhook_m3ter_path.get_secret_value():
        message = "neither METERBRIDGE_WEBHOOK_PASSWORD nor METERBRIDGE_WEBHOOK_M3TER_PATH is set: nobody could send"
        raise SetupError("MB-SETTING", message)
    if schedules and not os.environ.get("PREFECT_API_URL"):
        raise SetupError("MB-COMMAND", "--schedules needs a Prefect server: set PREFECT_API_URL")


def _listen(app: Receiver, host: str, port: int) -> None:
    """Answer requests until a signal comes."""
    import uvicorn

    from meterbridge.cli.slow_senders import TimedProtocol

    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has shut down; by then the drain has still to end its batch.
        signal.signal(number, lambda _number, _frame: None)
    with bound(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"listening on http://{shown}:{listening.getsockname()[1]}", err=True)
        config = uvicorn.Config(
            app, http=TimedProtocol, log_config=None, access_log=False, lifespan="on", ws="none", server_header=False
        )
        uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _scheduling(wanted: bool) -> Iterator[None]:
    """A child process that runs the scheduled flows, if wanted; ended with the block."""
    if not wanted:
        yield
        return
    child = multiprocessing.get_context("spawn").Process(target=run_schedules, name="schedules")
    child.start()
    try:
        yield
    finally:
        child.terminate()
        child.join(STOP_SECONDS)
