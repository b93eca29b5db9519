"""What a timestamp's text means: the mapping says it, and whatever is left over rejects the row."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from meterbridge.errors import SetupError
from tests.sql.usage_landed import MAPPING, NOW, Judged, csv_of, judged

TEXTS: dict[str, dict[str, str | None]] = {
    "UTC": {
        "2026-02-28 22:00:00 PST": "2026-03-01T06:00:00.000Z",  # abbreviation of rfc 5322
        "2026-02-28 22:00:00 America/Los_Angeles": "2026-03-01T06:00:00.000Z",  # iana name
        "2026-03-16 10:00:00 EST": "2026-03-16T15:00:00.000Z",  # est in summer is est
        "2026-03-16 10:00:00+02:00:00": "2026-03-16T08:00:00.000Z",  # offset with seconds
        "2026-03-16 10:00:00-0330": "2026-03-16T13:30:00.000Z",  # half hours west
        "2026-03-16T10:00:00.1239999Z": "2026-03-16T10:00:00.123Z",  # more digits than needed
        "2026-03-16 10:00:00 PM": None,  # pm without a format
        "2026-03-16 10:00:00 BST": None,  # abbreviation of several zones
        "2026-03-16 10:00:00 CET": None,  # abbreviation that no document defines
        "2026-03-16 10:00:00 Mars/Olympus": None,  # no zone of anybody
        "2026-03-16 10:00:00 UTC+2": None,  # sign of two meanings
        "2026-03-16 10:00:00+99:00": None,  # no such offset
        "2026-03-16 10:00:00Z UTC": None,  # two zones
        "2026-03-16 (BC)": None,  # before christ
        "2026-03-16 10:00:00 approx": None,  # a word behind
        "about 2026-03-16": None,  # a word before
        "2026/03/16 10:00": None,  # slashes
        "2026-3-6 1:02": None,  # single digits
        "infinity": None,  # infinity
        "epoch": None,  # epoch as a word
        "0026-03-16 10:00": None,  # year 26
        "2026-02-30": None,  # no such day
    },
    "Asia/Tokyo": {
        "2026-03-16 10:00:00 Europe/Berlin": "2026-03-16T09:00:00.000Z",  # name wins
        "2026-03-16T10:00:00,5": "2026-03-16T01:00:00.500Z",  # fraction with a comma
        "2026-03-16": "2026-03-15T15:00:00.000Z",  # date alone
    },
    "America/New_York": {
        "2026-03-01 02:00:00 UTC": "2026-03-01T02:00:00.000Z",  # utc by name
        "2026-03-16 10:00:00 GMT": "2026-03-16T10:00:00.000Z",  # gmt by name
        "2026-03-16 10:00:00 +02:00": "2026-03-16T08:00:00.000Z",  # blank offset
    },
    "CET": {
        "2026-03-16 10:00:00": "2026-03-16T09:00:00.000Z",  # an iana name without a place
        "2026-03-16 10:00:00 CET": "2026-03-16T09:00:00.000Z",  # the mapping says what it means
        "2026-03-16 10:00:00 EET": None,  # abbreviation that nobody explains
    },
}
"""By the mapping's zone: what each text is sent as, None if the row is rejected."""


def in_format(folder: Path, kind: str, texts: list[str], moment: str, *, now: float = NOW) -> Judged:
    """A row for each text in a file of this format, read by this ``ts``; its calls are its place."""
    mapping = MAPPING.replace("ts: ts\n", f"ts: {moment}\n")
    rows = [{"ts": text, "id": f"e{n}", "calls": n} for n, text in enumerate(texts)]
    if kind == "parquet":
        folder.mkdir(exist_ok=True)
        made = folder / "made"
        query = (
            f"copy (select unnest($ts) as ts, unnest($id) as id, unnest($calls) as calls) to '{made}' (format parquet)"
        )
        duckdb.execute(query, {name: [row[name] for row in rows] for name in ("ts", "id", "calls")})
        return judged(folder, {"u.parquet": made.read_bytes()}, mapping, now=now)
    if kind == "ndjson":
        return judged(folder, {"u.ndjson": "".join(json.dumps(row) + "\n" for row in rows)}, mapping, now=now)
    return judged(
        folder, {"u.csv": csv_of(*(f'"{row["ts"]}",{row["id"]},{row["calls"]}' for row in rows))}, mapping, now=now
    )


