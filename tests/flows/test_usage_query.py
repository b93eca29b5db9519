"""Usage out of a database, by a query with a watermark: each row once, whatever is killed, late or empty."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, create_engine, text

from flows.sync_subscriptions import sync_subscriptions
from flows.sync_usage import sync_usage
from meterbridge.errors import MeterbridgeError, SetupError
from meterbridge.sandbox import Sandbox
from meterbridge.staging.usage_query import WatermarkQuery, spool_query
from tasks.report_usage import UsageReport
from tests import postgres

NOW = datetime(2026, 3, 17, 9, tzinfo=UTC)
MAPPING = """\
name: log
account: customer
ts: used_at
key: [id]
meters:
  - meter: api_calls
    measure: {calls: calls}
query:
  sql: select id, customer, used_at, calls from usage_log where customer <> 'nobody'
  watermark: used_at
  start: 2026-03-01T00:00:00+00:00
"""


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    if postgres.binaries() is None:
        if os.environ.get("METERBRIDGE_TEST_NO_SKIP") == "1":
            pytest.fail(postgres.MISSING)
        pytest.skip(postgres.MISSING)
    with postgres.running() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with a log of usage, and nothing else."""
    if request.param == "sqlite":
        yield from _with_table(f"sqlite:///{tmp_path / 'source.sqlite'}")
        return
    with request.getfixturevalue("server").database() as made:
        yield from _with_table(made)


def _with_table(url: str) -> Iterator[str]:
    kind = "timestamptz" if url.startswith("postgresql") else "datetime"
    with engine_of(url).begin() as database:
        database.execute(
            text(f"create table usage_log (id varchar(20), customer varchar(50), used_at {kind}, calls integer)")
        )
    yield url


def engine_of(url: str) -> Engine:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


class Log:
    """The source's table and the sandbox that its rows go to."""

    def __init__(self, sandbox: Sandbox, url: str, mapping: Path) -> None:
        self.sandbox = sandbox
        self.engine = engine_of(url)
        self.mapping = mapping
        mapping.write_text(MAPPING, encoding="utf-8")

    def add(self, first: int, count: int, at: datetime | None, *, step: int = 1) -> None:
        """Rows whose ``calls`` are their numbers; ``step`` seconds apart."""
        rows = [
            {
                "id": f"r{first + n}",
                "at": None if at is None else (at + timedelta(seconds=n * step)).strftime("%Y-%m-%d %H:%M:%S+00"),
                "calls": first + n,
            }
            for n in range(count)
        ]
        if self.engine.dialect.name == "sqlite":
            rows = [{**row, "at": row["at"] and str(row["at"]).removesuffix("+00")} for row in rows]
        with self.engine.begin() as database:
            database.execute(text("insert into usage_log values (:id, 'cust-single', :at, :calls)"), rows)

    def sync(self) -> UsageReport:
        return sync_usage.fn(str(self.mapping))

    def accepted(self) -> list[int]:
        with self.sandbox.world.lock:
            return sorted(int(m.measures["calls"]) for ms in self.sandbox.world.m3ter.usage.rows.values() for m in ms)


@pytest.fixture
def log(open_sandbox: Callable[..., Sandbox], tmp_path: Path, url: str) -> Log:
    budget = {"METERBRIDGE_M3TER_INGEST_REQUESTS_PER_SECOND": "1000", "METERBRIDGE_USAGE_SOURCE_URL": url}
    sandbox = open_sandbox("single", **budget)
    sync_subscriptions.fn()
    return Log(sandbox, url, tmp_path / "usage.yaml")


def test_each_window_is_read_once_and_the_watermark_moves(log: Log) -> None:
    log.add(0, 1_500, NOW - timedelta(hours=3))
    assert log.sync().applied == {"measurement": 1_500}
    assert (log.sync().extracted, log.sync().applied) == ({"rows": 0}, {})
    log.sandbox.world.advance(3_600)
    log.add(1_500, 10, NOW + timedelta(minutes=30))
    assert log.sync().applied == {"measurement": 10}
    assert log.accepted() == list(range(1_510))


