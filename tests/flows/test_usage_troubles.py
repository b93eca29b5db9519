"""Usage runs in bad company: empty and huge inputs, odd texts, a second run beside, a dead network, a full disk."""

from __future__ import annotations

import csv
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import httpx
import pytest

from meterbridge.errors import MeterbridgeError, RetriableError, SetupError
from meterbridge.sandbox import Sandbox
from meterbridge.staging.usage_file import UsageFile
from tests.flows.usage_rig import MAPPING, Usage, open_usage, rows


@pytest.fixture
def usage(open_sandbox: Callable[..., Sandbox], tmp_path: Path) -> Usage:
    return open_usage(open_sandbox, tmp_path)


@pytest.mark.parametrize("text", ["customer,at,id,calls\n", ""], ids=["headings-only", "nothing-at-all"])
def test_an_empty_file_sends_nothing_and_is_no_failure(usage: Usage, text: str) -> None:
    path = usage.folder / "empty.csv"
    path.write_text(text, encoding="utf-8")
    if text:
        report = usage.sync(str(path))
        assert (report.extracted, report.applied, report.exit_code) == ({"rows": 0}, {}, 0)
    else:
        # Without headings nobody can say whether it is the right file.
        with pytest.raises(SetupError) as refusal:
            usage.sync(str(path))
        assert refusal.value.code in ("MB-USAGE-INPUT", "MB-USAGE-MAPPING")
    assert usage.accepted() == []


def test_texts_of_all_kinds_arrive_as_they_are(usage: Usage) -> None:
    keys = ["日本語", "🧮" * 20, "a,b", 'say "x"', "line\nbreak", "tab\there", "\u00e9", "e\u0301", " padded "]
    path = usage.folder / "odd.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["customer", "at", "id", "calls"])
        writer.writerows(["cust-single", "2026-03-16T10:00:00Z", key, n] for n, key in enumerate(keys))
    report = usage.sync(str(path))
    assert (report.quarantined, usage.accepted()) == ([], list(range(len(keys))))
    assert usage.sync(str(path)).applied == {}


def test_a_file_in_another_encoding_is_told(usage: Usage) -> None:
    path = usage.folder / "latin.csv"
    path.write_bytes("customer,at,id,calls\ncust-single,2026-03-16T10:00:00Z,Zoé,1\n".encode("latin-1"))
    report = usage.sync(str(path))
    assert [row["key"][2] for row in report.quarantined] == ["unreadable_line"]
    assert usage.accepted() == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("meterz: 5", "meterz", id="unknown-key"),
        pytest.param("missing: 5", "missing", id="wrong-type"),
        pytest.param("chargebee: {subscription: a}", "item_price", id="half-a-target"),
    ],
)
def test_a_wrong_mapping_is_told_with_its_line(usage: Usage, line: str, said: str) -> None:
    usage.mapping.write_text(MAPPING + line + "\n", encoding="utf-8")
    with pytest.raises(SetupError) as refusal:
        usage.sync(usage.file(rows(1)))
    assert refusal.value.code == "MB-USAGE-MAPPING"
    assert ":8:" in refusal.value.message
    assert said in refusal.value.message


