"""One history: months of both vendors' lives, the bridge running beside them, struck and killed; then the books.

Everything follows from the seed. ``python -m tests.histories --seed 17`` plays one again and tells what happened.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.scenarios import build
from tests.histories import per_bill
from tests.histories.books import bridge_counts, complaints
from tests.histories.bridge import Bridge
from tests.histories.clerk import ACTS, Clerk
from tests.histories.drawn import Drawn, draw
from tests.histories.known import known, sent_unapproved
from tests.histories.life import DAY, Life
from tests.histories.lines import lines_of_ours
from tests.histories.moves import MOVES
from tests.histories.people import People
from tests.histories.plan_books import plan_complaints
from tests.money_law import Watch, watching

CUSTOMERS = 10
MONTHS = 2
CALM_ROUNDS = 6
BEYOND_HOLD_BACK = 400
"""Virtual seconds: what happened before is in every list, and in the window of the next run."""


@dataclass
class History:
    """A seed's history; ``story`` is what happened, ``wrong`` what must not be, ``happened`` counts moves and acts.

    ``given`` are settings by their full names that are not left to the dice, ``without`` moves and acts, by name,
    that never happen.
    """

    seed: int
    customers: int = CUSTOMERS
    only: Sequence[str] = ()
    months: int = MONTHS
    given: Mapping[str, str] = field(default_factory=dict)
    without: Collection[str] = ()
    story: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    runs: int = 0

    def __post_init__(self) -> None:
        self.drawn: Drawn = draw(self.seed, self.given)

    def play(self) -> list[str]:
        """Play it in a folder that is gone afterwards; returns what is wrong, which ends the history at once."""
        home = Path(tempfile.mkdtemp(prefix="history-"))
        world = build("empty", seed=self.seed)
        # The sandbox's time stands still between our steps: on a slow machine a history is the same.
        began = world.clock._began
        world.clock._monotonic = lambda: began
        world.switches.update(dict(self.drawn.switches))
        self.story += self.drawn.told()
        try:
            with Sandbox(world) as sandbox:
                people = People(sandbox)
                names = [f"cust-{n}" for n in range(1, self.customers + 1)]
                lives = [Life(world, people, str(self.seed), name) for name in names]
                lives = [life for life in lives if not self.only or life.customer_id in self.only]
                for life in lives:
                    life.begin()
                world.advance(DAY // 3)
                bridge = Bridge(sandbox, home, self.drawn.settings)
                clerk = Clerk(bridge, str(self.seed))
                with watching(Watch(world, bridge.ledger, self.wrong)) as watch:
                    self._live(bridge, lives, clerk)
                if not watch.booked:
                    self.wrong.append("nothing was booked at Chargebee: the law was not watched at all")
                self.runs = bridge.runs
                self.happened = sum((one.happened for one in (*lives, clerk, bridge)), Counter())
                people.close()
        finally:
            shutil.rmtree(home, ignore_errors=True)
        return self.wrong

    def _live(self, bridge: Bridge, lives: Sequence[Life], clerk: Clerk) -> None:
        world = bridge.world
        end = world.clock.now() + self.months * 30 * DAY
        moves = {move: chance for move, chance in MOVES.items() if move.__name__ not in self.without}
        acts = {act: chance for act, chance in ACTS.items() if act.__name__ not in self.without}
        self._calm(bridge, clerk, "at the beginning")
        steps = 0
        while world.clock.now() < end and not self.wrong:
            steps += 1
            dice = random.Random(f"{self.seed} step {steps}")
            world.advance(dice.randint(DAY, 8 * DAY))
            for life in lives:
                life.step(moves)
                self.story += life.did
                life.did.clear()
            bridge.back_up()
            self._disturbed(bridge, dice)
            for words in clerk.step(acts):
                self._say(bridge, words)
            if steps % 4 == 0:
                self._calm(bridge, clerk, f"after step {steps}")
        for last in (self._at_the_end, self._from_the_start, self._forgetful):
            if not self.wrong:
                last(bridge, clerk)

    def _disturbed(self, bridge: Bridge, dice: random.Random) -> None:
        """Some runs, most of them harmed."""
        for flow in ("subscriptions", "bills"):
            way, lost = dice.choice(("none", "none", "sound", "struck", "killed", "hint")), dice.getrandbits(30)
            if way in ("sound", "struck", "killed"):
                self._say(bridge, bridge.disturbed(flow, dice, (way,)))
            elif way == "hint" and flow == "subscriptions":
                came = bridge.hear(lambda event, lost=lost: random.Random(f"{lost} {event['id']}").choice((0, 1, 1, 2)))
                self._say(bridge, f"of {came} in the inbox {bridge.disturbed('inbox', dice, ('sound',))}")

    def _calm(self, bridge: Bridge, clerk: Clerk, when: str) -> None:
        """Nothing happens any more: runs come to rest soon, and then the books must be in order."""
        for left in range(CALM_ROUNDS, 0, -1):
            bridge.world.advance(BEYOND_HOLD_BACK)
            plans = bridge.run("subscriptions")
            wrote = bridge.writes()
            money = bridge.run("bills")
            wrote += bridge.writes()
            self._say(bridge, f"calm {when}: subscriptions {plans.applied}, bills {money.applied}")
            passed = clerk.approve_all()
            for words in passed:
                self._say(bridge, f"calm {when}: approves {words}")
            if not wrote and not passed:
                break
            if left == 1:
                self.wrong.append(f"{when}: runs do not come to rest, the last one wrote {wrote}, approved: {passed}")
                return
        found = [*plan_complaints(bridge.world, plans), *complaints(bridge, money)]
        if self.drawn.settings["METERBRIDGE_BILLS_APPROVAL"] == "required":
            found += sent_unapproved(bridge, clerk.approved)
        self.wrong += [f"{when}: {one}" for one in found]

    def _at_the_end(self, bridge: Bridge, clerk: Clerk) -> None:
        self._calm(bridge, clerk, "at the end")

    def _from_the_start(self, bridge: Bridge, _: Clerk) -> None:
        """Reading everything finds nothing that reading what had changed missed, and both sides compare as ours do."""
        for flow in ("subscriptions", "bills"):
            mapped = {row["id"] for row in bridge.world.m3ter.mappings.rows()}
            report = bridge.run(flow, full=True)
            if bridge.writes():
                new = [row for row in bridge.world.m3ter.mappings.rows() if row["id"] not in mapped]
                self.wrong.append(f"a full run of {flow} finds what others missed: {bridge.writes()} {new}")
        found = per_bill.accounts(bridge.world, known(bridge), report)
        self.wrong += per_bill.against_report(found, bridge.run("reconcile"))

    def _forgetful(self, bridge: Bridge, _: Clerk) -> None:
        """Without its ledger the bridge charges nothing twice and makes no twin.

        What people settled or undid is forgotten with it: that much may be charged.
        """
        before, stood, says = bridge_counts(bridge), set(lines_of_ours(bridge.world)), known(bridge)
        before["minor units charged"] += sum(max(0, one) for one in (*says.settled.values(), *says.undone.values()))
        bridge.lose_ledger()
        self._say(bridge, "the ledger is lost")
        for _ in range(2):
            bridge.world.advance(BEYOND_HOLD_BACK)
            for flow in ("subscriptions", "bills"):
                report = bridge.run(flow)
                self._say(bridge, f"{flow} with a new ledger: {report.applied}, wrote {bridge.writes()}")
        after = bridge_counts(bridge)
        for name, count in after.items():
            if count > before[name]:
                self.wrong.append(f"a lost ledger: {before[name]} {name} became {count}")
        if after["minor units charged"] > before["minor units charged"]:
            self.wrong += [f"    new: {line}" for line in lines_of_ours(bridge.world) if line not in stood]

    def _say(self, bridge: Bridge, words: str) -> None:
        self.story.append(f"{rfc3339(bridge.world.clock.now_ms())[:16]} -- {words}")
