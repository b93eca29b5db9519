"""Makes what later versions are held against, by 0.1.0: ``python -m tests.compare --keep`` writes ``kept/``.

One ledger with a connection for each of ``SCENES``: writes that were cut off or whose answers were lost, so that
intents of every kind stand in ``sending`` and ``unknown``, and others in every further state. With it the requests
that had reached the vendors: played back they lead a sandbox to where it stood. And the staging files of three runs.
"""

from __future__ import annotations

import json
import lzma
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from meterbridge.sandbox import CHARGEBEE_API_KEY, M3TER_API_KEY, M3TER_API_SECRET, Sandbox, World
from meterbridge.sandbox.scenarios import build
from meterbridge.sandbox.scenarios.month import use_and_bill
from tests.compare.bridge import Bridge
from tests.compare.plays import connected
from tests.compare.writes import TOKEN, Harm, Write, dying
from tests.flows import crash_worlds as worlds

KEPT = Path(__file__).with_name("kept")
USAGE = Path(__file__).parents[1] / "flows" / "matrix" / "usage"
LEDGER = "ledger.sqlite3"
STAGING = {"subscriptions": "sync_subscriptions", "bills": "sync_bills", "usage": "sync_usage"}
COMMITS, AWAY = {"harm": "commit_then_drop"}, {"harm": "status_503", "times": -1}
Way = Literal["sound", "killed-before", "killed-after", "lost"]
"""``lost``: executed, and from then on the vendors say nothing but that they are away."""
Step = Callable[[World], object] | str
"""What happens in the world, or a flow that runs."""

METERED = {"metered before": "metered-before.csv", "metered": "metered.csv"}


@dataclass(frozen=True, slots=True)
class Scene:
    """``flow`` is harmed in this way at the writes that match ``at``; ``steps`` is what happened before it."""

    name: str
    flow: str
    steps: tuple[Step, ...] = ()
    at: str = "nothing"
    way: Way = "sound"
    world: Callable[[], World] = lambda: build("single")
    more: tuple[tuple[str, str], ...] = ()

    @property
    def settings(self) -> dict[str, str]:
        """What the bridge is told beside its surroundings."""
        return {"METERBRIDGE_CONNECTION": self.name, **dict(self.more)}


def run(bridge: Bridge, flow: str, harm: Harm | None = None) -> dict[str, Any]:
    """The report of a flow, or of the usage of one of the kept files."""
    if flow in METERED:
        source = [str(USAGE / METERED[flow])]
        return bridge.harmed("sync_usage", harm, str(USAGE / "metered.yaml"), source, to="chargebee")
    if flow == "usage":
        return bridge.harmed("sync_usage", harm, str(USAGE / "calls.yaml"), [str(USAGE / "calls.csv")], via="api")
    if flow == "undo":
        return bridge.harmed("undo_run", harm, run_id=bridge.charging_runs[0], by="ann")
    if flow == "mark":
        for bill in bridge.world.m3ter.bills.rows():
            bridge.command("bills", "mark-invoiced", bill["id"], "--by", "ann", "--note", "by hand")
        return {}
    return bridge.harmed(flow, harm)


def take_code(world: World) -> None:
    """Somebody else's account plan has the code that ours would get: it is refused."""
    plan = next(row for row in world.m3ter.plans.rows() if row["code"] == "storage-eur")
    taken = {"planId": plan["id"], "productId": plan["productId"], "code": "sub-single-api-pro-EUR-Monthly.1"}
    row = {"id": "7d9f1a52-0c38-4b6e-8f27-a95e3c1d6b04", "accountId": "another", "startDate": "2026-01-01T00:00:00Z"}
    with world.lock:
        world.m3ter.save(world.m3ter.account_plans, {**row, **taken}, None)


BILLED: tuple[Step, ...] = ("sync_subscriptions", use_and_bill)
CHARGED: tuple[Step, ...] = (*BILLED, "sync_bills")
APPROVAL = (("METERBRIDGE_BILLS_APPROVAL", "required"),)
CREDIT = (("METERBRIDGE_NEGATIVE_DELTA", "credit_note"),)
PROMOTIONAL = (("METERBRIDGE_NEGATIVE", "promotional_credit"),)
NEGATIVE = worlds.amounts("1", "-2.5")
LESS: tuple[Step, ...] = (worlds.close_drafts, "sync_bills", worlds.amounts("1", "2"))


def _in_each_way(name: str, flow: str, at: str, steps: tuple[Step, ...] = (), **more: Any) -> list[Scene]:
    ways: tuple[Way, ...] = ("killed-before", "killed-after", "lost")
    return [Scene(f"{name}-{way}", flow, steps, at, way, **more) for way in ways]


def _no_draft(mode: str) -> dict[str, Any]:
    return {"more": (("METERBRIDGE_NO_PENDING_INVOICE", mode),), "steps": (*BILLED, worlds.no_draft_comes)}


