"""A usage run sends an input that is whole and all there, or nothing; and says what it read."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from meterbridge.errors import CODES, RetriableError, SetupError
from meterbridge.sandbox import Sandbox
from meterbridge.staging.usage_query import WatermarkQuery, spool_query
from tests.flows.usage_rig import MAPPING, Usage, open_usage, rows


@pytest.fixture
def usage(open_sandbox: Callable[..., Sandbox], tmp_path: Path) -> Usage:
    return open_usage(open_sandbox, tmp_path)


def left_behind(usage: Usage) -> list[str]:
    """Files of a run's input that are still there."""
    return sorted(path.name for path in usage.folder.rglob("*-input*"))


def test_fewer_rows_than_expected_are_sent_by_nobody(usage: Usage) -> None:
    source = usage.file(rows(5))
    with pytest.raises(SetupError, match="has 5 rows, at least 6") as refusal:
        usage.sync(source, expect_rows=6)
    assert (refusal.value.code, usage.accepted(), left_behind(usage)) == ("MB-USAGE-INPUT", [], [])
    assert usage.sync(source, expect_rows=5).applied == {"measurement": 5}


def test_a_heading_without_rows_is_said(usage: Usage) -> None:
    report = usage.sync(usage.file([], "quiet.csv"), usage.file(rows(2)))
    assert "1 of 2 files have no row: quiet.csv" in report.notes
    assert (report.exit_code, report.applied) == (0, {"measurement": 2})
    with pytest.raises(SetupError):
        usage.sync(usage.file([], "quiet.csv"), expect_rows=1)


def test_the_report_accounts_for_every_line(usage: Usage) -> None:
    path = usage.folder / "odd.csv"
    sound = "cust-single,2026-03-16T10:00:00Z,"
    lines = [
        "customer,at,id,calls",
        f"{sound}e1,1",
        "",
        f"{sound}e2",
        f"{sound}e3,none",
        f'{sound}"e4,4',
        f"{sound}e5,5",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = usage.sync(str(path))
    assert report.lines == {
        "lines": 7, "skipped": 0, "headings": 1, "blank": 1, "rows": 2, "unreadable": 1, "under_open_quotes": 2,
    }  # fmt: skip
    told = {row["key"][2]: row["message"] for row in report.quarantined}
    assert "2 × the line lies under a quote" in told["open_quote"]
    assert "odd.csv lines 6-7" in told["open_quote"]
    assert "odd.csv line 4" in told["unreadable_line"]
    assert "source rows 2: odd.csv line 5" in told["number_unreadable"]
    assert (report.exit_code, usage.accepted(), left_behind(usage)) == (3, [1], [])


@pytest.mark.parametrize("source", ["nofile.csv", "no-*.csv", ".", "u.csv.bz2", "u.xls"])
def test_a_source_that_cannot_be_read_does_not_speak_of_rejected_rows(usage: Usage, source: str) -> None:
    for name in ("u.csv.bz2", "u.xls"):
        (usage.folder / name).write_bytes(b"BZh9")
    with pytest.raises(SetupError) as refusal:
        usage.sync(str(usage.folder / source))
    assert refusal.value.code == "MB-USAGE-INPUT"
    assert "reject" not in refusal.value.remedy
    assert refusal.value.remedy != CODES["MB-USAGE-INPUT"].remedy


def test_a_whole_file_and_a_cut_one_send_nothing_together(usage: Usage) -> None:
    whole = usage.file(rows(3))
    cut = usage.folder / "cut.csv.gz"
    cut.write_bytes(gzip.compress(Path(usage.file(rows(5_000), "more.csv")).read_bytes())[:-20])
    for strict in (False, True):
        with pytest.raises(SetupError, match=r"cut\.csv\.gz is packed and not whole"):
            usage.sync(whole, str(cut), strict=strict)
    assert (usage.accepted(), left_behind(usage)) == ([], [])


def test_a_failed_ingest_file_that_cannot_be_had_ends_no_run_and_is_asked_for_again(
    usage: Usage, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage.sync(usage.file(rows(3)))
    changed = rows(4)
    changed[1]["calls"] = 99
    get, closed = httpx.HTTPTransport.handle_request, True

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if closed and request.url.path.endswith("/failed"):
            raise httpx.ConnectError("no route", request=request)
        return get(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    report = usage.sync(usage.file(changed, "again.csv"))
    assert (report.applied, report.quarantined) == ({"measurement": 4}, [])
    assert any("failed-ingest files cannot be fetched" in note for note in report.notes)
    closed = False
    later = usage.sync(usage.file(rows(1, first=9), "later.csv"))
    assert [row["code"] for row in later.quarantined] == ["MB-USAGE-CHANGED"] * 3
    assert not any("failed-ingest" in note for note in later.notes)
    assert usage.sync(usage.file(rows(1, first=9), "later.csv")).quarantined == []


def test_a_failed_ingest_file_that_stays_away_is_set_aside(usage: Usage, monkeypatch: pytest.MonkeyPatch) -> None:
    usage.sync(usage.file(rows(2)))
    changed = rows(2)
    changed[1]["calls"] = 99
    get = httpx.HTTPTransport.handle_request

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/failed"):
            raise httpx.ConnectError("no route", request=request)
        return get(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    usage.sync(usage.file(changed, "again.csv"))
    usage.sandbox.world.advance(3 * 86_400)
    late = usage.sync(usage.file(changed, "again.csv"))
    assert [row["code"] for row in late.quarantined] == ["MB-USAGE-INGEST"] * 2  # m3ter told of each measurement
    assert usage.sync(usage.file(changed, "again.csv")).quarantined == []


@pytest.mark.parametrize(
    ("sql", "watermark", "url", "raised"),
    [
        pytest.param("select * from nope", "at", "sqlite:///{file}", SetupError, id="no-such-table"),
        pytest.param("selekt 1", "at", "sqlite:///{file}", SetupError, id="no-sql"),
        pytest.param("select 1 as id", "at", "sqlite:///{file}", SetupError, id="no-watermark"),
        pytest.param("select 1", "at", "mariadb+nodriver://u:geheim@h/x", SetupError, id="no-driver"),
        pytest.param("select 1", "at", "geheim", SetupError, id="no-url"),
        pytest.param("select 1", "at", "sqlite:////nowhere/at/all.db", RetriableError, id="away"),
    ],
)
def test_a_query_that_no_other_run_can_cure_is_a_matter_of_setting_up(
    tmp_path: Path, sql: str, watermark: str, url: str, raised: type[Exception]
) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(raised) as refusal:
        spool_query(
            url.format(file=tmp_path / "x.db"), WatermarkQuery(sql, watermark, ("id",)), at, at, tmp_path / "rows.csv"
        )
    assert "geheim" not in str(refusal.value)


def test_a_file_from_another_country_is_read_as_the_mapping_says(usage: Usage) -> None:
    usage.mapping.write_text(
        MAPPING + 'delimiter: ";"\nencoding: utf-16\nskip_lines: 3\ndecimal: ","\nthousands: "."\n', encoding="utf-8"
    )
    text = "a\nb\n\ncustomer;at;id;calls\ncust-single;2026-03-16T10:00:00Z;e1;1.234,0\n"
    path = usage.folder / "file.csv"
    path.write_bytes(text.encode("utf-16"))
    assert usage.sync(str(path)).quarantined == []
    assert usage.accepted() == [1234]
