"""Runs cases of the crash matrix: ``python -m tests.flows.crash_worker``, one JSON line in and out per case.

A case is played by real processes. They are forked from one process that has
imported everything and holds the prepared world, so a case costs no start-up:

    worker ── forks ──► case (serves the sandbox) ── forks ──► actors (run the flow, bare)

An actor is killed with SIGKILL or frozen with SIGSTOP at its k-th request, by a
hook around httpx's own transport: nothing of ours runs between the harm and the end.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.scenarios import build
from meterbridge.sandbox.scenarios.month import use_and_bill
from meterbridge.sandbox.world import LoggedRequest, World
from tests.flows import crash_actors
from tests.flows.crash_actors import Actor, run_here
from tests.flows.crash_ledgers import CaseLedger, Ledgers, open_ledgers
from tests.flows.crash_settings import SETTINGS, Setting, Step
from tests.flows.crash_state import differences, final_state
from tests.flows.crash_stories import STORIES, Stage, actors


class Worker:
    """Prepared states by name, and what an unharmed run leaves of each."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledgers] = {}
        self._prepared: dict[tuple[str, str], Any] = {}
        self._unharmed: dict[tuple[str, str], dict[str, Any]] = {}

    def answer(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """Play one case; says what the unharmed run leaves, too."""
        began = time.monotonic()
        name = (case["state"], case["database"])
        if name not in self._prepared:
            self._prepare(*name)
        unharmed = self._unharmed[name]
        if case["harm"] == "none":
            problems = _unsound(unharmed, *(["set aside"] if SETTINGS[case["state"]].sets_aside else []))
            return {"requests": unharmed["requests"], "problems": problems, "seconds": 0.0}
        left = self._play(name, case)
        problems = left.get("problems") or differences(*(_compared(case, one) for one in (unharmed, left)))
        return {"problems": problems, "ends": left.get("ends"), "seconds": round(time.monotonic() - began, 2)}

    def _prepare(self, state: str, database: str) -> None:
        if database not in self._ledgers:
            self._ledgers[database] = open_ledgers(database)
        ledgers = self._ledgers[database]
        setting = SETTINGS[state]
        world, ledger = setting.scenario(), ledgers.empty()
        for step in setting.steps:
            _take(step, setting, world, ledger)
        world.log.clear()
        self._prepared[state, database] = (world, ledger, world.clock.now())
        case = {"harm": "none", "story": "unharmed", "at": 0}
        self._unharmed[state, database] = self._play((state, database), case)

    def _play(self, name: tuple[str, str], case: Mapping[str, Any]) -> dict[str, Any]:
        world, ledger, began = self._prepared[name]
        setting = SETTINGS[name[0]]

        def play() -> dict[str, Any]:
            copy = ledger.copy()
            try:
                crew = [Actor() for _ in range(actors(case["story"], setting))]
                with Sandbox(world) as sandbox:
                    stage = Stage(sandbox, copy, crew, setting, case)
                    ends = STORIES[case["story"]](stage)
                    return {
                        "state": final_state(world, copy, began),
                        "requests": [request_name(one) for one in world.log[: stage.first_run]],
                        "ends": ends,
                    }
            finally:
                for actor in crew:
                    actor.stop()
                copy.drop()

        return crash_actors.forked(play)


def _take(step: Step, setting: Setting, world: World, ledger: CaseLedger) -> None:
    if step.change is not None:
        step.change(world)
    if step.hear is not None:
        ledger.tell(step.hear(world))
    if step.flow is not None:
        with Sandbox(world) as sandbox:
            end = run_here({"flow": step.flow, "environment": ledger.environment(sandbox, **setting.settings)})
        assert "report" in end, end


def request_name(one: LoggedRequest) -> str:
    """Such as ``m3ter POST``; that for a token is none that changes anything."""
    return f"{one.vendor} {'AUTH' if one.path == '/oauth/token' else one.method}"


def _compared(case: Mapping[str, Any], end: Mapping[str, Any]) -> dict[str, Any]:
    """What counts in this case."""
    state = {name: part for name, part in end["state"].items() if name in case.get("compare", end["state"])}
    return _as_a_new_ledger_knows(state) if case["story"] == "struck and forgotten" else state


def _as_a_new_ledger_knows(state: Mapping[str, Any]) -> dict[str, Any]:
    """It finds charges instead of having sent them, knows its own flow only, and not whose usage was there first.

    Nor does it know how often a usage record was replaced, which is the end of the record's id, and since when an
    unbilled charge stands; the date of an invoice is compared at Chargebee.
    """
    ledger = state["ledger"]
    found = [row for row in ledger["known"] if row[0] in ("charge", "credit", "usage")]
    unsaid = ("adopted", "revision", "invoice_date")
    known = [[*row[:3], {k: v for k, v in row[3].items() if k not in unsaid}] for row in found]
    aside = [row for row in ledger["set aside"] if not row.endswith(" MB-USAGE-CHANGED")]
    kept = {"known": known, "open": ledger["open"], "set aside": aside, "usage": ledger["usage"]}
    nameless = re.sub(r"(mb-[0-9a-f]{40})-\d+", r"\1", json.dumps({**state, "ledger": kept}))
    compared: dict[str, Any] = json.loads(nameless)
    return compared


def _unsound(unharmed: Mapping[str, Any], *meant: str) -> list[str]:
    """An unharmed run that leaves something open proves nothing about harmed ones."""
    if "state" not in unharmed:
        return list(unharmed["problems"])
    ledger = unharmed["state"]["ledger"]
    return [
        f"unharmed, yet {name}: {ledger[name]}" for name in ("open", "set aside") if ledger[name] and name not in meant
    ]


def warm_up() -> None:
    """Run every flow once here, so that a fork finds all imported and compiled: a first run costs twice a second one's.

    What was started for it has ended again: there is one thread when the first case is forked.
    """
    crash_actors.share_what_is_compiled()
    with Sandbox(build("single")) as sandbox:
        ledger = open_ledgers("sqlite").empty()
        for flow in ("sync_subscriptions", "usage by api", "sync_bills", "sync_bills"):
            if flow == "sync_bills":
                use_and_bill(sandbox.world)
            crash_actors.run({"flow": flow, "environment": ledger.environment(sandbox)})
        ledger.drop()
    # What is here stays: the collector need not look at it, nor copy its pages, in any fork.
    gc.collect()
    gc.freeze()


def main() -> None:
    """Answer cases until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints must not get between the answers
    tempfile.tempdir = tempfile.mkdtemp(prefix="mb-crash-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    warm_up()
    worker = Worker()
    try:
        for line in sys.stdin:
            case = json.loads(line)
            try:
                result = worker.answer(case)
            except Exception:  # noqa: BLE001 - a broken case must be told, not end the worker
                result = {"problems": [traceback.format_exc()], "seconds": 0.0}
            out.write(json.dumps({"id": case["id"], **result}) + "\n")
            out.flush()
    finally:
        gc.unfreeze()
        shutil.rmtree(Path(tempfile.tempdir), ignore_errors=True)


if __name__ == "__main__":
    main()