SOURCES = {
    "pipe.csv": "pipe.csv is a pipe or a device", "/dev/null": "/dev/null is a pipe or a device",
    "folder": "folder is a directory", "none-*.csv": r"no file matches none-\*.csv", "": "name of a source is empty",
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_that_is_no_file_is_told_for_what_it_is(
    usage: Usage, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(usage.folder)
    os.mkfifo("pipe.csv")
    Path("folder").mkdir()
    with pytest.raises(SetupError, match=SOURCES[source]) as refusal:
        usage.sync(source)
    assert (refusal.value.code, usage.accepted()) == ("MB-USAGE-INPUT", [])


def test_two_runs_of_one_input_at_once_send_it_once_and_say_nothing_wrong(usage: Usage) -> None:
    source = usage.file(rows(6_000))
    usage.sandbox.world.faults.add([{"harm": "slow", "seconds": 0.1, "times": -1, "match": {"path": "/measurements$"}}])
    failures: list[MeterbridgeError] = []

    def run() -> None:
        try:
            usage.sync(source)
        except MeterbridgeError as trouble:
            failures.append(trouble)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    usage.sandbox.world.faults.clear()
    final = usage.sync(source)
    assert usage.accepted() == list(range(6_000))
    assert (failures, final.applied, final.unchanged) == ([], {}, 6_000)
    assert final.quarantined == []


def test_a_dead_network_fails_the_run_and_the_next_one_completes_it(
    usage: Usage, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = usage.file(rows(3_000))
    send, seen = httpx.HTTPTransport.handle_request, 0

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal seen
        if request.url.path.endswith("/measurements"):
            seen += 1
            if seen > 1:
                raise httpx.ConnectError("no route", request=request)
        return send(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(httpx.HTTPTransport, "handle_request", handle)
        patch.setattr("time.sleep", lambda _seconds: None)
        with pytest.raises(MeterbridgeError) as trouble:
            usage.sync(source)
    assert trouble.value.code == "MB-UNAVAILABLE"
    report = usage.sync(source)
    assert report.applied["measurement"] + report.unchanged == 3_000
    assert (usage.accepted(), report.quarantined) == (list(range(3_000)), [])


def test_a_disk_that_is_full_is_told_in_a_line_and_the_next_run_completes_the_input(usage: Usage) -> None:
    source = usage.file(rows(30_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # room for the ledger, not for the rows
    try:
        with pytest.raises(RetriableError) as trouble:
            usage.sync(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert trouble.value.code == "MB-UNAVAILABLE"
    assert "Could not write file" in trouble.value.message
    assert "\n" not in trouble.value.message
    assert "the disk of METERBRIDGE_HOME" in trouble.value.remedy
    assert usage.sync(source).applied == {"measurement": 30_000}
    assert usage.accepted() == list(range(30_000))


@pytest.mark.parametrize("step", ["judge", "sendable"])
def test_a_full_disk_later_on_is_told_in_a_line_and_the_next_run_completes_the_input(
    usage: Usage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    source = usage.file(rows(2_000))

    def full(*_arguments: object, **_options: object) -> None:
        raise duckdb.IOException("IO Error: Could not write file: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(UsageFile, step, full)
        with pytest.raises(MeterbridgeError) as trouble:
            usage.sync(source)
    assert "No space left on device" in trouble.value.message
    assert usage.sync(source).applied == {"measurement": 2_000}
    assert usage.accepted() == list(range(2_000))


@pytest.mark.parametrize("trouble", ["address-ran-out", "broke-off"])
def test_an_upload_that_did_not_arrive_goes_to_a_new_address_once(
    usage: Usage, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    source = usage.file(rows(1_500))
    send, puts = httpx.HTTPTransport.handle_request, 0

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal puts
        if request.method == "PUT":
            puts += 1
            if puts == 1 and trouble == "broke-off":
                raise httpx.WriteError("reset", request=request)
            if puts == 1 or always:
                usage.sandbox.world.advance(61)
        return send(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    always = trouble == "address-ran-out"
    if always:
        with pytest.raises(RetriableError, match="403"):
            usage.sync(source, via="file")
        assert puts == 2
        puts, always = 0, False
    report = usage.sync(source, via="file")
    assert (report.applied, report.quarantined, puts) == ({"measurement": 1_500}, [], 2)
    assert usage.accepted() == list(range(1_500))


def test_an_upload_whose_answer_is_lost_is_found_by_its_job(usage: Usage) -> None:
    usage.sandbox.world.faults.add([{"match": {"method": "PUT", "path": "/_files/upload"}, "harm": "commit_then_drop"}])
    report = usage.sync(usage.file(rows(3)), via="file")
    assert (report.applied, report.quarantined) == ({"measurement": 3}, [])
    assert [one.harm for one in usage.sandbox.world.log if one.method == "PUT"] == ["commit_then_drop"]
    assert len(usage.sandbox.world.m3ter.uploads) == 1


def test_a_run_that_sleeps_before_it_has_an_address_may_send_its_file_beside_the_next_run(
    usage: Usage, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = usage.file(rows(3))
    send, reports = httpx.HTTPTransport.handle_request, []

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/generateUploadUrl") and not reports:
            reports.append(None)  # the one below asks for an address, too
            reports[0] = usage.sync(source, via="file")
        return send(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    reports.append(usage.sync(source, via="file"))
    # m3ter tells of each measurement that the second file has that it is there already: ours, so nobody changed it.
    assert [(report.applied, report.quarantined) for report in reports] == [({"measurement": 3}, [])] * 2
    assert usage.accepted() == [0, 1, 2]


def test_a_glob_reads_its_files_in_turn_and_stdin_what_is_piped(usage: Usage) -> None:
    usage.file(rows(3, prefix="a"), "part-1.csv")
    usage.file(rows(2, prefix="b"), "part-2.csv")
    report = usage.sync(str(usage.folder / "part-*.csv"))
    assert (report.extracted, usage.accepted()) == ({"rows": 5}, [0, 0, 1, 1, 2])
