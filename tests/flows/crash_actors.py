"""Processes that run a flow and are killed or frozen at their k-th request."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import URL, Engine

from connectors.transport import Transport
from flows.approve_bills import approve_bills
from flows.drain_inbox import drain_inbox
from flows.sync_bills import sync_bills
from flows.sync_subscriptions import sync_subscriptions
from flows.sync_usage import sync_usage
from flows.undo_run import undo_run
from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import engine, proposals, runs
from meterbridge.settings import load_settings, use_environment
from meterbridge.staging import database
from tasks import upload_usage, usage_batches
from tasks.services import open_ledger
from tests.flows.crash_ledgers import cut_off


def _approve() -> Any:
    """A person approves what is proposed; once nothing is, a run delivers what was approved."""
    settings = load_settings()
    with closing(open_ledger(settings)) as ledger, ledger.read() as rx:
        asked = [one.change_set for one in proposals.awaiting(rx)]
    return approve_bills.fn(asked[0], "ann") if asked else sync_bills.fn()


def _undo() -> Any:
    """A person takes back what the first run of sync_bills charged."""
    with closing(open_ledger(load_settings())) as ledger, ledger.read() as rx:
        first = min((row for row in runs.recent(rx, flow="sync_bills")), key=lambda row: row.started_at)
    return undo_run.fn(first.run_id, "ann")


INPUTS = Path(__file__).with_name("matrix") / "usage"


def _usage(mapping: str, source: str, **options: Any) -> Callable[[], Any]:
    return lambda: sync_usage.fn(str(INPUTS / mapping), [str(INPUTS / source)], **options)


FLOWS: dict[str, Callable[[], Any]] = {
    "sync_bills": sync_bills.fn,
    "sync_subscriptions": sync_subscriptions.fn,
    "approve": _approve,
    "undo": _undo,
    "usage by api": _usage("calls.yaml", "calls.csv", via="api"),
    "usage by file": _usage("calls.yaml", "calls.csv", via="file"),
    "metered usage before": _usage("metered.yaml", "metered-before.csv", to="chargebee"),
    "metered usage": _usage("metered.yaml", "metered.csv", to="chargebee"),
    "drain chargebee": lambda: drain_inbox.fn("chargebee"),
    "drain m3ter": lambda: drain_inbox.fn("m3ter"),
}
MEASUREMENTS_PER_BATCH = 2
LONGEST_PAUSE = 0.02
PATIENCE_SECONDS = 60


def forked(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it in a child process; an exception comes back as ``problems``."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            result = work()
        except BaseException:  # noqa: BLE001 - the child must not return into its parent's code
            result = {"problems": [traceback.format_exc()]}
        _tell(writing, result)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(text) if text else {"problems": [f"the case's process ended with status {status}"]}


def _tell(writing: int, result: Mapping[str, Any]) -> None:
    with os.fdopen(writing, "w") as out:
        out.write(json.dumps(result))


def run_here(command: Mapping[str, Any]) -> dict[str, Any]:
    """Run a flow to its end in a child, unharmed."""
    return forked(lambda: run(command))


def share_what_is_compiled() -> None:
    """Let all ledgers of this process and its forks share what SQLAlchemy has compiled: much of a small run's time."""
    make, kept = engine.create_engine, {}

    def sharing(url: URL, **options: Any) -> Engine:
        made = make(url, **options)
        # What is compiled is kept under the dialect, which knows nothing of the database's name.
        made.dialect, made._compiled_cache = kept.setdefault(url.drivername, (made.dialect, made._compiled_cache))
        return made

    engine.create_engine = sharing  # type: ignore[assignment]


