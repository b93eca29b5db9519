"""An expression of the mapping that fails on a row costs that row; one that is wrong altogether is told at once."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from meterbridge.errors import SetupError
from tests.sql.usage_landed import MAPPING, csv_of, judged

TEXTS = ["1", "2", "many", "", "4"]
PLACES = {
    "csv": ["u.csv line 4"],
    "ndjson": ["u.ndjson line 3"],
    "parquet": ["u.parquet row 3"],
}
EXPRESSIONS = {
    "field": (
        MAPPING.replace("{calls: calls}", "{calls: {sql: 'n::int', empty: leave_out}, more: calls}"), [1, 2, 4, 5],
    ),
    "text-field": (MAPPING + "    where: {day: {sql: 'n::int + 1', empty: leave_out}}\n", [1, 2, 4, 5]),
    "key": (MAPPING.replace("key: [id]", "key: [{sql: 'coalesce(n::int, 0)'}]"), [1, 2, 4, 5]),
    "when": (MAPPING + "    when: coalesce(n::int, 9) > 1\n", [2, 4, 5]),
    "account": (MAPPING.replace("{constant: acme}", "{sql: \"'acme' || coalesce(n::int, 0)\"}"), [1, 2, 4, 5]),
    "meter": (MAPPING.replace("meter: api", "meter: {sql: \"'api' || coalesce(n::int, 0) -- of ours\"}"), [1, 2, 4, 5]),
    "ts": (
        MAPPING.replace("ts: ts", "ts: {sql: 'ts::timestamp + to_seconds(coalesce(n::int, 0))'}"), [1, 2, 4, 5],
    ),
    "ets": (
        MAPPING.replace("key:", "ets: {sql: 'ts::timestamp + to_seconds(coalesce(n::int, 0))'}\nkey:"), [1, 2, 4, 5],
    ),
    "zone": (
        MAPPING.replace(
            "ts: ts", "ts: {column: ts, timezone: {sql: \"case when coalesce(n::int, 0) >= 0 then 'UTC' end\"}}"
        ),
        [1, 2, 4, 5],
    ),
}  # fmt: skip


def rows_in(folder: Path, kind: str, texts: list[str]) -> dict[str, bytes | str]:
    rows = [
        {"ts": "2026-03-16T10:00:00", "id": f"e{n}", "calls": str(n), "n": text or None}
        for n, text in enumerate(texts, 1)
    ]
    if kind == "csv":
        return {"u.csv": csv_of(*(",".join(x or "" for x in row.values()) for row in rows), heading="ts,id,calls,n")}
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if kind == "ndjson":
        return {"u.ndjson": lines}
    made, source = folder / "made", folder / "source.json"
    source.write_text(lines, encoding="utf-8")
    types = "{'ts': 'VARCHAR', 'id': 'VARCHAR', 'calls': 'VARCHAR', 'n': 'VARCHAR'}"
    duckdb.execute(f"copy (from read_json('{source}', columns = {types})) to '{made}' (format parquet)")
    return {"u.parquet": made.read_bytes()}


@pytest.mark.parametrize(
    ("kind", "place"), [*(("csv", place) for place in EXPRESSIONS), ("ndjson", "field"), ("parquet", "field")]
)
def test_an_expression_that_fails_on_one_row_costs_that_row(tmp_path: Path, kind: str, place: str) -> None:
    mapping, wanted = EXPRESSIONS[place]
    found = judged(tmp_path, rows_in(tmp_path, kind, TEXTS), mapping, columns="[n, ts]")
    measures = [row["measure"] for row in found.sent]
    assert [measure.get("more") or measure["calls"] for measure in measures] == wanted
    assert (found.rejected, found.places) == ({"sql_failed": 1}, {"sql_failed": PLACES[kind]})
    assert "n::int" in found.shown["sql_failed"]


def test_a_row_that_no_meter_wants_is_not_tried_for_its_fields(tmp_path: Path) -> None:
    mapping = MAPPING.replace("{calls: calls}", "{calls: {sql: 'n::int'}}") + "    when: id <> 'e3' and n is not null\n"
    found = judged(tmp_path, rows_in(tmp_path, "csv", TEXTS), mapping)
    assert (found.calls, found.rejected) == ([1, 2, 4], {})


def test_each_meter_answers_for_its_own_expressions(tmp_path: Path) -> None:
    mapping = MAPPING + "  - meter: other\n    measure: {n: {sql: n::int, empty: leave_out}, calls: calls}\n"
    found = judged(tmp_path, rows_in(tmp_path, "csv", TEXTS), mapping)
    assert ([row["meter"] for row in found.sent], found.rejected) == (
        ["api", "other"] * 2 + ["api"] + ["api", "other"] * 2,
        {"sql_failed": 1},
    )


def test_bad_rows_far_down_cost_their_rows_alone(tmp_path: Path) -> None:
    texts = [str(n) for n in range(20_000)]
    texts[7] = texts[9_000] = texts[19_999] = "none"
    mapping = MAPPING.replace("{calls: calls}", "{calls: {sql: 'n::int'}}")
    found = judged(tmp_path, rows_in(tmp_path, "csv", texts), mapping)
    assert found.calls == [n for n in range(20_000) if n not in (7, 9_000, 19_999)]
    assert found.places == {"sql_failed": ["u.csv line 9", "u.csv line 9002", "u.csv line 20001"]}


@pytest.mark.parametrize("sql", ["upper(nope)", "nope(id)", "id +", "upper(id, 1, 2)"])
def test_an_expression_that_is_wrong_altogether_is_told_at_once(tmp_path: Path, sql: str) -> None:
    mapping = MAPPING + f"    where: {{a: {{sql: '{sql}'}}}}\n"
    with pytest.raises(SetupError) as refusal:
        judged(tmp_path, rows_in(tmp_path, "csv", TEXTS), mapping)
    assert (refusal.value.code, "meterbridge:" in refusal.value.message) == ("MB-USAGE-MAPPING", False)


def test_an_expression_that_looks_at_other_rows_holds_for_all_or_none(tmp_path: Path) -> None:
    mapping = MAPPING.replace("{calls: calls}", "{calls: {sql: '(select max(n::int) from source)'}}")
    assert judged(tmp_path, rows_in(tmp_path, "csv", ["1", "2"]), mapping).calls == [2, 2]
    with pytest.raises(SetupError, match="many") as refusal:
        judged(tmp_path / "bad", rows_in(tmp_path, "csv", TEXTS), mapping)
    assert refusal.value.code == "MB-USAGE-INPUT"