def sent_as(found: Judged, texts: list[str]) -> dict[str, str | None]:
    """What each text became."""
    sent = {row["measure"]["calls"]: row["ts"] for row in found.sent}
    return {text: sent.get(n) for n, text in enumerate(texts)}


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize("zone", TEXTS)
def test_a_text_without_a_format_is_iso_8601_to_its_end(tmp_path: Path, kind: str, zone: str) -> None:
    texts = list(TEXTS[zone])
    found = in_format(tmp_path, kind, texts, f"{{column: ts, timezone: {zone}}}")
    assert sent_as(found, texts) == TEXTS[zone]
    rejected = [text for text, sent in TEXTS[zone].items() if sent is None]
    assert found.rejected == ({"ts_unreadable": len(rejected)} if rejected else {})
    assert not rejected or found.shown["ts_unreadable"] in rejected


FORMATS: dict[str, dict[str, str | None]] = {
    "%Y-%m-%d %H:%M:%S %Z": {
        "2026-03-01 02:00:00 UTC": "2026-03-01T02:00:00.000Z",  # zone by name
        "2026-03-01 02:00:00 PDT": "2026-03-01T09:00:00.000Z",  # zone in rfc 5322
        "2026-03-01 02:00:00 BST": None,  # zone of two meanings
        "2026-03-01 02:00:00": None,  # zone that is not there
    },
    "%a %b %d %H:%M:%S %Z %Y": {
        "Mon Mar 16 10:00:00 UTC 2026": "2026-03-16T10:00:00.000Z",  # date(1)
        "Tue Mar 16 10:00:00 UTC 2026": None,  # another weekday
    },
    "%A, %d %B %Y": {
        "MONDAY, 16 march 2026": "2026-03-16T04:00:00.000Z",  # letters of any case
        "Sunday, 16 March 2026": None,  # another weekday
    },
    "%G-W%V-%u": {
        "2026-W12-1": "2026-03-16T04:00:00.000Z",  # iso week
        "2025-W53-1": None,  # no such week
    },
    "%y/%W/%w": {
        "26/11/1": "2026-03-16T04:00:00.000Z",  # week and weekday
        "25/53/6": None,  # no such week
    },
    "%Y-%m-%d %H:%M:%S%z": {
        "2026-03-01 02:00:00+0130": "2026-03-01T00:30:00.000Z",  # offset
        "2026-03-01 02:00:00+99": None,  # no such offset
    },
    "%m/%d/%Y %I:%M:%S %p": {
        "03/16/2026 10:00:00 PM": "2026-03-17T02:00:00.000Z",  # pm
        "03/16/2026 12:00:00 AM": "2026-03-16T04:00:00.000Z",  # midnight am
        "03/16/2026 10:00:00 PM x": None,  # a word behind
    },
    "%m/%d/%Y": {
        "infinity": None,  # infinity
    },
    "epoch_seconds": {
        "1773655200.25": "2026-03-16T10:00:00.250Z",  # seconds
        "1_773_655_200": None,  # digits with underscores
        "1.7736552e9": None,  # digits lost to an exponent
    },
    "epoch_ms": {
        "1773655200250": "2026-03-16T10:00:00.250Z",  # milliseconds
    },
    "epoch_us": {
        "1773655200250999": "2026-03-16T10:00:00.250Z",  # microseconds
    },
    "epoch_ns": {
        "1773655200250999999": "2026-03-16T10:00:00.250Z",  # nanoseconds
        "9" * 40: None,  # more digits than time
    },
    "excel": {
        "46097.5": "2026-03-16T16:00:00.000Z",  # excel
        "60": None,  # excels 29th of february 1900
    },
    "excel_1904": {
        "44635.5": "2026-03-16T16:00:00.000Z",  # excel 1904
    },
}


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_text_is_what_its_format_says_to_its_end(tmp_path: Path, kind: str, form: str) -> None:
    texts = list(FORMATS[form])
    found = in_format(tmp_path, kind, texts, f'{{column: ts, format: "{form}", timezone: America/New_York}}')
    assert sent_as(found, texts) == FORMATS[form]
    assert set(found.rejected) <= {"ts_unreadable"}


@pytest.mark.parametrize(
    ("ambiguous", "sent"),
    [("reject", None), ("first", "2025-11-02T05:30:00.000Z"), ("second", "2025-11-02T06:30:00.000Z")],
)
@pytest.mark.parametrize("text", ["2025-11-02 01:30", "2025-11-02 01:30 America/New_York"])
def test_a_local_time_that_exists_twice_is_what_the_mapping_says(
    tmp_path: Path, text: str, ambiguous: str, sent: str | None
) -> None:
    found = in_format(tmp_path, "csv", [text], f"{{column: ts, timezone: America/New_York, ambiguous: {ambiguous}}}")
    assert [row["ts"] for row in found.sent] == ([sent] if sent else [])
    assert found.rejected == ({} if sent else {"ts_twice_in_zone": 1})


