"""The pytest side of the crash matrix: which cases there are, and two workers that play them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.flows.crash_ledgers import ADMIN

ROOT = Path(__file__).parents[2]
MATRIX = Path(__file__).with_name("matrix")
WORKERS = 2
SENT = ("story", "hook", "fault", "advance", "compare")


@functools.cache
def entries(name: str) -> dict[str, Any]:
    """A data file of the matrix: harms, states or corruptions by name."""
    found: dict[str, Any] = yaml.safe_load((MATRIX / f"{name}.yaml").read_text())
    return found


@dataclass
class Answered:
    """A case and what came of it; no problems means that both vendors and the ledger ended as if unharmed."""

    case: dict[str, Any]
    problems: list[str]
    ends: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Such as ``bill-approved: killed-before-sending at 17 on sqlite``."""
        case = self.case
        return f"{case['state']}: {case['harm']} at {case.get('at', 0)} on {case['database']}"


class Worker:
    """One ``crash_worker`` process."""

    def __init__(self, postgres: str | None) -> None:
        own = ("CHARGEBEE_", "M3TER_", "METERBRIDGE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        if postgres is not None:
            kept[ADMIN] = postgres
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.flows.crash_worker"],
            cwd=ROOT,
            env={**kept, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, case: dict[str, Any]) -> Answered:
        """One case, to its end."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps({"id": 0, "at": 0, "database": "sqlite", **case}) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            return Answered(case, [f"the worker ended with {self._child.wait()}"])
        told = json.loads(line)
        return Answered(
            case, told["problems"], told.get("ends") or [], told.get("requests") or [], told.get("seconds", 0.0)
        )

    def stop(self) -> None:
        """Let it end and clean up after itself."""
        self._child.communicate(timeout=60)


@contextmanager
def workers(postgres: str | None, number: int = WORKERS) -> Iterator[list[Worker]]:
    """Some workers for the length of a block."""
    made = [Worker(postgres) for _ in range(number)]
    try:
        yield made
    finally:
        for worker in made:
            worker.stop()


def play(crew: Sequence[Worker], cases: Iterable[dict[str, Any]]) -> list[Answered]:
    """All cases; answers in order of ending.

    Every other worker takes them from the end: the cases of a state stand together, so that few are prepared twice.
    """
    waiting = deque(cases)
    lock = threading.Lock()
    answered: list[Answered] = []

    def work(worker: Worker, take: Callable[[], dict[str, Any]]) -> None:
        while True:
            with lock:
                if not waiting:
                    return
                case = take()
            found = worker.play(case)
            with lock:
                answered.append(found)

    ends = (waiting.popleft, waiting.pop)
    threads = [threading.Thread(target=work, args=(worker, ends[n % 2])) for n, worker in enumerate(crew)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answered


def points(crew: Sequence[Worker], states: Iterable[str] | None = None) -> dict[str, list[str]]:
    """Requests of an unharmed run, by state; of all states unless some are named.

    Raises:
        AssertionError: An unharmed run left something open.
    """
    names = list(states or entries("states"))
    unharmed = play(crew, ({"state": state, "harm": "none"} for state in names))
    for one in unharmed:
        assert not one.problems, one
    sent = {one.case["state"]: one.requests for one in unharmed}
    return {state: sent[state] for state in names}


def matrix(requests: Mapping[str, list[str]], databases: Sequence[str]) -> list[dict[str, Any]]:
    """Every harm in every state, at the requests that it names, on every database at hand; state by state."""
    harms = entries("harms")
    cases = []
    for state, sent in requests.items():
        for name, harm in harms.items():
            for database in databases:
                cases += [case(state, name, at, database) for at in chosen(where(harm, state, database), sent)]
    return cases


def everything(requests: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Every harm at every request of every state, but where the data say why it can have no case."""
    return [
        case(state, name, at)
        for state, sent in requests.items()
        for name, harm in entries("harms").items()
        if state not in harm.get("never", {}) and (harm["at"] != "none" or state in harm["states"])
        for at in range(1, len(sent) + 1)
    ]


def where(harm: Mapping[str, Any], state: str, database: str = "sqlite") -> str:
    """At which of a state's requests a harm is done."""
    if database != "sqlite":
        return str(harm.get("on_postgresql", {}).get(state, "none"))
    if state in harm.get("without", {}) or state in harm.get("never", {}):
        return "none"
    return str(harm.get("states", {}).get(state, harm["at"]))


def chosen(which: str, requests: Sequence[str]) -> list[int]:
    """Numbers of requests, from 1.

    >>> [chosen(which, ["chargebee GET", "chargebee POST", "m3ter PUT"]) for which in ("every", "writes", "charges")]
    [[1, 2, 3], [2, 3], [2]]
    """
    match which:
        case "every":
            return list(range(1, len(requests) + 1))
        case "writes":
            return writes(requests)
        case "charges":  # what moves money, if anything does
            return [n for n in writes(requests) if requests[n - 1].startswith("chargebee")] or writes(requests)
        case "none":
            return []
    raise ValueError(f"no such choice of requests: {which}")


def writes(requests: Sequence[str]) -> list[int]:
    """Numbers of the requests that change something, from 1."""
    return [n for n, one in enumerate(requests, 1) if not one.endswith(("GET", "AUTH"))]


def case(state: str, harm: str, at: int, database: str = "sqlite") -> dict[str, Any]:
    """One case, as a worker takes it."""
    terms = {name: value for name, value in entries("harms")[harm].items() if name in SENT}
    return {"state": state, "harm": harm, "at": at, "database": database, **terms}
