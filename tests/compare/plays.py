"""What is played: the demo month, the kinds of usage, lives, histories. Each ends with both vendors' books."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from meterbridge.sandbox import Sandbox, World
from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.scenarios import build
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.compare.bridge import Bridge
from tests.compare.ending import Ending
from tests.flows import crash_worlds
from tests.flows.lives_rows import DAYS, WORLDS, epoch, lives
from tests.flows.lives_world import CATALOG_CHANGES_ON, FIRST_SYNC, HOUR, live, make_world, write_catalog
from tests.histories import at_m3ter
from tests.histories.drawn import draw
from tests.histories.life import DAY, Life
from tests.histories.moves import MOVES
from tests.histories.people import People

BEYOND_HOLD_BACK = 400
CALM_ROUNDS = 6
CUSTOMERS, MONTHS = 5, 2
BUSY = {**MOVES, at_m3ter.use: 0.95, at_m3ter.bill: 0.7, at_m3ter.approve: 0.9}
"""A step takes these moves, so often: more is charged than in other histories."""
AS_BEFORE = {
    "METERBRIDGE_BILL_LEVEL_LINES": "hold",
    "METERBRIDGE_ON_SIMILAR_ACCOUNT": "create",
}
"""Settings of today that bring 0.1.0's ways back in histories: a later default would make all that follows differ."""
USAGE = Path(__file__).parents[1] / "flows" / "matrix" / "usage"
Endings = Iterator[Ending]


@contextmanager
def connected(world: World, home: Path, settings: Mapping[str, str]) -> Iterator[Bridge]:
    """A bridge on a sandbox of the world, whose time stands still but for our steps."""
    began = world.clock._began
    world.clock._monotonic = lambda: began
    with Sandbox(world) as sandbox:
        yield Bridge(sandbox, home, settings)


def demo(seed: int, home: Path) -> Endings:
    """What ``meterbridge demo`` does, on a world of that seed."""
    world = build("demo", seed=seed)
    with connected(world, home, {}) as bridge:
        bridge.run("sync_subscriptions")
        use_and_bill(world)
        for flow in ("sync_bills", "sync_subscriptions", "sync_bills", "reconcile"):
            bridge.run(flow)
        yield Ending.of(f"demo {seed}", bridge)


def usage(home: Path) -> Endings:
    """Measurements by request and by file, and usage for Chargebee's metered items, the second file a correction."""
    for via in ("api", "file"):
        with connected(build("single"), home / via, {}) as bridge:
            bridge.run("sync_subscriptions")
            for _ in range(2):
                bridge.run("sync_usage", str(USAGE / "calls.yaml"), [str(USAGE / "calls.csv")], via=via)
            yield Ending.of(f"usage by {via}", bridge)
    with connected(crash_worlds.metered(), home / "metered", {}) as bridge:
        for name in ("metered-before.csv", "metered.csv", "metered.csv"):
            bridge.run("sync_usage", str(USAGE / "metered.yaml"), [str(USAGE / name)], to="chargebee")
        yield Ending.of("usage to Chargebee", bridge)


WAYS = ("each day", "at the end", "told each day")


def played_lives(part: tuple[int, int], home: Path) -> Endings:
    """Every n-th life of ``tests/flows/lives``: synced each day, only at the end, or as its events tell."""
    first, step = part
    for name, settings in WORLDS.items():
        rows = [life for life in lives() if life.world == name][first - 1 :: step]
        for way in WAYS if name == "plain" else WAYS[:2]:
            folder = home / f"{name} {way}".replace(" ", "-")
            folder.mkdir(parents=True)
            catalog = folder / "catalog.yaml"
            write_catalog(catalog, changed=False)
            world = make_world(name, rows)
            with connected(world, folder, {**settings, "METERBRIDGE_CATALOG": str(catalog)}) as bridge:
                world.advance_to(epoch(FIRST_SYNC))
                bridge.run("sync_subscriptions")
                bridge.hear(world.chargebee.events.rows())
                bridge.run("drain_inbox", limit=10_000)
                for at in DAYS:
                    live(world, rows, at)
                    if name == "the catalog changes" and at == CATALOG_CHANGES_ON:
                        write_catalog(catalog, changed=True)
                    world.advance_to(epoch(at) + HOUR)
                    if way == "told each day":
                        bridge.hear(reversed(list(world.chargebee.events.rows())))
                        bridge.run("drain_inbox", limit=10_000)
                    if way == "each day" or at == DAYS[-1]:
                        bridge.run("sync_subscriptions")
                yield Ending.of(f"lives, {name}, {way}", bridge)


def history(seed: int, home: Path) -> Endings:
    """Months of random lives by the settings that the seed draws, runs harmed, a clerk at work; then no ledger.

    Each customer is alone in a world of its own, so that what differs for one differs for nobody else. Who begins on
    a 31st is left out: such a billing epoch is another one since 0.1.0, and every bill that follows.
    """
    left = CUSTOMERS
    for number in itertools.count(1):
        if not left:
            return
        if (yield from _months_of(f"cust-{number}", seed, home / str(number))):
            left -= 1


