"""The ledger opened as the settings say, for whoever needs no vendor: this module imports neither client nor DuckDB."""

from __future__ import annotations

from meterbridge.ledger.ledger import Ledger
from meterbridge.settings import Settings


def open_ledger(settings: Settings) -> Ledger:
    """The ledger these settings name, migrated."""
    url = settings.ledger_url.get_secret_value() if settings.ledger_url else None
    return Ledger.open(url, home=settings.home.expanduser(), connection=settings.connection)
