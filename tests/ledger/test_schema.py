"""The migrations add up to ``schema.py``, and the tables keep their promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.types import Double

from meterbridge.errors import SetupError
from meterbridge.ledger import engine, migrate, schema
from meterbridge.ledger.ledger import Ledger
from meterbridge.ledger.schema import metadata
from meterbridge.ledger.schema_safety import money_runs  # noqa: F401 - its tables are part of the metadata
from tests import postgres, quick_ledgers


@pytest.fixture(autouse=True)
def by_the_product_alone() -> Iterator[None]:
    """Here every ledger is migrated, none told what an earlier one was."""
    with quick_ledgers.real_migrations():
        yield


MIGRATIONS = Path(migrate.__file__).parent / "migrations"

SQLITE_SHAPE = "SELECT type, name, sql FROM sqlite_master WHERE tbl_name <> 'ledger_version' AND sql IS NOT NULL"
POSTGRES_SHAPES = (
    """SELECT table_name, row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position), column_name,
    data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'ledger_version'""",
    """SELECT tablename, indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'ledger_version'""",
    """SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'ledger_version'""",
)


def _shape(database: Connection) -> list[tuple[object, ...]]:
    """Everything the database itself says of its tables."""
    queries = (SQLITE_SHAPE,) if database.dialect.name == "sqlite" else POSTGRES_SHAPES
    return sorted((tuple(row) for query in queries for row in database.execute(text(query))), key=repr)


def _described(url: str, home: Path) -> list[tuple[object, ...]]:
    engines = engine.connect(engine.parse_url(url, home))
    with engines.reader.connect() as database:
        shape = _shape(database)
    engines.dispose()
    return shape


@pytest.fixture
def fresh_url(request: pytest.FixtureRequest, ledger_url: str, tmp_path: Path) -> Iterator[str]:
    """A second database of the same kind, made from ``schema.py`` without any migration."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/fresh.sqlite3"
        if not ledger_url.startswith("sqlite"):
            server: postgres.Server = request.getfixturevalue("postgres_server")
            url = stack.enter_context(server.database())
        engines = engine.connect(engine.parse_url(url, tmp_path))
        with engines.writer.begin() as database:
            metadata.create_all(database)
        engines.dispose()
        yield url


def test_a_migrated_ledger_is_a_fresh_one(ledger: Ledger, ledger_url: str, fresh_url: str, tmp_path: Path) -> None:
    migrated = _described(ledger_url, tmp_path)
    assert migrated == _described(fresh_url, tmp_path)
    assert len(migrated) > 30
    del ledger


def test_a_ledger_that_a_test_gets_quickly_is_a_migrated_one(
    ledger: Ledger, ledger_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    quick_ledgers.install()
    opened = []
    with ExitStack() as stack:
        for name in ("first", "next"):  # the first one may be where the statements are noted
            url = f"sqlite:///{tmp_path}/{name}.sqlite3"
            if not ledger_url.startswith("sqlite"):
                url = stack.enter_context(request.getfixturevalue("postgres_server").database())
            quick = Ledger.open(url, home=tmp_path, connection="default")
            with quick.read() as rx:
                opened.append((_described(url, tmp_path), rx.ask("SELECT version_num FROM ledger_version").all()))
            quick.close()
    with ledger.read() as rx:
        version = rx.ask("SELECT version_num FROM ledger_version").all()
    assert opened == [(_described(ledger_url, tmp_path), version)] * 2


def test_the_newest_migration_is_the_one_the_schema_names() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_heads() == [schema.HEAD]


def test_a_ledger_of_a_newer_version_is_left_alone(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    with ledger.write() as tx:
        tx.execute(text("UPDATE ledger_version SET version_num = '9999'"))
        tx.commit()
    before = _described(ledger_url, tmp_path)
    with pytest.raises(SetupError, match="at revision 9999") as refusal:
        Ledger.open(ledger_url, home=tmp_path, connection="default")
    assert refusal.value.code == "MB-SCHEMA"
    assert _described(ledger_url, tmp_path) == before


def test_a_migration_that_fails_leaves_nothing_behind(ledger_url: str, tmp_path: Path) -> None:
    engines = engine.connect(engine.parse_url(ledger_url, tmp_path))
    with engines.writer.begin() as database:
        database.execute(text("CREATE TABLE allowances (unexpected INTEGER)"))
    before = _described(ledger_url, tmp_path)
    with pytest.raises(Exception, match="allowances"):
        Ledger.open(ledger_url, home=tmp_path, connection="default")
    assert _described(ledger_url, tmp_path) == before
    engines.dispose()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection")
def test_every_key_starts_with_the_connection(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    """Only numbers that the database hands out are unique without it."""
    engines = engine.connect(engine.parse_url(ledger_url, tmp_path))
    looked_at = 0
    for table in inspect(engines.reader).get_table_names():
        if table == schema.VERSION_TABLE:
            continue
        found = inspect(engines.reader)
        keys = [found.get_pk_constraint(table)["constrained_columns"]]
        keys += [list(index["column_names"]) for index in found.get_indexes(table)]
        keys += [list(constraint["column_names"]) for constraint in found.get_unique_constraints(table)]
        for key in keys:
            assert key[0] == "connection" or key == ["id"], f"{table}: {key}"
            looked_at += 1
    assert looked_at > 25
    engines.dispose()
    del ledger


def test_only_times_are_floating_point_numbers() -> None:
    floats = {
        column.name for table in metadata.tables.values() for column in table.columns if isinstance(column.type, Double)
    }
    assert floats == {
        "attempt_started_at",
        "approved_at",
        "begun_at",
        "bound_at",
        "created_at",
        "done_at",
        "due_at",
        "ended_at",
        "first_seen",
        "first_sent_at",
        "held_at",
        "last_seen",
        "lease_until",
        "next_slot",
        "occurred_at",
        "proposed_at",
        "position",
        "received_at",
        "released_at",
        "seen_at",
        "since",
        "started_at",
        "try_after",
        "until",
        "updated_at",
    }


def test_the_way_back_drops_every_table(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    del ledger
    engines = engine.connect(engine.parse_url(ledger_url, tmp_path))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engines.writer.begin() as database:
        config.attributes["connection"] = database
        command.downgrade(config, "base")
    assert inspect(engines.reader).get_table_names() == [schema.VERSION_TABLE]
    engines.dispose()


def test_an_index_serves_the_charges_of_an_invoice(tmp_path: Path) -> None:
    ledger = Ledger.open(None, home=tmp_path, connection="default")
    ledger.close()
    database = create_engine(f"sqlite:///{tmp_path}/ledger.sqlite3")
    plan = "EXPLAIN QUERY PLAN SELECT 1 FROM mappings WHERE connection = 'd' AND kind = 'charge' AND "
    with database.connect() as connection:
        (row,) = connection.execute(text(f"{plan} json_extract(state, '$.' || 'invoice_id') = 'inv-1'")).all()
    assert "mappings_by_invoice" in row.detail
    database.dispose()
