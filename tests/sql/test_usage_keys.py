"""What makes a row the same row, and how numbers are written."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from meterbridge.errors import SetupError
from tests.sql.usage_landed import MAPPING, calls, csv_of, judged

WHOLE = MAPPING.replace("key: [id]", "key: whole_row")


def in_kind(folder: Path, kind: str, rows: list[dict[str, object]]) -> dict[str, bytes | str]:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if kind == "ndjson":
        return {"u.ndjson": lines}
    made, source = folder / "made", folder / "source.json"
    source.write_text(lines, encoding="utf-8")
    duckdb.execute(f"copy (from read_json('{source}')) to '{made}' (format {kind})")
    return {f"u.{kind}": made.read_bytes()}


ROWS: list[dict[str, object]] = [
    {"ts": "2026-03-16T10:00:00Z", "id": "e1", "calls": 1, "note": "a"},
    {"ts": "2026-03-16T10:00:00Z", "id": "e1", "calls": 1, "note": "b"},
    {"ts": "2026-03-16T10:00:00Z", "id": "e1", "calls": 1, "note": "a"},
    {"ts": "2026-03-16T10:00:00Z", "id": "e1", "calls": 2, "note": "a"},
]


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_a_repetition_is_exact_only_if_every_column_is_equal(tmp_path: Path, kind: str) -> None:
    found = judged(tmp_path, in_kind(tmp_path, kind, ROWS))
    assert (found.calls, found.rejected) == ([1], {"duplicate_changed": 2, "duplicate": 1})
    assert (found.places["duplicate"][0].split()[-1], found.shown["duplicate"]) == (
        "4" if kind == "csv" else "3",
        "row 1",
    )


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_rows_without_an_id_are_known_by_their_content_and_place_among_equals(tmp_path: Path, kind: str) -> None:
    found = judged(tmp_path, in_kind(tmp_path, kind, ROWS), WHOLE)
    assert (found.calls, found.rejected) == ([1, 1, 1, 2], {})
    uids = [row["uid"] for row in found.sent]
    assert len(set(uids)) == 4
    turned = judged(tmp_path / "turned", in_kind(tmp_path, kind, [ROWS[3], ROWS[2], ROWS[1], ROWS[0]]), WHOLE)
    assert sorted(row["uid"] for row in turned.sent) == sorted(uids)


def test_each_meter_counts_equal_rows_for_itself(tmp_path: Path) -> None:
    mapping = WHOLE + "  - meter: other\n    measure: {calls: calls}\n"
    found = judged(tmp_path, {"u.csv": csv_of(*calls(1, 1, 1))}, mapping)
    assert len({row["uid"] for row in found.sent}) == len(found.sent) == 6


def test_a_key_may_be_an_expression(tmp_path: Path) -> None:
    mapping = MAPPING.replace("key: [id]", "key: [ts, {sql: \"coalesce(id, 'none')\"}]")
    text = csv_of("2026-03-16T10:00:00Z,,1", "2026-03-16T10:00:00Z,e2,2", "2026-03-16T10:00:00Z,,3")
    found = judged(tmp_path, {"u.csv": text}, mapping)
    assert (found.calls, found.rejected) == ([1, 2], {"duplicate_changed": 1})
    plain = judged(tmp_path / "plain", {"u.csv": text}, MAPPING.replace("key: [id]", "key: [ts, id]"))
    assert plain.sent[0]["uid"] == found.sent[1]["uid"]
    assert plain.rejected == {"key_missing": 2}


NUMBERS: dict[tuple[str, str], dict[str, float | None]] = {
    (".", ""): {"5": 5, "+5": 5, ".5": 0.5, "-.5": -0.5, "1e3": 1000, "1,5": None, "1,000": None, "5.": None,
                "007": None, "1_000": None, "0x10": None, "--5": None, "1 000": None},
    (",", ""): {"1,5": 1.5, "+,5": 0.5, "5": 5, "-1,25": -1.25, "1,5e3": 1500, "1.5": None, "1.234,5": None},
    (",", "."): {"1.234,5": 1234.5, "1.234": 1234, "1234,5": 1234.5, "1.234.567": 1234567, "12.34": None,
                 "1234.567": None, "0.123": None, "1.23,4": None},
    (".", ","): {"1,234.5": 1234.5, "1,234": 1234, "12,34,567": None, "1,23": None, ",234": None},
    (",", " "): {"1 234,5": 1234.5, "1  234": None},
    (".", "'"): {"1'234.5": 1234.5, "1'23": None},
}  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize("signs", NUMBERS, ids=repr)
def test_a_number_is_what_the_mapping_says_and_nothing_else(tmp_path: Path, kind: str, signs: tuple[str, str]) -> None:
    decimal, thousands = signs
    texts = list(NUMBERS[signs])
    rows: list[dict[str, object]] = [
        {"ts": "2026-03-16T10:00:00Z", "id": f"e{n}", "calls": text} for n, text in enumerate(["x", *texts])
    ]
    mapping = MAPPING.replace("{calls: calls}", "{calls: calls}\n    where: {n: id}")
    found = judged(
        tmp_path, in_kind(tmp_path, kind, rows), mapping, decimal=json.dumps(decimal), thousands=json.dumps(thousands)
    )
    read = {row["where"]["n"]: row["measure"]["calls"] for row in found.sent}
    assert {text: read.get(f"e{n}") for n, text in enumerate(texts, 1)} == NUMBERS[signs]
    assert set(found.rejected) == {"number_unreadable"}


def test_numbers_that_are_numbers_already_have_no_decimal_sign_of_the_mapping(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"ts": "2026-03-16T10:00:00Z", "id": "e1", "calls": 1.234}]
    for kind in ("ndjson", "parquet"):
        found = judged(tmp_path / kind, in_kind(tmp_path, kind, rows), decimal="','", thousands="'.'")
        assert found.calls == [1.234]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decimal": "','", "thousands": "','"}, "both ,"),
        ({"encoding": "klingon"}, "no encoding of texts"),
        ({"encoding": "base64"}, "no encoding of texts"),
        ({"thousands": "x"}, "thousands"),
        ({"delimiter": "'\"'"}, "cannot part fields"),
    ],
)
def test_a_sign_that_cannot_be_is_told(tmp_path: Path, change: dict[str, str], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        judged(tmp_path, {"u.csv": csv_of()}, **change)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("epoch_sec", "epoch_seconds, epoch_ms"),
        ("iso", "none of"),
        ("%Y-%m-%d %Q", "no %Q"),
        ("%H:%M", "no year"),
        ("%Y-%m-%d %H:%M %p", "go together"),
        ("%Y-%m-%d %I:%M", "go together"),
        ("%Y-%m-%d %H:%M %z %Z", "zone twice"),
        ("%Y-%m-%d %", "no %"),
    ],
)
def test_a_misspelt_format_is_told_before_anything_is_read(tmp_path: Path, form: str, words: str) -> None:
    mapping = MAPPING.replace("ts: ts\n", f'ts: {{column: ts, format: "{form}"}}\n')
    with pytest.raises(SetupError, match=words) as refusal:
        judged(tmp_path, {"u.csv": csv_of()}, mapping)
    assert (refusal.value.code, ":3:" in refusal.value.message) == ("MB-USAGE-MAPPING", True)


@pytest.mark.parametrize("key", ["whole_row", "[{sql: upper(id)}]"])
def test_a_query_needs_columns_as_its_key(tmp_path: Path, key: str) -> None:
    mapping = MAPPING.replace("key: [id]", f"key: {key}") + "query: {sql: select 1, watermark: ts}\n"
    with pytest.raises(SetupError, match="name columns"):
        judged(tmp_path, {"u.csv": csv_of()}, mapping)
