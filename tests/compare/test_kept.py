"""A ledger that 0.1.0 left in the middle of everything is opened, migrated and finished by today's code.

The sandbox stands where 0.1.0 left it, too: the requests that had reached it are played back. Afterwards both
vendors must be as if nothing had happened to 0.1.0, and nothing may be open.
"""

from __future__ import annotations

import functools
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, func, insert, select, text

from meterbridge.ledger import engine, migrate, schema
from tests import postgres
from tests.back_off import no_back_off
from tests.compare.bridge import Bridge
from tests.compare.ending import Ending
from tests.compare.keep import KEPT, LEDGER, SCENES, STAGING, Scene, kept, replayed, run
from tests.compare.plays import connected
from tests.flows.crash_state import _undate, differences

A_LOOK_LATER, ROUNDS = 360, 8
BY_NAME = {scene.name: scene for scene in SCENES}
SAMPLE = ("charge-lost", "charge-killed-after", "charge-killed-before", "account-lost", "proposed", "refused")
SLOW = (
    *("account_plan-lost", "external_mapping-lost", "charge_set-killed-after", "charge_set-unbilled-lost"),
    *("charge_removal-lost", "charge_removal-by-undo-killed-after", "credit-given-lost"),
    *("usage-lost", "usage_removal-killed-after", "superseded"),
)
"""Of every kind that the sample has not, one; the harms that are left are drills."""
LEFT = (pytest.mark.slow, pytest.mark.drill)
KINDS = {
    *("account", "account_plan", "external_mapping", "charge", "charge_set", "charge_removal"),
    *("credit", "usage", "usage_removal"),
}


@pytest.fixture(autouse=True)
def surroundings() -> Iterator[None]:
    before = dict(os.environ)
    with no_back_off():
        yield
    os.environ.clear()
    os.environ.update(before)


@functools.cache
def tape() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kept("tape.json"))
    return found


def opened(home: Path) -> sqlite3.Connection:
    """A copy of the kept ledger, as the file it was."""
    (home / LEDGER).write_bytes(kept(LEDGER))
    return sqlite3.connect(home / LEDGER)


def to_rest(scene: Scene, bridge: Bridge, still_open: Any) -> list[str]:
    """Somebody runs, and approves what is asked, until nothing is open or done; what is open in the end."""
    left: list[str] = []
    for _ in range(ROUNDS):
        before = len(bridge.tap.writes)
        done = run(bridge, "sync_bills" if scene.flow == "mark" else scene.flow).get("applied")
        for change_set in bridge.awaiting():
            bridge.run("approve_bills", change_set=change_set, by="ann")
        left = still_open()
        if not left and not done and len(bridge.tap.writes) == before:
            break
        bridge.world.advance(A_LOOK_LATER)
    return left


def rows(bridge: Bridge, began: int) -> dict[str, Any]:
    """Both vendors' rows; what came to be since then may have come at any time.

    Accounts of 0.1.0 do not carry their site, and nothing is written for that alone.
    """
    _undate(bridge.world, began)
    found = Ending.of("kept", bridge).rows
    for account in found["m3ter accounts"]:
        (account.get("customFields") or {}).pop("chargebee_site", None)
        if not account.get("customFields"):
            account.pop("customFields", None)
    return found


def still_open(url: str, home: Path, connection: str) -> list[str]:
    engines = engine.connect(engine.parse_url(url, home))
    table = schema.intents
    chosen = select(table.c.state, table.c.kind, table.c.natural_key).where(
        table.c.connection == connection, table.c.state.in_(schema.OPEN_STATES)
    )
    with engines.reader.connect() as database:
        found = [" ".join(row) for row in database.execute(chosen)]
    engines.dispose()
    return found


@functools.cache
def unharmed(name: str, home: Path) -> dict[str, Any]:
    """What today's code leaves of the scene when nothing happens to it."""
    scene = BY_NAME[name]
    url = f"sqlite:///{home}/{LEDGER}"
    with connected(scene.world(), home, scene.settings) as bridge:
        for step in scene.steps:
            run(bridge, step) if isinstance(step, str) else step(bridge.world)
        began = bridge.world.clock.now()
        if scene.flow == "mark":
            run(bridge, scene.flow)
        assert to_rest(scene, bridge, lambda: still_open(url, home, scene.name)) == []
        return rows(bridge, began)


def finished(scene: Scene, home: Path, url: str) -> tuple[dict[str, Any], list[str]]:
    """Both vendors' rows after today's code has finished what 0.1.0 left, and what is still open."""
    with closing(opened(home)) as database:
        charging = database.execute(
            "SELECT run_id FROM runs WHERE connection = ? AND flow = 'sync_bills' ORDER BY started_at", (scene.name,)
        ).fetchall()
    with connected(scene.world(), home, {**scene.settings, "METERBRIDGE_LEDGER_URL": url}) as bridge:
        replayed(scene, bridge.sandbox, tape()[scene.name])
        bridge.charging_runs = [run_id for (run_id,) in charging]
        began = bridge.world.clock.now()
        left = to_rest(scene, bridge, lambda: still_open(url, home, scene.name))
        return rows(bridge, began), left


def wanted(scene: Scene, folder: Path) -> dict[str, Any]:
    """The same for each way in which a scene was harmed."""
    first = next(one for one in SCENES if (one.flow, one.steps, one.at) == (scene.flow, scene.steps, scene.at))
    home = folder.parent / f"unharmed {first.name}"
    home.mkdir(exist_ok=True)
    return unharmed(first.name, home)