class Actor:
    """A process that waits for its cue; forked before the sandbox serves, while there is one thread."""

    def __init__(self) -> None:
        cue_out, self._cue = os.pipe()
        self._told, told_in = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._cue)
            os.close(self._told)
            with os.fdopen(cue_out) as cue:
                line = cue.readline()
            gc.disable()  # what ends after a second need not be tidy
            if line:
                _tell(told_in, run(json.loads(line)))
            os._exit(0)
        os.close(cue_out)
        os.close(told_in)
        self._done = False
        self.at_rest = False

    def start(self, command: Mapping[str, Any]) -> None:
        """Let it run; returns at once."""
        os.write(self._cue, json.dumps(command).encode() + b"\n")

    def wait(self) -> str:
        """Wait until it ends or freezes: ``frozen``, ``signal 9``, an error code, or ``done``."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            pid, status = os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                raise TimeoutError("an actor neither ended nor froze")
            time.sleep(0.002)
        if os.WIFSTOPPED(status):
            return "frozen"
        self._done = True
        if os.WIFSIGNALED(status):
            return f"signal {os.WTERMSIG(status)}"
        text = self._read()
        end = json.loads(text) if text else {"error": f"status {status}"}
        told = end.get("report") or {"applied": True}
        self.at_rest = not (told.get("held") or told["applied"])
        return str(end.get("error") or "done")

    def wake(self) -> None:
        """Let a frozen one go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it, whatever it does."""
        if not self._done:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._done = True
        os.close(self._cue)
        os.close(self._told)

    def _read(self) -> str:
        with os.fdopen(os.dup(self._told)) as told:
            return told.read()


def run(command: Mapping[str, Any]) -> dict[str, Any]:
    """Run a flow in this process; its report, or the error that ended it."""
    use_environment(command["environment"])
    # Back-off is tested where it is decided; here its pauses would only take time.
    (Transport.__init__.__kwdefaults__ or {})["sleep"] = lambda seconds: time.sleep(min(seconds, LONGEST_PAUSE))
    (Transport.__init__.__kwdefaults__ or {})["jitter"] = lambda: 0.0
    engine.WAIT_SECONDS = 1
    database.SETTINGS["threads"] = "1"  # for tables of a few rows, a second one only costs
    # A few rows make several batches and several files, so that a part of them can be missing.
    usage_batches.SLOT_MEASUREMENTS = MEASUREMENTS_PER_BATCH
    upload_usage.SLOTS_PER_FILE = 1
    if "hook" in command:
        if command["hook"]["what"] == "cut off the ledger":
            engine.WAIT_SECONDS = 0.1  # type: ignore[assignment] # for a lock that nobody will let go
        _install(**command["hook"])
    if "mutant" in command:
        from tests.flows.crash_mutants import MUTANTS

        MUTANTS[command["mutant"]]()
    try:
        report = FLOWS[command["flow"]]()
    except MeterbridgeError as failure:
        return {"error": f"{failure.code} {failure.message}"}
    except Exception as failure:  # noqa: BLE001 - any end of a harmed run is an end
        if os.environ.get("METERBRIDGE_TEST_TRACE"):
            traceback.print_exc(file=sys.stderr)
        return {"error": f"{type(failure).__name__}: {failure}"}
    if report is None:  # a drain that finds nothing waiting
        return {"report": {"held": 0, "applied": {}, "quarantined": 0}}
    return {"report": {"held": report.held, "applied": dict(report.applied), "quarantined": len(report.quarantined)}}


def _install(at: int, when: str, what: str) -> None:
    """Do harm around the ``at``-th request (from 1) that this process sends."""
    original = httpx.HTTPTransport.handle_request
    lock = threading.Lock()
    sent = 0

    def harmed(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal sent
        with lock:
            sent += 1
            number = sent
        if number == at and when == "before":
            HARMS[what]()
        response = original(self, request)
        if number == at and when == "after":
            HARMS[what]()
        return response

    httpx.HTTPTransport.handle_request = harmed  # type: ignore[method-assign]


def _fill_the_disk() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))


HARMS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "freeze": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "cut off the ledger": cut_off,
    "fill the disk": _fill_the_disk,
}
