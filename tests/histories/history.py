"""One history: months of both vendors' lives, the bridge running beside them, struck and killed; then the books.

Everything follows from the seed. ``python -m tests.histories --seed 17`` plays one again and tells what happened.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.scenarios import build
from tests.histories.books import bridge_counts, complaints, lines_of_ours, plan_complaints
from tests.histories.bridge import Bridge
from tests.histories.life import DAY, Life
from tests.histories.people import People

CUSTOMERS = 10
MONTHS = 2
CALM_ROUNDS = 4
BEYOND_HOLD_BACK = 400
"""Virtual seconds: what happened before is in every list, and in the window of the next run."""

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
SETTINGS: dict[str, Sequence[str]] = {
    "METERBRIDGE_ON_VOID": ("hold", "recharge"),
    "METERBRIDGE_ON_UNAPPROVED": ("keep", "remove"),
    "METERBRIDGE_NEGATIVE_DELTA": ("net", "net", "credit_note", "quarantine"),
    "METERBRIDGE_NEGATIVE": ("quarantine", "promotional_credit"),
    "METERBRIDGE_ON_PRODUCT_OVERLAP": ("quarantine", "child_account"),
    "METERBRIDGE_CHARGE_GROUPING": ("line", "line", "aggregation", "product"),
    "METERBRIDGE_NET_ACROSS_SUBSCRIPTIONS": ("false", "true"),
    "METERBRIDGE_BILL_SETTLE_HOURS": ("24", "0"),
    "METERBRIDGE_REPLACE_ON": ("material", "mapped_plan"),
}
SWITCHES: dict[str, Sequence[Any]] = {
    "draft_line_ids_on_close": ("keep", "renew"),
    "draft_after_close": ("gone", "readable"),
    "line_ids_on_recalculation": ("renew", "keep"),
    "duplicate_mappings": ("allow", "refuse"),
    "closed_invoice_write_status": (409, 400),
    "list_lag_seconds": (0, 0, 120),
    "auto_close_seconds": (0, 0, 6 * DAY),
}


@dataclass
class History:
    """A seed's history; ``story`` is what happened, ``wrong`` what must not be."""

    seed: int
    customers: int = CUSTOMERS
    only: Sequence[str] = ()
    months: int = MONTHS
    story: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    runs: int = 0

    def play(self) -> list[str]:
        """Play it in a folder that is gone afterwards; returns what is wrong, which ends the history at once."""
        home = Path(tempfile.mkdtemp(prefix="history-"))
        dice = random.Random(f"history {self.seed}")
        settings = {name: dice.choice(values) for name, values in SETTINGS.items()}
        world = build("empty", seed=self.seed)
        # The sandbox's time stands still between our steps: on a slow machine a history is the same.
        began = world.clock._began
        world.clock._monotonic = lambda: began
        world.switches.update({name: dice.choice(values) for name, values in SWITCHES.items()})
        if world.switches.auto_close_seconds:
            settings["METERBRIDGE_AUTO_CLOSE_DAYS"] = str(world.switches.auto_close_seconds // DAY)
        self.story += [f"{name}={value}" for name, value in settings.items()]
        self.story.append(str(world.switches.as_json()))
        try:
            with Sandbox(world) as sandbox:
                people = People(sandbox)
                names = [f"cust-{n}" for n in range(1, self.customers + 1)]
                lives = [Life(world, people, str(self.seed), name) for name in names]
                lives = [life for life in lives if not self.only or life.customer_id in self.only]
                for life in lives:
                    life.begin()
                world.advance(DAY // 3)
                bridge = Bridge(sandbox, home, settings)
                self._live(bridge, lives, dice)
                self.runs = bridge.runs
                people.close()
        finally:
            shutil.rmtree(home, ignore_errors=True)
        return self.wrong

    def _live(self, bridge: Bridge, lives: Sequence[Life], dice: random.Random) -> None:
        world = bridge.world
        end = world.clock.now() + self.months * 30 * DAY
        self._calm(bridge, "at the beginning")
        steps = 0
        while world.clock.now() < end and not self.wrong:
            world.advance(dice.randint(DAY, 8 * DAY))
            self._told(bridge, lives, "")
            steps += 1
            for life in lives:
                life.step()
            self._told(bridge, lives, "")
            self._disturbed(bridge, dice)
            if steps % 4 == 0:
                self._calm(bridge, f"after step {steps}")
        if not self.wrong:
            self._calm(bridge, "at the end")
        if not self.wrong:
            self._from_the_start(bridge)
        if not self.wrong:
            self._forgetful(bridge)

    def _disturbed(self, bridge: Bridge, dice: random.Random) -> None:
        """Some runs, most of them harmed."""
        for flow in ("subscriptions", "bills"):
            kind = dice.choice(("none", "none", "sound", "struck", "killed", "hint"))
            at, after, harm, lost = dice.randint(1, 40), dice.random() < 0.6, dice.choice(HARMS), dice.getrandbits(30)
            if kind == "sound":
                report = bridge.run(flow)
                self._say(bridge, f"{flow}: applied {report.applied}")
            elif kind == "struck":
                end = bridge.struck(flow, {**harm, "match": {"request": at}})
                self._say(bridge, f"{flow} struck at request {at} with {harm}: {end}")
            elif kind == "killed":
                end = bridge.killed(flow, at, after=after)
                self._say(bridge, f"{flow} to be killed at request {at}, {'after' if after else 'before'}: {end}")
            elif kind == "hint" and flow == "subscriptions":
                came = bridge.hear(lambda event, lost=lost: random.Random(f"{lost} {event['id']}").choice((0, 1, 1, 2)))
                report = bridge.run("inbox")
                self._say(bridge, f"inbox of {came}: applied {report and report.applied}")

    def _calm(self, bridge: Bridge, when: str) -> None:
        """Nothing happens any more: runs come to rest soon, and then the books must be in order."""
        for left in range(CALM_ROUNDS, 0, -1):
            bridge.world.advance(BEYOND_HOLD_BACK)
            plans = bridge.run("subscriptions")
            wrote = bridge.writes()
            money = bridge.run("bills")
            wrote += bridge.writes()
            self._say(bridge, f"calm {when}: subscriptions {plans.applied}, bills {money.applied}")
            if not wrote:
                break
            if left == 1:
                self.wrong.append(f"{when}: runs do not come to rest, the last one wrote {wrote}")
                return
        found = [*plan_complaints(bridge.world, plans), *complaints(bridge, money)]
        self.wrong += [f"{when}: {one}" for one in found]

    def _from_the_start(self, bridge: Bridge) -> None:
        """Reading everything finds nothing that reading what had changed missed."""
        for flow in ("subscriptions", "bills"):
            bridge.run(flow, full=True)
            if bridge.writes():
                self.wrong.append(f"a full run of {flow} finds what others missed: {bridge.writes()}")

    def _forgetful(self, bridge: Bridge) -> None:
        """Without its ledger the bridge charges nothing twice and makes no twin."""
        before, stood = bridge_counts(bridge), set(lines_of_ours(bridge.world))
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

    def _told(self, bridge: Bridge, lives: Sequence[Life], words: str) -> None:
        for life in lives:
            self.story += life.did
            life.did.clear()