def _months_of(customer: str, seed: int, home: Path) -> Generator[Ending, None, bool]:
    """One customer's history, an ending a step: the first that differs shows what made all that follows differ.

    Returns True if it was played.
    """
    drawn = draw(seed, AS_BEFORE)
    world = build("empty", seed=seed)
    world.switches.update(dict(drawn.switches))
    steps = itertools.count()
    with connected(world, home, drawn.settings) as bridge:
        people = People(bridge.sandbox)
        life = Life(world, people, str(seed), customer)
        life.begin()
        if any(rfc3339(row["started_at"] * 1000)[8:10] == "31" for row in life.subscriptions):
            people.close()
            return False
        world.advance(DAY // 3)
        _calm(bridge)

        def ending() -> Ending:
            return Ending.of(f"history {seed}, {customer}, step {next(steps)}", bridge, of_late=True)

        yield ending()
        end = world.clock.now() + MONTHS * 30 * DAY
        while world.clock.now() < end:
            dice = f"{seed} step {life.steps + 1}"
            world.advance(random.Random(dice).randint(DAY, 8 * DAY))
            life.step(BUSY)
            _work(bridge, dice)
            yield ending()
            if life.steps % 4 == 0:
                _calm(bridge)
                yield ending()
        _calm(bridge)
        bridge.run("sync_subscriptions", full=True)
        bridge.run("sync_bills", full=True)
        bridge.run("reconcile")
        yield ending()
        bridge.lose_ledger()
        for _ in range(2):
            world.advance(BEYOND_HOLD_BACK)
            bridge.run("sync_subscriptions")
            bridge.run("sync_bills")
        yield ending()
        people.close()
    return True


def _work(bridge: Bridge, dice: str) -> None:
    """A step of the bridge, most runs of it harmed, and of the person who works with it.

    What happened at Chargebee is past ``METERBRIDGE_HOLD_BACK_SECONDS``: 0.1.0 read no later than that.
    """
    bridge.world.advance(BEYOND_HOLD_BACK)
    if random.Random(f"{dice} told").random() < 0.3:
        bridge.hear(bridge.world.chargebee.events.rows())
        bridge.disturbed("drain_inbox", f"{dice} drain")
    bridge.disturbed("sync_subscriptions", f"{dice} subscriptions")
    bridge.disturbed("sync_bills", f"{dice} bills")
    for change_set in bridge.awaiting():
        if random.Random(f"{dice} approve").random() < 0.6:
            bridge.disturbed("approve_bills", f"{dice} approve", change_set=change_set, by="ann")
    if bridge.charging_runs and random.Random(f"{dice} undo").random() < 0.12:
        bridge.disturbed("undo_run", f"{dice} undo", run_id=bridge.charging_runs[-1], by="ann")
    for row in bridge.set_aside():
        act = _chosen(f"{dice} {row['key']}", {"retry": 0.15, "dismiss": 0.05})
        if act == "retry":
            bridge.command("quarantine", "retry", str(row["id"]))
        elif act == "dismiss":
            bridge.command("quarantine", "dismiss", str(row["id"]), "--by", "ann", "--note", "by hand")
    for bill in bridge.world.m3ter.bills.rows():
        if random.Random(f"{dice} {bill['id']}").random() < 0.01:
            bridge.command("bills", "mark-invoiced", bill["id"], "--by", "ann", "--note", "by hand")


def _chosen(dice: str, shares: Mapping[str, float]) -> str | None:
    """One of these or none, by record: what happens to one does not depend on which others there are."""
    drawn = random.Random(dice).random()
    for act, share in shares.items():
        if drawn < share:
            return act
        drawn -= share
    return None


def _calm(bridge: Bridge) -> None:
    """Nothing happens any more, and a person approves: runs come to rest. It takes as long however many they are."""
    end = bridge.world.clock.now() + CALM_ROUNDS * BEYOND_HOLD_BACK
    for _ in range(CALM_ROUNDS):
        bridge.world.advance(BEYOND_HOLD_BACK)
        before = len(bridge.tap.writes)
        bridge.run("sync_subscriptions")
        bridge.run("sync_bills")
        asked = bridge.awaiting()
        for change_set in asked:
            bridge.run("approve_bills", change_set=change_set, by="ann")
        if len(bridge.tap.writes) == before and not asked:
            break
    bridge.world.advance_to(end)


Play = Callable[[Path], Endings]


def plays(seeds: Sequence[int], part: tuple[int, int] | None) -> dict[str, Play]:
    """All that is asked for, by name; the lives only where a part of them is."""
    chosen: dict[str, Play] = {"demo": lambda home: demo(7, home), "usage": usage}
    if part is not None:
        chosen["lives"] = lambda home: played_lives(part, home)
    for seed in seeds:
        chosen[f"history {seed}"] = lambda home, seed=seed: history(seed, home)  # type: ignore[misc]
    return chosen
