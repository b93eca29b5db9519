"""What a command needs around a flow: Prefect's settings for one run, and a server."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from importlib import import_module

import typer

from meterbridge import log
from meterbridge.catalog import load_catalog
from meterbridge.cli.progress import stages_shown
from meterbridge.cli.short_lived import ShortLivedServer
from meterbridge.errors import RetriableError, SetupError
from meterbridge.mishaps import known
from meterbridge.settings import load_settings

DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks,meterbridge,connectors",
}
WITHOUT_SERVER = {
    # What stops a run is told once, by us; Prefect would tell it twice more, with a traceback.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
}


def prefect_defaults() -> None:
    """Settings for Prefect where the caller has none; checks ours first."""
    settings = load_settings()
    settings.require_vendors()
    log.configure(settings.log_level, settings.log_format)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


@contextmanager
def prefect_ready(*tags: str) -> Iterator[None]:
    """Inside the block flows can run: on the server that Prefect's settings name, else on a short-lived one of ours.

    Args:
        tags: What the flow runs carry besides ``meterbridge``.
    """
    prefect_defaults()
    load_catalog(load_settings().catalog_path)  # a mistake in it is told at once, not after a server has come up
    if not os.environ.get("PREFECT_API_URL"):
        for name, value in WITHOUT_SERVER.items():  # before Prefect is imported: it sets its loggers up then
            os.environ.setdefault(name, value)
    if _is_server_named():
        _ask_server()
        with tagged(*tags), stages_shown():
            yield
        return
    typer.echo("No PREFECT_API_URL: starting Prefect's ephemeral server (10–20 s) …", err=True)
    # Nobody will look there for the log of a run that ends with its server.
    os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    with using(ShortLivedServer()), tagged(*tags), stages_shown():
        yield


@contextmanager
def using(server: ShortLivedServer) -> Iterator[None]:
    """Run the block's flows on a server that has been begun. Imports the flows while it comes up."""
    for module in ("flows.sync_subscriptions", "flows.sync_bills"):
        import_module(module)
    server.wait()
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    # At the end it would say that events are still on their way, to a server that ends as well.
    logging.getLogger("EventsWorker").setLevel(logging.CRITICAL)
    os.environ["PREFECT_API_URL"] = server.url
    refresh_global_settings_context()
    # Heartbeats tell a server that outlives its runs which of them died; each flow would wait a second for their end.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@contextmanager
def tagged(*tags: str) -> Iterator[None]:
    """The flow runs of the block carry these tags."""
    import prefect

    with prefect.tags("meterbridge", *tags):
        yield


def _ask_server() -> None:
    """Ask the server that is named whether it works: a flow would ask it for a minute and end in its client's words.

    Raises:
        RetriableError: MB-PREFECT, it cannot be reached, or says that it is out of order.
    """
    from prefect.client.orchestration import get_client
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    refresh_global_settings_context()  # Prefect reads its variables once a process, when it is imported
    url = PREFECT_API_URL.value()
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}), get_client(sync_client=True) as client:
            status = client.request("GET", "/health").status_code
    except Exception as failure:
        found = known(failure)
        if found is None or found.code != "MB-PREFECT":
            raise
        raise RetriableError("MB-PREFECT", f"{found.message}, {url}") from failure
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RetriableError("MB-PREFECT", f"Prefect's server answered {status}, {url}")


def _is_server_named() -> bool:
    """True if the environment, Prefect's profile or its files name a server."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    from prefect.settings import get_current_settings

    found = get_current_settings()
    if not found.api.url and not found.server.ephemeral.enabled:
        message = "PREFECT_API_URL is not set, and PREFECT_SERVER_EPHEMERAL_ENABLED forbids a server of our own"
        raise SetupError("MB-SETTING", message)
    return bool(found.api.url)
