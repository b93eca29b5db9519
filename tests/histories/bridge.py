"""The bridge as a history drives it: flows run bare in this process, struck, killed, or with their ledger lost."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from connectors.chargebee import webhooks
from flows.approve_bills import approve_bills
from flows.drain_inbox import drain_inbox
from flows.rebuild_ledger import rebuild_ledger
from flows.reconcile import reconcile
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from flows.undo_run import undo_run
from meterbridge.errors import BrokenInvariant, MeterbridgeError
from meterbridge.ledger import inbox
from meterbridge.ledger.ledger import Ledger
from meterbridge.ledger.note import FILE_NAME as NOTE
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.exact_json import dumps
from meterbridge.settings import use_environment
from tests.flows.conftest import environment

EXPIRE = "UPDATE intents SET lease_until = 1 WHERE lease_until IS NOT NULL"
WRITES = ("POST", "PUT", "DELETE")

FLOWS: Mapping[str, Callable[..., Any]] = {
    "subscriptions": sync_subscriptions.fn,
    "bills": sync_bills.fn,
    "inbox": drain_inbox.fn,
    "approve": approve_bills.fn,
    "undo": undo_run.fn,
    "reconcile": reconcile.fn,
    "rebuild": rebuild_ledger.fn,
}

HARMS: Sequence[dict[str, Any]] = (
    {"harm": "commit_then_drop"},
    {"harm": "commit_then_drop", "times": 3},
    {"harm": "error_after_commit", "times": 2},
    {"harm": "html_503", "committed": True, "times": 6},
    {"harm": "html_503", "times": 12},
    {"harm": "status_429", "retry_after": 0, "times": 12},
    {"harm": "status_503", "times": 12},
    {"harm": "truncate", "times": 6},
    {"harm": "stale_list", "seconds": 240, "times": 40},
)


class Killed(BaseException):
    """What a kill looks like from inside: nothing of ours catches it."""


class Bridge:
    """One ledger and one environment; ``runs`` counts, ``happened`` counts the ways they went.

    ``backups`` are copies of the ledger, the oldest first.
    """

    def __init__(self, sandbox: Sandbox, home: Path, settings: Mapping[str, str]) -> None:
        self.world = sandbox.world
        self.home = home
        self.runs = 0
        self.happened: Counter[str] = Counter()
        self._ledgers = 0
        self.backups: list[Path] = []
        self._told: set[str] = set()
        use_environment(environment(sandbox, home, **settings))
        self.lose_ledger()

    def run(self, flow: str, **how: Any) -> Any:
        """The report of a run that nothing happens to."""
        self.runs += 1
        self.world.log.clear()
        return FLOWS[flow](**how)

    def disturbed(self, flow: str, dice: random.Random, ways: Sequence[str], **how: Any) -> str:
        """Run in one of these ways (sound, struck, killed), at a request that the dice say; how it ended, in words."""
        way, at, after, harm = dice.choice(ways), dice.randint(1, 40), dice.random() < 0.6, dice.choice(HARMS)
        self.happened[f"{flow} {way}"] += 1
        if way == "struck":
            fault = {**harm, "match": {"request": at}}
            return f"{flow} struck at request {at} with {harm}: {self._attempt(flow, fault, **how)}"
        if way == "killed":
            with dying(at, after=after):
                end = self._attempt(flow, None, **how)
            self._expire_leases()
            return f"{flow} to be killed at request {at}, {'after' if after else 'before'}: {end}"
        return f"{flow}: {self._attempt(flow, None, **how)}"

    def _attempt(self, flow: str, fault: Mapping[str, Any] | None, **how: Any) -> str:
        self.world.faults.add([] if fault is None else [dict(fault)])
        try:
            report = self.run(flow, **how)
        except Killed:
            return "killed"
        except BrokenInvariant:
            raise
        except MeterbridgeError as failure:
            return f"{failure.code}: {failure.message}"
        finally:
            self.world.faults.clear()
        return f"applied {report.applied}" if report else "nothing to do"

    def _expire_leases(self) -> None:
        with sqlite3.connect(self._file, timeout=10) as database:
            database.execute(EXPIRE)
        database.close()

    @property
    def _file(self) -> Path:
        return self.home / f"ledger-{self._ledgers}.sqlite3"

    def back_up(self) -> None:
        """Keep a copy of the ledger beside those of before."""
        self.backups.append(self.home / f"backup-{self._ledgers}-{len(self.backups)}.sqlite3")
        _copy(self._file, self.backups[-1])

    def restore(self, backup: Path, *, noted: bool) -> None:
        """Put a copy in the ledger's place; ``noted``: the note of what was written since stays beside it.

        The file itself stays: open connections go on with what it holds now.
        """
        _copy(backup, self._file)
        self._expire_leases()
        if not noted:
            (self.home / "default" / NOTE).unlink(missing_ok=True)

    def lose_ledger(self) -> None:
        """Everything that the bridge knew is gone: another, empty ledger, and no note of what was written."""
        self._ledgers += 1
        (self.home / "default" / NOTE).unlink(missing_ok=True)
        os.environ["METERBRIDGE_LEDGER_URL"] = f"sqlite:///{self.home}/ledger-{self._ledgers}.sqlite3"

    def hear(self, chooses: Callable[[Mapping[str, Any]], int]) -> int:
        """Put events of Chargebee in the inbox, each as often as ``chooses`` says (0: lost); how many came."""
        came = 0
        with self.ledger() as ledger, ledger.write() as tx:
            for event in list(self.world.chargebee.events.rows()):
                if event["id"] in self._told:
                    continue
                self._told.add(event["id"])
                hint = webhooks.parse(dumps(event))
                came += sum(inbox.put(tx, inbox.Event("chargebee", **asdict(hint))) for _ in range(chooses(event)))
            tx.commit()
        return came

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, to look into."""
        opened = Ledger.open(os.environ.get("METERBRIDGE_LEDGER_URL"), home=self.home, connection="default")
        try:
            yield opened
        finally:
            opened.close()

    def writes(self) -> list[str]:
        """What the last run wrote at the vendors."""
        log = [one for one in self.world.log if one.method in WRITES and one.path != "/oauth/token"]
        return [f"{one.vendor} {one.method} {one.path}" for one in log]


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source, timeout=10)) as one, closing(sqlite3.connect(target, timeout=10)) as other:
        one.backup(other)


@contextmanager
def dying(at: int, *, after: bool) -> Iterator[None]:
    """Inside the block the ``at``-th request and all that follow raise: the process is gone."""
    original = httpx.HTTPTransport.handle_request
    lock, sent = threading.Lock(), 0

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal sent
        with lock:
            sent += 1
            number = sent
        if number < at:
            return original(self, request)
        if number == at and after:
            original(self, request).read()
        raise Killed

    httpx.HTTPTransport.handle_request = handle  # type: ignore[method-assign]
    try:
        yield
    finally:
        httpx.HTTPTransport.handle_request = original  # type: ignore[method-assign]