def test_rows_of_the_last_minutes_wait_until_no_earlier_one_can_come(log: Log) -> None:
    log.add(0, 1, NOW - timedelta(minutes=10))
    log.add(1, 1, NOW - timedelta(minutes=2))
    assert log.sync().applied == {"measurement": 1}
    # One more of the same second comes in after the first run: it is as new as the other.
    log.add(2, 1, NOW - timedelta(minutes=2))
    log.sandbox.world.advance(600)
    assert log.sync().applied == {"measurement": 2}
    assert log.accepted() == [0, 1, 2]


def test_many_rows_of_one_instant_are_all_in_one_window_in_a_fixed_order(log: Log) -> None:
    log.add(0, 2_500, NOW - timedelta(hours=1), step=0)
    assert log.sync().applied == {"measurement": 2_500}
    assert log.accepted() == list(range(2_500))


def test_rows_without_a_watermark_are_told(log: Log) -> None:
    log.add(0, 2, NOW - timedelta(hours=1))
    log.add(2, 3, None)
    report = log.sync()
    assert [row["key"][2] for row in report.quarantined] == ["watermark_missing"]
    assert "3 × the watermark column is empty" in report.quarantined[0]["message"]
    assert (log.accepted(), report.exit_code) == ([0, 1], 3)
    with log.engine.begin() as database:
        database.execute(text("delete from usage_log where used_at is null"))
    assert log.sync().exit_code == 0


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "number", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_killed_run_reads_its_window_again_whatever_came_in_meanwhile(
    log: Log, monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    log.add(0, 2_500, NOW - timedelta(hours=3))
    send, seen = httpx.HTTPTransport.handle_request, 0

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal seen
        if request.url.path.endswith("/measurements"):
            seen += 1
            if seen >= number:
                if seen == number and when == "after":
                    send(self, request).read()
                raise Killed
        return send(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(httpx.HTTPTransport, "handle_request", handle)
        with pytest.raises(Killed):
            log.sync()
    log.sandbox.world.advance(3_600)
    log.add(2_500, 100, NOW + timedelta(minutes=10))
    again = log.sync()
    assert (again.extracted, again.quarantined) == ({"rows": 2_500}, [])
    assert log.sync().applied == {"measurement": 100}
    assert log.accepted() == list(range(2_600))


def test_a_database_that_is_away_is_told_in_a_line(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERBRIDGE_USAGE_SOURCE_URL", "postgresql://nobody:hush@127.0.0.1:9/none")
    with pytest.raises(MeterbridgeError) as away:
        log.sync()
    assert away.value.code == "MB-UNAVAILABLE"
    assert "hush" not in str(away.value)


def test_a_query_without_a_database_is_a_setting_that_is_missing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METERBRIDGE_USAGE_SOURCE_URL")
    with pytest.raises(SetupError, match="METERBRIDGE_USAGE_SOURCE_URL is not set"):
        log.sync()


def test_rows_are_read_by_thousands_and_not_all_at_once(url: str, tmp_path: Path) -> None:
    day = datetime(2026, 3, 16, tzinfo=UTC)
    rows = [{"id": f"r{n}", "at": f"{day + timedelta(seconds=n):%Y-%m-%d %H:%M:%S}"} for n in range(40_000)]
    with engine_of(url).begin() as database:
        database.execute(text("insert into usage_log values (:id, 'c', :at, 1)"), rows)
    asked = WatermarkQuery("select * from usage_log", "used_at", ("id",))
    path = tmp_path / "spool.csv"
    tracemalloc.start()
    spool_query(url, asked, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC), path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.read_text(encoding="utf-8").count("\n") == 40_001
    # 40,000 rows as Python objects are above 20 MB; 5,000 of them about 3.
    assert most < 10_000_000
