"""Malformed usage rows, one kind each: every one gets its own reason, and the sound rows beside it go."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from meterbridge.errors import SetupError
from meterbridge.rules.usage import REASONS, uid
from meterbridge.staging.usage_file import UsageFile
from meterbridge.staging.usage_proof import prove
from meterbridge.staging.usage_shape import FieldShape, InputFormat, MeterShape, MomentShape, Reading, UsageShape

NOW = 1_773_738_000.0  # 2026-03-17T09:00:00Z
COLUMNS = ("meter", "account", "ts", "ets", "id", "calls", "secs", "region")
SOUND = {
    "meter": "api", "account": "acme", "ts": "2026-03-16 10:00", "ets": "2026-03-16 11:00",
    "id": "e1", "calls": "5", "secs": "1.5", "region": "eu",
}  # fmt: skip
FIELDS = (
    FieldShape("measure", "calls", '"calls"', True, True),
    FieldShape("measure", "secs", '"secs"', True, False),
    FieldShape("where", "region", '"region"', False, False),
)
ALL_OPTIONAL = tuple(replace(field, required=False) for field in FIELDS)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[UsageFile]:
    opened = UsageFile(tmp_path / "run.duckdb")
    yield opened
    opened.close()


def shape(paths: list[Path], kind: InputFormat = "csv", fields: tuple[FieldShape, ...] = FIELDS) -> UsageShape:
    berlin = MomentShape('"ts"', None, "Europe/Berlin")
    return UsageShape(
        name="calls",
        source=prove(paths, [path.name for path in paths], Reading(kind, COLUMNS), paths[0].parent / "copy").source,
        account_sql='"account"',
        ts=berlin,
        ets=replace(berlin, sql='"ets"'),
        key_sql=('"id"',),
        meters=(MeterShape('"meter"', None, fields),),
        oldest=NOW - 34 * 86_400,
        newest=NOW + 3_600,
    )


def judged(file: UsageFile, wanted: UsageShape) -> list[tuple[int, str]]:
    """(source row, reason) of what is rejected, with acme, globex~1 and near and excluded accounts known."""
    file.land(wanted)
    file.refer("ref_usage_meters", [("ghost", "meter_unknown", "ghost"), ("lame", "field_unknown", "measure.secs")])
    troubles = {"nobody": "account_unknown", "ACME": "account_near", "shut": "account_excluded"}
    troubles["globex"] = "account_has_children"
    file.refer("ref_usage_accounts", [(code, reason, code) for code, reason in troubles.items()])
    file.refer("ref_usage_closed", [("api", "acme", "2026-03-01", "backfilled")])
    file.judge()
    return [(row[1][0], row[0]) for reason in [file.reasons()] for row in [(r[0], r[2]) for r in reason]]


def numbers(file: UsageFile) -> list[int]:
    """The numbers of the measurements that may go."""
    return [number for texts in file.sendable(0, 10_000, sorted_rows=False) for number in texts.numbers]


def as_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if text else ""

    lines = [",".join(quoted(row[name]) for name in COLUMNS) for row in rows]
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n", encoding="utf-8")
    return path


KINDS = [
    pytest.param({"meter": ""}, "meter_missing", id="no-meter"),
    pytest.param({"meter": "m" * 81}, "meter_too_long", id="meter-code-too-long"),
    pytest.param({"meter": "a\tb"}, "meter_unprintable", id="meter-code-with-a-tab"),
    pytest.param({"meter": "ghost"}, "meter_unknown", id="unknown-meter"),
    pytest.param({"meter": "lame"}, "field_unknown", id="meter-without-the-field"),
    pytest.param({"account": " "}, "account_missing", id="no-account"),
    pytest.param({"account": "a" * 81}, "account_too_long", id="account-code-too-long"),
    pytest.param({"account": "ac\x07me"}, "account_unprintable", id="account-code-with-a-bell"),
    pytest.param({"account": "nobody"}, "account_unknown", id="unknown-account"),
    pytest.param({"account": "ACME"}, "account_near", id="account-in-other-case"),
    pytest.param({"account": "shut"}, "account_excluded", id="account-out-of-scope"),
    pytest.param({"account": "globex"}, "account_has_children", id="customer-with-child-accounts"),
    pytest.param({"id": ""}, "key_missing", id="empty-key"),
    pytest.param({"ts": ""}, "ts_missing", id="no-timestamp"),
    pytest.param({"ts": "16/03/2026 noon"}, "ts_unreadable", id="unreadable-timestamp"),
    pytest.param({"ts": "2026-02-30 10:00"}, "ts_unreadable", id="30th-of-february"),
    pytest.param({"ts": "2025-12-24 10:00"}, "ts_old", id="older-than-34-days"),
    pytest.param({"ts": "2026-03-17 12:01"}, "ts_future", id="more-than-an-hour-ahead"),
    pytest.param({"ts": "2026-03-01 10:00"}, "backfilled", id="day-that-was-backfilled"),
    pytest.param({"ets": "later"}, "ets_unreadable", id="unreadable-end"),
    pytest.param({"ets": "2026-03-29 02:30"}, "ets_not_in_zone", id="end-in-the-hour-that-clocks-skip"),
    pytest.param({"ets": "2026-03-16 09:59"}, "ets_before_ts", id="end-before-the-start"),
    pytest.param({"calls": ""}, "field_missing", id="no-measure"),
    pytest.param({"calls": "five"}, "number_unreadable", id="number-in-words"),
    pytest.param({"calls": "1,234"}, "number_unreadable", id="number-with-a-comma"),
    pytest.param({"calls": "NaN"}, "number_not_finite", id="not-a-number"),
    pytest.param({"calls": "-Infinity"}, "number_not_finite", id="infinite"),
    pytest.param({"calls": "1e400"}, "number_too_large", id="beyond-double"),
    pytest.param({"calls": "0." + "0" * 600_000 + "1"}, "number_too_large", id="number-of-600000-digits"),
    pytest.param({"region": "x" * 257}, "text_too_long", id="text-too-long"),
    pytest.param({"region": "x" * 1_500_000}, "text_too_long", id="huge-row"),
    pytest.param({"calls": "6", "id": "e1"}, "duplicate_changed", id="key-of-an-earlier-row-other-content"),
    pytest.param({"id": "e1"}, "duplicate", id="earlier-row-again"),
]


@pytest.mark.parametrize(("change", "reason"), KINDS)
def test_a_malformed_row_has_its_reason_and_the_others_go(
    file: UsageFile, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    bad = SOUND | {"id": "e2"} | change
    path = as_csv(tmp_path / "usage.csv", [SOUND, bad, SOUND | {"id": "e3"}])
    assert judged(file, shape([path])) == [(2, reason)]
    assert numbers(file) == [0, 2]


def test_at_least_twenty_kinds_are_told_apart() -> None:
    kinds = {str(param.values[1]) for param in KINDS} | {"unreadable_line", "fields_missing"}
    assert len(kinds) >= 20
    assert kinds <= set(REASONS)


def test_the_hour_that_clocks_skip_is_no_unreadable_timestamp(file: UsageFile, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "usage.csv", [SOUND, SOUND | {"id": "e2", "ts": "2026-03-29 02:30", "ets": ""}])
    assert judged(file, replace(shape([path]), newest=NOW + 86_400 * 30)) == [(2, "ts_not_in_zone")]


def test_a_row_of_empty_fields_is_rejected(file: UsageFile, tmp_path: Path) -> None:
    empty = SOUND | {"id": "e2", "calls": "", "secs": "", "region": ""}
    path = as_csv(tmp_path / "usage.csv", [SOUND, empty])
    assert judged(file, shape([path], fields=ALL_OPTIONAL)) == [(2, "fields_missing")]


def test_broken_csv_lines_are_named_by_their_line(file: UsageFile, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "usage.csv", [SOUND, SOUND | {"id": "e2"}, SOUND | {"id": "e3"}])
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], "api,acme", *lines[2:], lines[1] + ",more"]) + "\n", encoding="utf-8")
    assert judged(file, shape([path])) == [(-6, "unreadable_line")]
    assert file.reasons()[0][1:3] == (2, [-6, -3])
    assert len(numbers(file)) == 3


def test_broken_ndjson_lines_are_rejected_and_counted(file: UsageFile, tmp_path: Path) -> None:
    path = tmp_path / "usage.ndjson"
    path.write_text(f"{json.dumps(SOUND)}\n{{broken\n\n[1]\n{json.dumps(SOUND | {'id': 'e2'})}\n", encoding="utf-8")
    assert judged(file, shape([path], "ndjson")) == [(2, "unreadable_line")]
    assert file.reasons()[0][1] == 2
    assert len(numbers(file)) == 2


def test_a_measurement_is_what_the_mapping_says(file: UsageFile, tmp_path: Path) -> None:
    quoted = SOUND | {"account": 'Zoë "Z"', "region": 'a\\b"c\n', "calls": "12345678901234567890.000000000000000001"}
    path = as_csv(tmp_path / "usage.csv", [quoted])
    assert judged(file, shape([path])) == []
    (body,) = file.first_sendable(2)
    assert '"calls":12345678901234567890.000000000000000001,' in body
    assert json.loads(body) == {
        "uid": uid("calls", "api", 'Zoë "Z"', ["e1"]),
        "meter": "api",
        "account": 'Zoë "Z"',
        "ts": "2026-03-16T09:00:00.000Z",
        "ets": "2026-03-16T10:00:00.000Z",
        "measure": {"calls": pytest.approx(12345678901234567890.0), "secs": 1.5},
        "where": {"region": 'a\\b"c\n'},
    }


@pytest.mark.parametrize(
    ("moment", "text", "sent"),
    [
        pytest.param(MomentShape('"ts"', None, "UTC"), "2026-03-16T10:00:00+02:00", "08:00:00.000", id="own-zone"),
        pytest.param(MomentShape('"ts"', None, "Asia/Tokyo"), "2026-03-16T10:00:00Z", "10:00:00.000", id="zulu"),
        pytest.param(MomentShape('"ts"', None, "Asia/Tokyo"), "2026-03-16 10:00:00.5", "01:00:00.500", id="local"),
        pytest.param(MomentShape('"ts"', "%d.%m.%Y %H:%M", "UTC"), "16.03.2026 10:00", "10:00:00.000", id="format"),
        pytest.param(MomentShape('"ts"', "epoch_seconds", "UTC"), "1773655200.25", "10:00:00.250", id="seconds"),
        pytest.param(MomentShape('"ts"', "epoch_ms", "UTC"), "1773655200250", "10:00:00.250", id="milliseconds"),
    ],
)
def test_timestamps_in_every_form_become_utc(
    file: UsageFile, tmp_path: Path, moment: MomentShape, text: str, sent: str
) -> None:
    path = as_csv(tmp_path / "usage.csv", [SOUND | {"ts": text, "ets": ""}])
    assert judged(file, replace(shape([path]), ts=moment, ets=None)) == []
    assert json.loads(file.first_sendable(1)[0])["ts"] == f"2026-03-16T{sent}Z"


def test_all_formats_make_the_same_measurements(file: UsageFile, tmp_path: Path) -> None:
    rows = [SOUND | {"id": f"e{n}", "calls": str(n)} for n in range(2_500)]
    plain = as_csv(tmp_path / "usage.csv", rows)
    packed = tmp_path / "usage.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    lines = tmp_path / "usage.ndjson"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = tmp_path / "usage.parquet"
    duckdb.sql(f"copy (from read_csv('{plain}', all_varchar = true)) to '{columns}' (format parquet)")
    made = []
    for path, kind in ((plain, "csv"), (packed, "csv"), (lines, "ndjson"), (columns, "parquet")):
        assert judged(file, shape([path], kind)) == []  # type: ignore[arg-type]
        made.append([json.loads(body) for body in file.first_sendable(9_999)])
    assert made[0] == made[1] == made[2] == made[3]
    assert [row["measure"]["calls"] for row in made[0]] == list(range(2_500))


def test_sorted_or_as_they_lie_the_measurements_are_the_same(file: UsageFile, tmp_path: Path) -> None:
    rows = [SOUND | {"id": f"e{n}", "calls": str(n)} for n in range(130_000)]
    assert judged(file, shape([as_csv(tmp_path / "usage.csv", rows)])) == []
    file.read_in_turn(1_000)
    for first in range(0, 130_000, 50_000):
        parts = [part for each in (True, False) for part in file.sendable(first, first + 49_999, sorted_rows=each)]
        (as_they_lie, numbers), ordered = [(part.span(0, len(part.numbers)), list(part.numbers)) for part in parts]
        assert (as_they_lie, numbers) == ordered
        assert json.loads(parts[0].span(7, 8)[1:])["measure"]["calls"] == first + 7


def test_rows_of_many_long_texts_land_with_more_memory_than_others(file: UsageFile, tmp_path: Path) -> None:
    texts = tuple(FieldShape("where", f"t{n}", '"region"', False, False) for n in range(14))
    rows = [SOUND | {"id": f"e{n}", "region": f"{n:0240}"} for n in range(6_000)]
    assert judged(file, shape([as_csv(tmp_path / "usage.csv", rows)], fields=(FIELDS[0], *texts))) == []
    file.read_in_turn(300 + 256 * 15)
    sent = [part for first in range(0, 6_000, 2_000) for part in file.sendable(first, first + 1_999, sorted_rows=True)]
    assert sum(len(part.numbers) for part in sent) == 6_000
    assert len(json.loads(sent[-1].span(0, 1)[1:])["where"]) == 14


def test_what_is_rejected_is_left_out_in_order(file: UsageFile, tmp_path: Path) -> None:
    calls = {3: "none", 1_500: "1e400"}
    rows = [SOUND | {"id": f"e{n}", "calls": calls.get(n, str(n))} for n in range(3_000)]
    assert judged(file, shape([as_csv(tmp_path / "usage.csv", rows)])) == [
        (1_501, "number_too_large"),
        (4, "number_unreadable"),
    ]
    file.read_in_turn(1_000)
    (texts,) = file.sendable(0, 2_999, sorted_rows=True)
    assert list(texts.numbers) == [n for n in range(3_000) if n not in (3, 1_500)]
    assert [json.loads(texts.span(n, n + 1)[1:])["measure"]["calls"] for n in (2, 3, 998)] == [2, 4, 999]


def test_files_are_read_in_turn_whatever_the_order_of_their_columns(file: UsageFile, tmp_path: Path) -> None:
    first = as_csv(tmp_path / "a.csv", [SOUND])
    second = tmp_path / "b.csv"
    turned = tuple(reversed(COLUMNS))
    cells = SOUND | {"id": "e2"}
    second.write_text(",".join(turned) + "\n" + ",".join(cells[name] for name in turned) + "\n", encoding="utf-8")
    assert judged(file, shape([first, second])) == []
    assert [json.loads(body)["uid"] for body in file.first_sendable(9)] == [
        uid("calls", "api", "acme", ["e1"]),
        uid("calls", "api", "acme", ["e2"]),
    ]


def test_one_row_feeding_two_meters_makes_two_measurements(file: UsageFile, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "usage.csv", [SOUND, SOUND | {"id": "e2", "calls": "0"}])
    meters = (MeterShape("'a'", None, FIELDS[:1]), MeterShape("'b'", "calls <> '0'", FIELDS[1:2]))
    assert judged(file, replace(shape([path]), meters=meters)) == []
    sent = [json.loads(body) for body in file.first_sendable(9)]
    assert (numbers(file), [row["meter"] for row in sent]) == ([0, 1, 2], ["a", "b", "a"])
    assert len({row["uid"] for row in sent}) == 3


def test_a_column_that_is_not_there_is_a_mistake_of_the_mapping(file: UsageFile, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "usage.csv", [SOUND])
    with pytest.raises(SetupError, match="absent") as refusal:
        file.land(replace(shape([path]), account_sql='"absent"'))
    assert refusal.value.code == "MB-USAGE-MAPPING"