SCENES: tuple[Scene, ...] = (
    *_in_each_way("account", "sync_subscriptions", "POST .*/accounts ", world=worlds.pair),
    *_in_each_way("account_plan", "sync_subscriptions", "POST .*/accountplans ", world=worlds.pair),
    *_in_each_way("external_mapping", "sync_subscriptions", "POST .*/externalmappings ", world=worlds.pair),
    *_in_each_way("charge", "sync_bills", "/add_charge", BILLED),
    *_in_each_way("charge_set", "sync_bills", "/create_for_charge", **_no_draft("create")),
    *_in_each_way("charge_set-unbilled", "sync_bills", "/unbilled_charges ", **_no_draft("unbilled")),
    *_in_each_way("charge_removal", "sync_bills", "/delete_line_items", (*CHARGED, worlds.amounts("50", "7"))),
    *_in_each_way("charge_removal-by-undo", "undo", "/delete_line_items", CHARGED),
    *_in_each_way("credit", "sync_bills", "/credit_notes ", (*CHARGED, *LESS), more=CREDIT),
    *_in_each_way("credit-given", "sync_bills", "/promotional_credits", (*BILLED, NEGATIVE), more=PROMOTIONAL),
    *_in_each_way("usage", "metered before", "/usages ", world=worlds.metered),
    *_in_each_way("usage_removal", "metered", "/delete_usage ", ("metered before",), world=worlds.metered),
    Scene("proposed", "sync_bills", BILLED, more=APPROVAL),
    Scene("superseded", "sync_bills", (*CHARGED, worlds.amounts("50", "7")), more=APPROVAL),
    Scene("dismissed", "mark", CHARGED, more=APPROVAL),
    Scene("refused", "sync_subscriptions", (take_code,)),
    Scene("sound", "usage", CHARGED),
)


def keep(home: Path) -> None:
    """Play all scenes on one ledger and write what is kept; prints how many intents of a kind are in each state."""
    tape: dict[str, list[list[dict[str, Any]]]] = {}
    for scene in SCENES:
        with connected(scene.world(), home, scene.settings) as bridge:
            tape[scene.name] = played(scene, bridge)
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir()
    whole = home / "whole.sqlite3"
    with closing(sqlite3.connect(home / LEDGER, isolation_level=None)) as database:
        database.execute("UPDATE intents SET lease_until = 1 WHERE lease_until IS NOT NULL")
        database.execute("VACUUM INTO ?", (str(whole),))
        for row in database.execute("SELECT kind, state, count(*) FROM intents GROUP BY 1, 2 ORDER BY 1, 2"):
            print(*row)
    pack(f"{LEDGER}.xz", whole.read_bytes())
    pack("tape.json.xz", json.dumps(tape, indent=0).encode())
    for name, flow in STAGING.items():
        newest = max(home.glob(f"sound/staging/{flow}/*.duckdb"), key=lambda file: file.stat().st_mtime)
        pack(f"{name}.duckdb.xz", newest.read_bytes())


def pack(name: str, content: bytes) -> None:
    """Write a file of ``KEPT``, compressed."""
    (KEPT / name).write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def kept(name: str) -> bytes:
    """A file of ``KEPT`` as it was."""
    return lzma.decompress((KEPT / f"{name}.xz").read_bytes())


def played(scene: Scene, bridge: Bridge) -> list[list[dict[str, Any]]]:
    """Play a scene; the writes that reached the vendors, one list for each of its runs."""
    tape = []
    for step in scene.steps:
        if isinstance(step, str):
            run(bridge, step)
            tape.append(bridge.tap.taken())
        else:
            step(bridge.world)
    harmed(scene, bridge)
    return [*tape, bridge.tap.taken()]


def harmed(scene: Scene, bridge: Bridge) -> None:
    """The scene's last run, as it ended."""

    def matches(write: Write) -> bool:
        return re.search(scene.at, write.text) is not None

    if scene.way.startswith("killed"):
        with dying(matches, after=scene.way == "killed-after"):
            run(bridge, scene.flow)
    else:
        run(bridge, scene.flow, Harm(COMMITS, matches, [AWAY]) if scene.way == "lost" else None)


def replayed(scene: Scene, sandbox: Sandbox, tape: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """Lead a fresh world of the scene to where its bridge left it, by the writes on the tape."""
    runs = iter(tape)
    with httpx.Client(base_url=sandbox.url, trust_env=False, timeout=30) as client:
        for step in (*scene.steps, scene.flow):
            if isinstance(step, str):
                _replay(client, next(runs))
            else:
                step(sandbox.world)
    sandbox.world.log.clear()


def _replay(client: httpx.Client, writes: Iterable[Mapping[str, Any]]) -> None:
    """With a token of the moment: an earlier one is out of date by a month."""
    asked = client.post(TOKEN, json={"grant_type": "client_credentials"}, auth=(M3TER_API_KEY, M3TER_API_SECRET))
    bearer = {"authorization": f"Bearer {asked.json()['access_token']}"}
    for one in writes:
        own = one["target"].startswith("/api/v2/")
        answer = client.request(
            one["method"],
            one["target"],
            content=one["body"],
            headers={**one["headers"], **({} if own else bearer)},
            auth=(CHARGEBEE_API_KEY, "") if own else None,
        )
        assert answer.status_code not in (401, 403, 404), f"{one['target']} is played back in vain: {answer.text}"