@pytest.mark.parametrize(
    ("zone", "text", "sent"),
    [
        ("Europe/Berlin", "2026-10-25 02:30", ["2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"]),
        ("Australia/Lord_Howe", "2026-04-05 01:45", ["2026-04-04T14:45:00.000Z", "2026-04-04T15:15:00.000Z"]),
        ("Europe/Berlin", "2026-10-25 03:00", ["2026-10-25T02:00:00.000Z"] * 2),
        ("Europe/Berlin", "2026-10-25 01:59", ["2026-10-24T23:59:00.000Z"] * 2),
    ],
)
def test_the_repeated_hour_is_known_in_any_zone(tmp_path: Path, zone: str, text: str, sent: list[str]) -> None:
    found = [
        in_format(
            tmp_path, "csv", [text], f"{{column: ts, timezone: {zone}, ambiguous: {which}}}", now=1_800_000_000.0
        ).sent[0]["ts"]
        for which in ("first", "second")
    ]
    assert found == sent


def test_a_column_says_the_zone_row_by_row(tmp_path: Path) -> None:
    rows = [
        ("2026-03-16 10:00", "Asia/Tokyo"), ("2026-03-16 10:00", "America/New_York"), ("2026-03-16 10:00", "+05:30"),
        ("2026-03-16 10:00Z", ""), ("2026-03-16 10:00", ""), ("2026-03-16 10:00", "Europa/Berlin"),
        ("2026-03-16 10:00", "CET"), ("2026-03-08 02:30", "America/New_York"),
    ]  # fmt: skip
    text = "".join(f"{ts},{zone},e{n},1\n" for n, (ts, zone) in enumerate(rows))
    mapping = MAPPING.replace("ts: ts\n", "ts: {column: ts, timezone: {column: tz}}\n")
    found = judged(tmp_path, {"u.csv": "ts,tz,id,calls\n" + text}, mapping)
    assert [row["ts"][11:16] for row in found.sent] == ["01:00", "14:00", "04:30", "10:00"]
    assert found.rejected == {"ts_zone_unknown": 2, "ts_zone_missing": 1, "ts_not_in_zone": 1}


@pytest.mark.parametrize("form", ["", 'format: "%Y-%m-%d", '])
def test_a_zone_that_the_machine_knows_and_the_database_does_not_is_told(tmp_path: Path, form: str) -> None:
    with pytest.raises(SetupError, match="time zone") as refusal:
        in_format(tmp_path, "csv", ["2026-03-16"], f"{{column: ts, {form}timezone: localtime}}")
    assert refusal.value.code == "MB-USAGE-MAPPING"


def test_an_end_is_read_as_strictly_as_a_beginning(tmp_path: Path) -> None:
    ends = ["2026-03-16 11:00:00 UTC", "2026-03-16 11:00:00 PM", "", "2026-03-16 09:00:00 UTC"]
    text = "".join(f"2026-03-16T10:00:00Z,{end},e{n},1\n" for n, end in enumerate(ends))
    found = judged(tmp_path, {"u.csv": "ts,ets,id,calls\n" + text}, MAPPING + "ets: ets\n")
    assert [row.get("ets") for row in found.sent] == ["2026-03-16T11:00:00.000Z", None]
    assert found.rejected == {"ets_unreadable": 1, "ets_before_ts": 1}


FAR = {
    "date '5881580-07-10'": "ts_unreadable", "date '300000-01-01'": "ts_unreadable",
    "date '5877642-06-25 (BC)'": "ts_unreadable", "date 'infinity'": "ts_unreadable",
    "timestamp '294247-01-10 04:00:54.775806'": "ts_unreadable",
    "timestamp '290309-12-22 (BC) 00:00:00'": "ts_unreadable",
    "timestamp_ms '294247-01-10 04:00:54'": "ts_unreadable",
    "timestamptz '294247-01-10 04:00:54.775806+00'": "ts_unreadable",
    "date '9999-12-31'": "ts_future", "timestamp '9999-12-31 23:59:59.999999'": "ts_future",
}  # fmt: skip


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "{column: tz}"])
@pytest.mark.parametrize("sql", FAR)
def test_a_date_at_the_far_end_of_its_type_costs_its_row(tmp_path: Path, sql: str, zone: str) -> None:
    made = tmp_path / "made"
    columns = "'America/New_York' as tz, 'e' || n as id, n as calls"
    moment = f"case n when 1 then {sql} else date '2026-03-16' end as ts"
    duckdb.execute(f"copy (select {moment}, {columns} from range(3) as r(n)) to '{made}' (format parquet)")
    mapping = MAPPING.replace("ts: ts\n", f"ts: {{column: ts, timezone: {zone}}}\n")
    found = judged(tmp_path, {"u.parquet": made.read_bytes()}, mapping)
    assert (found.calls, found.rejected) == ([0, 2], {FAR[sql]: 1})
