"""What happens in a case: a run is harmed, time passes or not, somebody runs again. One function per story."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meterbridge.sandbox import Sandbox
from tests.flows.crash_actors import Actor
from tests.flows.crash_ledgers import CaseLedger
from tests.flows.crash_settings import Setting
from tests.flows.crash_worlds import recalculate

A_LOOK_LATER = 360
"""Virtual seconds: an outcome that only lists show is looked for twice, five minutes apart."""


@dataclass
class Stage:
    """What a story plays with."""

    sandbox: Sandbox
    ledger: CaseLedger
    actors: list[Actor]
    setting: Setting
    case: Mapping[str, Any]
    first_run: int = 0
    """How many requests the first of the unharmed runs sent."""

    def start(self, number: int, **more: Any) -> Actor:
        """Let an actor run the flow."""
        settings = {**self.setting.settings, **self.case.get("settings", {})}
        command = {"flow": self.setting.flow, "environment": self.ledger.environment(self.sandbox, **settings), **more}
        if "mutant" in self.case:
            command["mutant"] = self.case["mutant"]
        self.actors[number].start(command)
        return self.actors[number]

    def rerun(self, number: int) -> list[str]:
        """Somebody runs again; with patience, until nothing is left to do."""
        ends = [self.start(number).wait()]
        while self.setting.patient and not self.actors[number].at_rest and number + 1 < len(self.actors):
            number += 1
            self.ledger.expire_leases()
            self.sandbox.world.advance(A_LOOK_LATER)
            ends.append(self.start(number).wait())
        return ends

    def harmed(self) -> dict[str, Any]:
        """The hook that this case's harm asks for, at its request."""
        harm = self.case["hook"]
        return {"hook": {"at": self.case["at"], "when": harm["when"], "what": harm["what"]}}

    def time_passes(self) -> None:
        """Leases of those that are gone run out; virtual time as the case says."""
        self.ledger.expire_leases()
        if self.case.get("advance"):
            self.sandbox.world.advance(self.case["advance"])


def unharmed(stage: Stage) -> list[str]:
    """One run, nothing happens to it."""
    ends = [stage.start(0).wait()]
    stage.first_run = len(stage.sandbox.world.log)
    if stage.setting.patient:
        ends += stage.rerun(1)
    assert set(ends) == {"done"}, ends
    return ends


def struck(stage: Stage) -> list[str]:
    """The process itself is harmed at request k; then somebody runs again."""
    first = stage.start(0, **stage.harmed()).wait()
    stage.ledger.restore()
    stage.time_passes()
    return [first, *stage.rerun(1)]


def struck_and_forgotten(stage: Stage) -> list[str]:
    """As ``struck``, and the ledger is deleted before the next run."""
    first = stage.start(0, **stage.harmed()).wait()
    stage.ledger.delete()  # leases and all
    return [first, *stage.rerun(1)]


def struck_and_recalculated(stage: Stage) -> list[str]:
    """As ``struck``, and m3ter calculates the bill anew before the next run."""
    first = stage.start(0, **stage.harmed()).wait()
    stage.time_passes()
    recalculate(stage.sandbox.world)
    return [first, stage.start(1).wait()]


def failing_vendor(stage: Stage) -> list[str]:
    """The vendor answers badly from request k on, as often as the fault says; then it is sound again."""
    fault = {**stage.case["fault"], "match": {"request": stage.case["at"]}}
    stage.sandbox.world.faults.add([fault])
    first = stage.start(0).wait()
    stage.sandbox.world.faults.clear()
    stage.time_passes()
    return [first, *stage.rerun(1)]


def frozen(stage: Stage) -> list[str]:
    """The process is frozen at request k, another run takes over and ends, then the first one wakes."""
    zombie = stage.start(0, **stage.harmed())
    first = zombie.wait()
    stage.time_passes()
    second = stage.start(1).wait()
    if first == "frozen":
        zombie.wake()
        first = zombie.wait()
    stage.time_passes()
    return [first, second, *stage.rerun(2)]


def together(stage: Stage) -> list[str]:
    """Two runs start at once; a third one finds what they left."""
    both = [stage.start(0), stage.start(1)]
    ends = [actor.wait() for actor in both]
    stage.time_passes()
    return [*ends, stage.start(2).wait()]


PATIENCE = 4
"""Further runs that a patient state may take."""

ACTORS = {"unharmed": 1, "frozen": 3, "together": 3}
"""Processes that a story needs; two where nothing is said."""


def actors(story: str, setting: Setting) -> int:
    """How many processes a case takes at most."""
    return ACTORS.get(story, 2) + (PATIENCE if setting.patient else 0)


STORIES: dict[str, Callable[[Stage], list[str]]] = {
    "unharmed": unharmed,
    "struck": struck,
    "struck and forgotten": struck_and_forgotten,
    "struck and recalculated": struck_and_recalculated,
    "failing vendor": failing_vendor,
    "frozen": frozen,
    "together": together,
}
