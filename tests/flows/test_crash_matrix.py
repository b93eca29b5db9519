"""Killed, frozen or failed at any request, a rerun ends where an unharmed run ends: nothing twice, nothing missing.

``make test-whole`` plays a sample, ``make test-all`` what fits its budget, ``make matrix`` every harm at every request;
``make matrix EVERY=3/40`` a fortieth of that, from the third case on. One case again, for a closer look:
``METERBRIDGE_TEST_CASE='bill-approved killed-before-sending 16' pytest -q -m slow tests/flows/test_crash_matrix.py``
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests import postgres
from tests.flows import crash_rig
from tests.flows.crash_mutants import MUTANTS
from tests.flows.crash_rig import Answered, Worker, case, entries
from tests.flows.crash_settings import SETTINGS
from tests.flows.crash_stories import STORIES

LEAST_CASES = 300
BUDGET_SECONDS = 600
SAMPLE = (
    ("killed-after-the-vendor-committed", 1),
    ("killed-and-rerun-half-an-hour-later", 2),
    ("frozen-and-woken-after-a-takeover", 3),
)


@contextmanager
def crew(number: int = crash_rig.WORKERS) -> Iterator[tuple[list[Worker], list[str]]]:
    """Workers, and the databases they can play on."""
    with ExitStack() as stack:
        url, databases = None, ["sqlite"]
        if postgres.binaries() is not None:
            url = stack.enter_context(postgres.running()).url("postgres")
            databases.append("postgresql")
        yield stack.enter_context(crash_rig.workers(url, number)), databases


def told(answers: Sequence[Answered]) -> str:
    """What went wrong, and how to play it again."""
    lines = []
    for one in answers:
        again = f"{one.case['state']} {one.case['harm']} {one.case['at']} {one.case['database']}"
        lines += [f"{one.name} ended {one.ends}", *(f"    {each}" for each in one.problems)]
        lines += [f"    METERBRIDGE_TEST_CASE='{again}' pytest -q -m slow tests/flows/test_crash_matrix.py -k whole"]
    return "\n".join(lines)


def test_every_harm_and_state_has_cases() -> None:
    states, harms = entries("states"), entries("harms")
    assert set(states) == set(SETTINGS)
    assert {harm["story"] for harm in harms.values()} <= set(STORIES)
    assert {state for harm in harms.values() for state in named(harm)} <= set(states)
    assert set(entries("mutants")) == set(MUTANTS)
    sent = {state: ["chargebee GET", "m3ter POST", "chargebee POST"] for state in states}
    played = {(one["state"], one["harm"]) for one in crash_rig.matrix(sent, ["sqlite", "postgresql"])}
    missing = {(state, harm) for state in states for harm in harms} - played
    # A pair is left out by one that says why, or of a harm that names the few states it is for.
    excused = {(state, harm) for harm, one in harms.items() for state in states if is_excused(one, state)}
    assert missing == excused


def named(harm: Mapping[str, Any]) -> set[str]:
    """The states that a harm says something about."""
    return {state for part in ("states", "without", "never", "on_postgresql") for state in harm.get(part, {})}


def is_excused(harm: Mapping[str, Any], state: str) -> bool:
    """True if the data say, in words or by naming others only, that a harm has no case in a state."""
    if harm["at"] == "none":
        return state not in harm["states"]
    return any(str(harm.get(part, {}).get(state, "")).strip() for part in ("without", "never"))


def a_part(cases: list[dict[str, Any]], which: str) -> list[dict[str, Any]]:
    """All, or with ``3/40`` every fortieth from the third on."""
    first, _, step = which.partition("/")
    return cases[int(first) - 1 :: int(step)] if step else cases


def test_a_sample_of_the_crash_matrix_ends_as_if_unharmed() -> None:
    with crash_rig.workers(None) as workers:
        requests = crash_rig.points(workers, ["bill-approved"])["bill-approved"]
        numbers = crash_rig.writes(requests)
        answers = crash_rig.play(workers, [case("bill-approved", harm, numbers[n - 1]) for harm, n in SAMPLE])
    bad = [one for one in answers if one.problems]
    assert not bad, told(bad)


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.timeout(4 * 3600)
def test_the_whole_crash_matrix_ends_as_if_unharmed(capsys: pytest.CaptureFixture[str]) -> None:
    named = os.environ.get("METERBRIDGE_TEST_CASE", "").split()
    every = os.environ.get("METERBRIDGE_TEST_EVERY", "")
    with crew() as (workers, databases):
        began = time.monotonic()
        requests = crash_rig.points(workers)
        cases = a_part(crash_rig.everything(requests), every) if every else crash_rig.matrix(requests, databases)
        if named:
            state, harm, at, *database = named
            cases = [case(state, harm, int(at), *database)]
        answers = crash_rig.play(workers, cases)
    seconds = time.monotonic() - began
    points = sum(map(len, requests.values()))
    with capsys.disabled():
        spread = ", ".join(f"{n} {name}" for name, n in sorted(Counter(c["database"] for c in cases).items()))
        print(
            f"\ncrash matrix: {len(cases)} cases ({spread}) out of {points} requests of {len(requests)} states and "
            f"{len(entries('harms'))} harms, in {seconds:.0f} s of {BUDGET_SECONDS} s"
        )
    bad = [one for one in answers if one.problems]
    assert not bad, f"{len(bad)} of {len(answers)} cases\n{told(bad[:20])}"
    assert named or every or len(cases) >= LEAST_CASES
    if seconds > BUDGET_SECONDS and not every:
        pytest.fail(f"green, but {seconds:.0f} s is over the budget of {BUDGET_SECONDS} s") if _is_quiet() else None


def _is_quiet() -> bool:
    """True if nothing but the matrix kept this machine busy: only then does its duration mean anything."""
    return os.getloadavg()[1] <= crash_rig.WORKERS + 1.5


@pytest.mark.slow
@pytest.mark.parametrize("mutant", entries("mutants"))
def test_the_matrix_turns_red_under_a_mutant(mutant: str) -> None:
    chosen = entries("mutants")[mutant]
    with crash_rig.workers(None, 1) as workers:
        requests = crash_rig.points(workers, [chosen["state"]])[chosen["state"]]
        one = case(chosen["state"], chosen["harm"], crash_rig.writes(requests)[chosen["write"] - 1])
        sound, broken = workers[0].play(one), workers[0].play({**one, "mutant": mutant})
    assert not sound.problems, told([sound])
    assert broken.problems, f"{mutant} went unnoticed by {broken.name}"
