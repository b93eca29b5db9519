"""A sandbox of both vendors, and an environment that knows nothing else: what every whole-run test stands on.

Flows run bare (``sync_bills.fn()``): the same functions as under Prefect, without its engine and server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios import build
from meterbridge.sandbox.world import World
from meterbridge.settings import use_environment
from tests.back_off import no_back_off
from tests.connected import environment
from tests.flows import snapshots


class OpenSandbox:
    """Starts sandboxes and points this process's environment at them; ledger and staging are under ``home``."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home = home
        self._stack = stack

    def __call__(self, scenario: str = "single", *, subscriptions: int | None = None, **more: str) -> Sandbox:
        """A sandbox of a scenario; ``more`` are settings by full name."""
        return self._start(build(scenario, subscriptions=subscriptions), more)

    def after(
        self, *steps: snapshots.Step, scenario: str = "single", subscriptions: int | None = None, **more: str
    ) -> Sandbox:
        """As a sandbox in which these steps were taken, the bridge's home included; each step is given the world.

        Steps are functions of modules. They are played once in this process for the same scenario and settings, and
        restored from then on: twenty milliseconds instead of a second or two.
        """
        if more.get("METERBRIDGE_LEDGER_URL", "sqlite").startswith("postgresql"):
            return self._played(steps, scenario, subscriptions, more)
        return self._start(self._restored(steps, scenario, subscriptions, more), more)

    def _restored(
        self, steps: Sequence[snapshots.Step], scenario: str, subscriptions: int | None, more: Mapping[str, str]
    ) -> World:
        settings = {name: value.replace(str(self.home), snapshots.HOME) for name, value in more.items()}
        key = (scenario, subscriptions, *sorted(settings.items()), *map(snapshots.named, steps))

        def play(home: Path) -> World:
            given = {name: value.replace(snapshots.HOME, str(home)) for name, value in settings.items()}
            with opening(home) as start:
                return start._played(steps, scenario, subscriptions, given).world

        snapshot = snapshots.kept(key, play)
        snapshot.home_again(self.home)
        return snapshot.world_again()

    def _played(
        self, steps: Sequence[snapshots.Step], scenario: str, subscriptions: int | None, more: Mapping[str, str]
    ) -> Sandbox:
        """All but the last step restored, the last one taken."""
        if len(steps) == 1:
            sandbox = self(scenario, subscriptions=subscriptions, **more)
        else:
            sandbox = self.after(*steps[:-1], scenario=scenario, subscriptions=subscriptions, **more)
        steps[-1](sandbox.world)
        return sandbox

    def _start(self, world: World, more: Mapping[str, str]) -> Sandbox:
        sandbox = self._stack.enter_context(Sandbox(world))
        use_environment(environment(sandbox, self.home, **more))
        return sandbox


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
        try:
            yield OpenSandbox(home, stack)
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
