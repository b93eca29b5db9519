"""A mapping's SQL sees the row and the sources named: no other file, no network, no extension, no setting."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from meterbridge.errors import MeterbridgeError, SetupError
from meterbridge.staging.usage_file import usage_opened
from tests.sql.usage_landed import MAPPING, calls, csv_of, judged

SECRET = "what nobody else may read"


OUT = [
    pytest.param("(select content from read_text('{secret}'))", id="read_text"),
    pytest.param("(select count(*) from read_csv('{secret}'))", id="read_csv"),
    pytest.param("(select count(*) from read_blob('{folder}/*'))", id="read_blob"),
    pytest.param("(select count(*) from '{secret}')", id="file-as-a-table"),
    pytest.param("(select count(*) from glob('{folder}/*'))", id="glob"),
    pytest.param("(select content from read_text('http://127.0.0.1:1/x'))", id="network"),
    pytest.param("getenv('HOME')", id="getenv"),
    pytest.param("(select count(*) from given)", id="variables-of-python"),
    pytest.param("(select count(*) from duckdb_secrets())", id="secrets"),
    pytest.param("1); copy (select 1) to '{out}'; select (1", id="copy"),
    pytest.param("1) as f9 from source); attach '{out}' as x; with a as (select (1", id="attach"),
    pytest.param("1); install httpfs; select (1", id="install"),
    pytest.param("1); load httpfs; select (1", id="load"),
    pytest.param("1); set lock_configuration = false; select (1", id="set"),
    pytest.param("1) as f9, (select content from read_text('{secret}')", id="two-columns"),
    pytest.param("1) from read_text('{secret}') as source(id, calls, ts) --", id="another-source"),
    pytest.param("*", id="everything"),
]


@pytest.mark.parametrize("sql", OUT)
@pytest.mark.parametrize("place", ["field", "key", "when"])
def test_an_expression_that_would_leave_the_room_is_refused(tmp_path: Path, sql: str, place: str) -> None:
    secret, out = tmp_path / "secret.txt", tmp_path / "out.csv"
    secret.write_text(SECRET, encoding="utf-8")
    written = sql.format(secret=secret, folder=tmp_path, out=out)
    mapping = {
        "field": MAPPING + "    where:\n      note:\n        sql: >-\n          " + written + "\n",
        "key": MAPPING.replace("key: [id]", "key:\n  - sql: >-\n      " + written),
        "when": MAPPING + "    when: >-\n      " + written + "\n",
    }[place]
    with pytest.raises(SetupError) as refusal:
        judged(tmp_path, {"u.csv": csv_of(*calls(1, 2))}, mapping)
    assert refusal.value.code in ("MB-USAGE-MAPPING", "MB-USAGE-INPUT")
    assert SECRET not in str(refusal.value)
    assert not out.exists()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_expression_over_the_row_runs_in_it(tmp_path: Path, kind: str) -> None:
    content: bytes = csv_of(*calls(1, 2)).encode()
    if kind == "parquet":
        made = tmp_path / "made"
        rows = "select '2026-03-16' as ts, 'e' || i as id, i as calls from range(1, 3) r(i)"
        duckdb.execute(f"copy ({rows}) to '{made}' (format parquet)")
        content = made.read_bytes()
    mapping = MAPPING + '    where: {note: {sql: "upper(id) || (select max(calls) from source) -- the largest"}}\n'
    found = judged(tmp_path, {f"u.{kind}": content}, mapping)
    assert [row["where"]["note"] for row in found.sent] == ["E12", "E22"]


def test_an_unknown_column_in_an_expression_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"nope.*the columns are: ts, id, calls") as refusal:
        judged(tmp_path, {"u.csv": csv_of(*calls(1))}, MAPPING + "    where: {note: {sql: upper(nope)}}\n")
    assert (refusal.value.code, "meterbridge:" in refusal.value.message) == ("MB-USAGE-MAPPING", False)


def test_a_column_may_be_called_as_ours_once_were(tmp_path: Path) -> None:
    text = csv_of("2026-03-16T10:00:00Z,e1,1,7,x", heading="ts,id,calls,source_row,unreadable")
    found = judged(tmp_path, {"u.csv": text}, MAPPING + "    where: {a: source_row, b: unreadable}\n")
    assert found.sent[0]["where"] == {"a": "7", "b": "x"}


@pytest.mark.parametrize("place", ["field", "key", "when"])
@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("sum(calls::int)", "sum()"), ("1 + count(*)", "count_star()"), ("MAX(id)", "max()"),
        ("geomean(1)", "geomean()"),
        ("coalesce(any_value(calls), 1)", "any_value()"), ("max(sum(calls::int)) over ()", "sum()"),
        ("unnest([1, 2])", "unnest()"), ("regexp_split_to_table(id, '')", "regexp_split_to_table()"),
        ("calls::int + ?", "a parameter"), ("coalesce($given, calls)", "a parameter"),
    ],
)  # fmt: skip
def test_an_expression_is_a_value_of_each_row_and_makes_no_rows(
    tmp_path: Path, sql: str, part: str, place: str
) -> None:
    """An ``unnest`` in the key of one of two meters made two measurements of a row, and told nobody."""
    mapping = {
        "field": MAPPING.replace("{calls: calls}", f'{{calls: {{sql: "{sql}"}}}}'),
        "key": MAPPING.replace("[id]", f'[id, {{sql: "{sql}"}}]'),
        "when": MAPPING + f'    when: "({sql}) is not null"\n',
    }[place]
    mapping += "  - meter: more\n    measure: {calls: calls}\n"
    with pytest.raises(SetupError, match=re.escape(f"{part} is no value of one row")) as refusal:
        judged(tmp_path, {"u.csv": csv_of(*calls(1, 2))}, mapping)
    assert (refusal.value.code, "meterbridge:" in refusal.value.message) == ("MB-USAGE-MAPPING", False)


def test_an_expression_may_look_at_other_rows_by_a_subquery_or_a_window(tmp_path: Path) -> None:
    mapping = MAPPING.replace("calls: calls", 'calls: {sql: "sum(calls::int) over ()"}, more: {sql: "SUB"}')
    mapping = mapping.replace("SUB", "(select max(calls::int) from source)")
    found = judged(tmp_path, {"u.csv": csv_of(*calls(1, 2))}, mapping)
    assert [row["measure"] for row in found.sent] == [{"calls": 3, "more": 2}] * 2


@pytest.mark.parametrize(
    ("said", "code", "to_do"),
    [
        ("could not allocate block of size 30.5 MiB (367.0 MiB/381.4 MiB used)", "MB-USAGE-INPUT", "split the input"),
        ("failed to offload data block: full temp_directory", "MB-UNAVAILABLE", "the disk of METERBRIDGE_HOME"),
        ("Failed to allocate block of 2367488 bytes (bad allocation)", "MB-MEMORY", "a larger machine"),
    ],
)
def test_want_of_memory_is_told_by_what_wants_it(tmp_path: Path, said: str, code: str, to_do: str) -> None:
    """The limit that we set, the disk that it spills to, or the machine: each has another remedy."""
    with pytest.raises(MeterbridgeError) as trouble, usage_opened(tmp_path / "run.duckdb"):
        raise duckdb.OutOfMemoryException(f"Out of Memory Error: {said}")
    assert trouble.value.code == code
    assert to_do in trouble.value.remedy
