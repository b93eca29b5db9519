"""A sandbox of both vendors, and an environment that knows nothing else: what every whole-run test stands on.

Flows run bare (``sync_bills.fn()``): the same functions as under Prefect, without its engine and server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios import build
from meterbridge.settings import use_environment
from tests.back_off import no_back_off
from tests.connected import environment

OpenSandbox = Callable[..., Sandbox]


@pytest.fixture(autouse=True, scope="module")
def at_once() -> Iterator[None]:
    """Attempts follow each other without pauses."""
    with no_back_off():
        yield


@contextmanager
def opening(home: Path) -> Iterator[OpenSandbox]:
    """Start sandboxes inside the block; the environment is put back after it."""
    before = dict(os.environ)
    with ExitStack() as stack:

        def start(scenario: str = "single", *, subscriptions: int | None = None, **more: str) -> Sandbox:
            sandbox = stack.enter_context(Sandbox(build(scenario, subscriptions=subscriptions)))
            use_environment(environment(sandbox, home, **more))
            return sandbox

        try:
            yield start
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture
def open_sandbox(tmp_path: Path) -> Iterator[OpenSandbox]:
    """Start a sandbox of a scenario and point this process's environment at it; all is put back afterwards.

    ``open_sandbox("demo", METERBRIDGE_TRIAL="billed")``; ledger and staging are under ``tmp_path``.
    """
    with opening(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def open_shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSandbox]:
    """As ``open_sandbox``, for tests of a module that leave the sandbox as they found it."""
    with opening(tmp_path_factory.mktemp("shared")) as start:
        yield start