def in_order() -> list[Any]:
    slow = dict.fromkeys(SLOW, LEFT[:1]) | dict.fromkeys(SAMPLE, ())
    return [pytest.param(name, marks=slow.get(name, LEFT)) for name in BY_NAME]


@pytest.mark.parametrize("name", in_order())
def test_what_0_1_0_left_is_finished_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    scene = BY_NAME[name]
    found, left = finished(scene, tmp_path, f"sqlite:///{tmp_path}/{LEDGER}")
    assert left == []
    assert differences(wanted(scene, tmp_path), found) == []


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize(
    "name",
    [
        "charge-lost",
        "proposed",
        *(pytest.param(name, marks=LEFT) for name in ("charge_set-killed-after", "usage-lost")),
    ],
)
def test_the_same_on_postgresql(name: str, tmp_path: Path, postgres_server: postgres.Server) -> None:
    scene = BY_NAME[name]
    with postgres_server.database() as url:
        opened(tmp_path).close()
        copy(tmp_path / LEDGER, url, tmp_path)
        found, left = finished(scene, tmp_path, url)
    assert left == []
    assert differences(wanted(scene, tmp_path), found) == []


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[postgres.Server]:
    if postgres.binaries() is None:
        pytest.skip(postgres.MISSING)
    with postgres.running() as server:
        yield server


def copy(file: Path, url: str, home: Path) -> None:
    """The kept file's rows in a PostgreSQL database of the same, older schema."""
    source = engine.connect(engine.parse_url(f"sqlite:///{file}", home))
    target = engine.connect(engine.parse_url(url, home))
    tables = MetaData()
    with source.reader.connect() as older, target.writer.begin() as newer:
        at = migrate.revision(older)
        config = Config()
        config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
        config.attributes["connection"] = newer
        command.upgrade(config, at)
        tables.reflect(newer)
        for table in tables.sorted_tables:
            if table.name == schema.VERSION_TABLE:
                continue
            found = older.execute(text(f'SELECT * FROM "{table.name}"')).mappings().all()
            plain = [{name: _as(table.c[name], value) for name, value in row.items()} for row in found]
            if plain:
                newer.execute(insert(table), plain)
            if "id" in table.c:
                highest = select(func.coalesce(func.max(table.c.id), 1)).scalar_subquery()
                newer.execute(select(func.setval(func.pg_get_serial_sequence(table.name, "id"), highest)))
    source.dispose()
    target.dispose()


def _as(column: Any, value: Any) -> Any:
    """SQLite's 0 and 1 as PostgreSQL's booleans."""
    return bool(value) if value is not None and column.type.python_type is bool else value


def test_every_scene_is_told_where_it_is_played() -> None:
    assert {*SAMPLE, *SLOW} <= set(BY_NAME)
    assert {name.split("-")[0] for name in (*SAMPLE, *SLOW)} >= KINDS


def test_the_kept_ledger_has_intents_of_every_kind_cut_off_and_lost_and_some_in_every_state(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as database:
        found = set(database.execute("SELECT DISTINCT kind, state FROM intents"))
    assert {(kind, state) for kind in KINDS for state in ("sending", "unknown", "applied")} - found == {
        # The one removal of usage that there is was not applied: it is what was cut off.
        ("usage_removal", "applied"),
        # Nor is a set of charges in more than one piece, or a credit given twice.
        ("charge_set", "applied"),
        ("credit", "applied"),
        ("charge_removal", "applied"),
    }
    assert {state for _, state in found} == set(schema.INTENT_STATES)
    assert sum(file.stat().st_size for file in KEPT.iterdir()) <= 2_000_000


@pytest.mark.parametrize("name", STAGING)
def test_a_staging_file_still_answers_what_people_asked_it(name: str, tmp_path: Path) -> None:
    """Every table and column of intents, of what was set aside and of the run's facts; and the same intents."""
    scene = BY_NAME["sound"]
    (tmp_path / "older.duckdb").write_bytes(kept(f"{name}.duckdb"))
    with connected(scene.world(), tmp_path, scene.settings) as bridge:
        for step in (*scene.steps, scene.flow):
            run(bridge, step) if isinstance(step, str) else step(bridge.world)
    newest = max(tmp_path.glob(f"sound/staging/{STAGING[name]}/*.duckdb"), key=lambda file: file.stat().st_mtime)
    older, newer = (_asked(file) for file in (tmp_path / "older.duckdb", newest))
    assert older.keys() - newer.keys() == set()
    assert {table: set(columns) - set(newer[table]) for table, columns in older.items()} == {
        table: set() for table in older
    }
    if "out_intents" in older:
        assert _intents(tmp_path / "older.duckdb") == _intents(newest)
        assert _intents(newest) or name == "usage"  # which has measurements in their place


def _asked(file: Path) -> dict[str, list[str]]:
    """Columns by table, of those that README and docs tell people to ask."""
    with duckdb.connect(str(file), read_only=True) as database:
        found = database.execute("select table_name, column_name from information_schema.columns").fetchall()
    tables: dict[str, list[str]] = {}
    for table, column in found:
        if table.startswith(("out_", "map_", "run_facts")):
            tables.setdefault(table, []).append(column)
    return tables


def _intents(file: Path) -> list[Any]:
    with duckdb.connect(str(file), read_only=True) as database:
        return sorted(
            database.execute("select kind, action, amount, currency, reason from out_intents").fetchall(), key=str
        )
