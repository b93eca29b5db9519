"""Usage from a file into the sandbox's m3ter: sent once, resumed, judged before it is sent, failures traced."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from meterbridge.errors import MeterbridgeError, SetupError
from meterbridge.sandbox import Sandbox
from tests.flows.usage_rig import Usage, open_usage, rows


@pytest.fixture
def usage(open_sandbox: Callable[..., Sandbox], tmp_path: Path) -> Usage:
    return open_usage(open_sandbox, tmp_path)


def posts(usage: Usage) -> int:
    return sum(each.path.endswith("/measurements") and each.method == "POST" for each in usage.sandbox.world.log)


def accounts(usage: Usage) -> list[str]:
    with usage.sandbox.world.lock:
        return sorted(row["code"] for row in usage.sandbox.world.m3ter.accounts.rows())


def test_every_row_arrives_once_and_a_second_run_sends_nothing(usage: Usage) -> None:
    source = usage.file(rows(2_500))
    report = usage.sync(source)
    assert (report.applied, report.exit_code) == ({"measurement": 2_500}, 0)
    assert usage.by_account() == [("cust-single", n) for n in range(2_500)]
    assert posts(usage) == 3
    again = usage.sync(source)
    assert (again.applied, again.unchanged, again.exit_code) == ({}, 2_500, 0)
    assert posts(usage) == 3


def test_an_unknown_account_is_rejected_and_none_is_made(usage: Usage) -> None:
    source = usage.file([*rows(2), *rows(1, first=2, customer="nobody"), *rows(1, first=3, customer="CUST-single")])
    report = usage.sync(source)
    assert accounts(usage) == ["cust-single"]
    assert usage.by_account() == [("cust-single", 0), ("cust-single", 1)]
    assert [(row["code"], row["key"][2]) for row in report.quarantined] == [
        ("MB-USAGE-ACCOUNT", "account_near"),
        ("MB-USAGE-ACCOUNT", "account_unknown"),
    ]
    assert report.exit_code == 3
    with Path(report.rejects).open(encoding="utf-8") as file:
        assert [(row["source_row"], row["reason"]) for row in csv.DictReader(file)] == [
            ("3", "account_unknown"),
            ("4", "account_near"),
        ]


def test_strict_refuses_the_whole_input(usage: Usage) -> None:
    source = usage.file([*rows(3), *rows(1, first=3, customer="nobody")])
    with pytest.raises(SetupError, match="1 of 4 measurements are rejected") as refusal:
        usage.sync(source, strict=True)
    assert refusal.value.code == "MB-USAGE-INPUT"
    assert usage.by_account() == []


def test_a_preview_shows_measurements_and_sends_none(usage: Usage) -> None:
    report = usage.sync(usage.file(rows(5)), preview=2)
    assert [json.loads(text)["measure"] for text in report.preview] == [{"calls": 0}, {"calls": 1}]
    assert report.dry_run
    assert posts(usage) == 0


@pytest.mark.parametrize("harm", ["commit_then_drop", "drop_before", "error_after_commit", "status_429", "html_503"])
def test_a_harmed_request_neither_loses_nor_repeats(usage: Usage, harm: str) -> None:
    source = usage.file(rows(3_000))
    usage.sandbox.world.faults.add([{"harm": harm, "match": {"method": "POST", "path": "/measurements$", "nth": 2}}])
    try:
        report = usage.sync(source)
    except MeterbridgeError:
        report = usage.sync(source)
    assert usage.by_account() == [("cust-single", n) for n in range(3_000)]
    assert report.quarantined == []
    final = usage.sync(source)
    assert (final.applied, final.quarantined) == ({}, [])


def test_what_m3ter_cannot_ingest_comes_back_with_its_source_row(usage: Usage) -> None:
    usage.sync(usage.file(rows(3)))
    changed = rows(3)
    changed[1]["calls"] = 99
    report = usage.sync(usage.file(changed, "again.csv"))
    assert [row["code"] for row in report.quarantined] == ["MB-USAGE-CHANGED"] * 3
    assert "source row 2 of run" in " ".join(row["message"] for row in report.quarantined)
    assert usage.by_account() == [("cust-single", n) for n in range(3)]


def test_a_file_upload_brings_the_same_measurements(usage: Usage) -> None:
    source = usage.file(rows(2_500))
    report = usage.sync(source, via="file")
    assert report.applied == {"measurement": 2_500}
    assert usage.by_account() == [("cust-single", n) for n in range(2_500)]
    assert posts(usage) == 0
    again = usage.sync(source, via="file")
    assert (again.applied, again.unchanged) == ({}, 2_500)
    assert len(usage.sandbox.world.m3ter.uploads) == 1


def test_a_backfill_goes_once(usage: Usage) -> None:
    old = rows(3)
    for row in old:
        row["at"] = "2026-01-05T10:00:00Z"
    source = usage.file(old)
    refused = usage.sync(source)
    assert [row["code"] for row in refused.quarantined] == ["MB-USAGE-OLD"]
    assert usage.sync(source, allow_old=True).applied == {"measurement": 3}
    usage.sandbox.world.advance(40 * 86_400)
    again = usage.sync(source, allow_old=True)
    assert (again.applied, again.unchanged) == ({}, 0)
    assert [row["key"][2] for row in again.quarantined] == ["backfilled"]
    assert len(usage.by_account()) == 3
