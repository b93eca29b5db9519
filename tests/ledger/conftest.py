"""Every ledger test runs on both databases: ``ledger_url`` names an empty one, ``ledger`` is open on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meterbridge.ledger.ledger import Ledger
from tests import postgres

OpenLedger = Callable[..., Ledger]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """One server for all tests of a session."""
    if postgres.binaries() is None:
        if os.environ.get("METERBRIDGE_TEST_NO_SKIP") == "1":
            pytest.fail(postgres.MISSING)
        pytest.skip(postgres.MISSING)
    with postgres.running() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.sqlite3"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    with server.database() as url:
        yield url


@pytest.fixture
def open_ledger(ledger_url: str, tmp_path: Path) -> Iterator[OpenLedger]:
    """Opens the same database again, under another connection name if asked; closed at the end."""
    opened: list[Ledger] = []

    def open_one(connection: str = "default") -> Ledger:
        opened.append(Ledger.open(ledger_url, home=tmp_path, connection=connection))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: OpenLedger) -> Ledger:
    """A fresh ledger."""
    return open_ledger()
