"""Files as people have them: each line is read, rejected or under an open quote; one bad line costs one line."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from meterbridge.errors import SetupError
from meterbridge.staging.usage_unpack import zstd
from tests.sql.usage_landed import MAPPING, calls, csv_of, judged

CHECKED = {zstd.CompressionParameter.checksum_flag: 1}
MANY = csv_of(*calls(*range(20_000))).encode()


def packed(name: str, content: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(content, mtime=0)
    return zstd.compress(content, options=CHECKED) if name.endswith(".zst") else content


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize(
    "harm", ["cut-in-half", "last-byte-missing", "checksum-wrong", "nothing-in-it", "rubbish-behind", "not-packed"]
)
def test_a_packed_file_that_is_not_whole_is_refused(tmp_path: Path, ending: str, harm: str) -> None:
    name = f"u.csv.{ending}"
    whole = packed(name, MANY)
    spoilt = bytearray(whole)
    spoilt[-8 if ending == "gz" else -1] ^= 1
    content = {
        "cut-in-half": whole[: len(whole) // 2],
        "last-byte-missing": whole[:-1],
        "checksum-wrong": bytes(spoilt),
        "nothing-in-it": b"",
        "rubbish-behind": whole + b"rubbish",
        "not-packed": MANY,
    }[harm]
    with pytest.raises(SetupError, match="packed and not whole") as refusal:
        judged(tmp_path, {name: content})
    assert refusal.value.code == "MB-USAGE-INPUT"
    assert "anew" in refusal.value.remedy
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "usage.yaml"]


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_file_of_several_packed_parts_is_read_to_its_end(tmp_path: Path, ending: str) -> None:
    name = f"u.csv.{ending}"
    parts = packed(name, MANY[:100_001]) + packed(name, MANY[100_001:])
    assert judged(tmp_path, {name: parts}).rows == 20_000


@pytest.mark.parametrize("name", ["u.tsv", "U.TSV", "u.tsv.gz", "u.tsv.zst", "U.TSV.ZST", "tabs.Tsv.Gz"])
def test_a_files_endings_are_read_whatever_their_case_and_order(tmp_path: Path, name: str) -> None:
    text = csv_of(*calls(1, 2)).replace(",", "\t").encode()
    assert judged(tmp_path, {name: packed(name.lower(), text)}).calls == [1, 2]


def test_files_parted_by_tabs_and_by_commas_come_together(tmp_path: Path) -> None:
    tabs = "calls\tts\tid\n1\t2026-03-16T10:00:00Z\ta,b\n"
    found = judged(tmp_path, {"a.csv": csv_of(*calls(5)), "b.tsv": tabs, "c.csv": csv_of(*calls(6))})
    assert found.calls == [5, 1, 6]
    assert judged(tmp_path / "x", {"b.tsv": tabs}).sent[0]["uid"] == found.sent[1]["uid"]


@pytest.mark.parametrize("ending", ["zip", "bz2", "xz"])
def test_a_packing_that_is_not_read_is_named(tmp_path: Path, ending: str) -> None:
    with pytest.raises(SetupError, match=rf"packed as \.{ending}"):
        judged(tmp_path, {f"u.csv.{ending}": b"PK"}, format="csv")


QUOTES = [
    pytest.param(
        csv_of(*calls(1), '2026-03-16T10:00:00Z,"e2,2', *calls(*range(3, 11))), [1],
        {"lines": 11, "headings": 1, "rows": 1, "under_open_quotes": 9}, ["u.csv lines 3-11"], id="never-closed",
    ),
    pytest.param(
        csv_of(*calls(1), '2026-03-16T10:00:00Z,"e2,2', *calls(3, 4), '2026-03-16T10:00:00Z,"e5,5', *calls(6, 7)),
        [1, 6, 7], {"lines": 8, "headings": 1, "rows": 3, "under_open_quotes": 4}, ["u.csv lines 3-6"],
        id="closed-by-the-next-opening",
    ),
    pytest.param(
        csv_of(*calls(1), '2026-03-16T10:00:00Z,"e2"x,2', *calls(3)), [1, 3],
        {"lines": 4, "headings": 1, "rows": 2, "unreadable": 1}, ["u.csv line 3"], id="text-behind-a-quote",
    ),
    pytest.param(
        csv_of(*calls(1), '2026-03-16T10:00:00Z,"e\\"2",2', *calls(3)), [1, 3],
        {"lines": 4, "headings": 1, "rows": 2, "unreadable": 1}, ["u.csv line 3"], id="backslash-before-a-quote",
    ),
    pytest.param(
        csv_of(*calls(1), '2026-03-16T10:00:00Z,"two\nlines ""x""",2', *calls(3)), [1, 2, 3],
        {"lines": 5, "headings": 1, "rows": 4}, [], id="a-text-of-two-lines-is-a-row",
    ),
    pytest.param(
        csv_of('2026-03-16T10:00:00Z, "e,1" ,1', '2026-03-16T10:00:00Z,5" pipe,2', '2026-03-16T10:00:00Z,e3,3,'),
        [1, 2, 3], {"lines": 4, "headings": 1, "rows": 3}, [], id="blanks-inches-and-a-last-delimiter",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sent", "lines", "places"), QUOTES)
@pytest.mark.parametrize("many", [0, 30_000], ids=["short", "long"])
def test_an_odd_quote_costs_its_own_lines_wherever_it_stands(
    tmp_path: Path, text: str, sent: list[int], lines: dict[str, int], places: list[str], many: int
) -> None:
    heading, _, rest = text.partition("\n")
    before = [f"2026-03-16T10:00:00Z,b{n},0" for n in range(many)]
    found = judged(tmp_path, {"u.csv": "\n".join([heading, *before, rest])})
    assert found.calls[many:] == sent
    assert found.lines == lines | {"lines": lines["lines"] + many, "rows": lines["rows"] + many}
    if not many:
        assert [place for some in found.places.values() for place in some] == places
    bad = lines.get("unreadable", 0) + lines.get("under_open_quotes", 0)
    assert (sum(found.rejected.values()), found.rows) == (bad, many + len(sent) + bad)


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
@pytest.mark.parametrize("ends", [["\r\n", "\n"], ["\n", "\r\n"], ["\r"], ["\r\n", "\r", "\n"]], ids=repr)
def test_lines_may_end_in_several_ways(tmp_path: Path, kind: str, ends: list[str]) -> None:
    rows = ["ts,id,calls", *calls(*range(1, 8))]
    if kind == "ndjson":
        rows = [f'{{"ts": "2026-03-16T10:00:00Z", "id": "e{n}", "calls": {n}}}' for n in range(1, 8)]
    text = "".join(row + ends[n % len(ends)] for n, row in enumerate(rows))
    found = judged(tmp_path, {f"u.{kind}": text})
    assert (found.calls, found.rejected, found.lines["lines"]) == ([1, 2, 3, 4, 5, 6, 7], {}, len(rows))


def test_a_line_end_within_quotes_stays_as_it_is(tmp_path: Path) -> None:
    text = 'ts,id,calls\r\n2026-03-16T10:00:00Z,"a\r\nb",1\r\n2026-03-16T10:00:00Z,"a\nb",2\r\n'
    found = judged(tmp_path, {"u.csv": text})
    assert (found.calls, len({row["uid"] for row in found.sent})) == ([1, 2], 2)


def ndjson(number: int) -> str:
    return f'{{"ts": "2026-03-16T10:00:00Z", "id": "e{number}", "calls": {number}}}\n'


BAD = [
    pytest.param("u.csv", csv_of(*calls(1, 2, 3)).replace("e2", "e\udcff2"), "u.csv line 3", id="csv-byte"),
    pytest.param("u.csv", csv_of(*calls(1, 2, 3)).replace("e2,2", "e2"), "u.csv line 3", id="csv-field-missing"),
    pytest.param("u.csv", csv_of(*calls(1, 2, 3)).replace("e2", "e" * 5_000_000), "u.csv line 3", id="csv-huge-line"),
    *(
        pytest.param(
            "u.ndjson",
            "".join(map(ndjson, (1, 2, 3))).replace("e2", bad),
            "u.ndjson line 2",
            id=f"ndjson-{name}",
        )
        for name, bad in {
            "byte": "e\udcff2", "broken": 'e2" oops', "control": "e\x012", "half-a-letter": "\\ud800",
            "huge-line": "e" * 5_000_000,
        }.items()
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "place"), BAD)
def test_one_bad_line_costs_one_line(tmp_path: Path, name: str, text: str, place: str) -> None:
    found = judged(tmp_path, {name: text.encode("utf-8", "surrogateescape")})
    assert (found.calls, found.rejected) == ([1, 3], {"unreadable_line": 1})
    assert found.places == {"unreadable_line": [place]}


TWICE = {
    '"calls": 2, "calls": 3': "calls", '"calls": 2, "calls": 2': "calls", '"calls": 2, "c\\u0061lls": 3': "calls",
    '"calls": 2, "id": "e9"': "id", '"calls": 2, "status": "off"': "status", '"calls": 2, "note": 1, "note": 2': "",
    '"calls": 2, "Calls": 3': "", '"calls": 2, "note": {"calls": 1, "id": 3}': "",
    '"calls": 2, "note": "\\"calls\\":"': "",
}  # fmt: skip


@pytest.mark.parametrize("members", TWICE)
@pytest.mark.parametrize("decimal", [".", ","])
def test_an_object_that_has_a_name_of_the_mapping_twice_is_rejected(tmp_path: Path, members: str, decimal: str) -> None:
    """Also where ``when`` would have passed over the row by its first value."""
    row = '{"ts": "2026-03-16T10:00:00Z", "id": "e2", "status": "on", MEMBERS}\n'.replace("MEMBERS", members)
    mapping = MAPPING.replace("    measure:", "    when: status = 'on'\n    measure:") + "columns: [status]\n"
    rows = [ndjson(n).replace("}", ', "status": "on"}') for n in (1, 3)]
    found = judged(tmp_path, {"u.ndjson": row.join(rows)}, mapping, decimal=f'"{decimal}"')
    twice = TWICE[members]
    assert found.calls == ([1, 3] if twice else [1, 2, 3])
    assert (found.rejected, found.shown) == (({"name_twice": 1}, {"name_twice": twice}) if twice else ({}, {}))
    assert found.places == ({"name_twice": ["u.ndjson line 2"]} if twice else {})


@pytest.mark.parametrize("column", ["calls", "note"], ids=["sent", "not-sent-but-compared"])
def test_a_parquet_text_that_is_no_text_is_told_with_its_file(tmp_path: Path, column: str) -> None:
    made = tmp_path / "made"
    rows = (
        f"select '2026-03-16T10:00:00Z' as ts, 'e1' as id, '7' as calls, 'n' as note, 'QQQQQ' as {column} from range(2)"
    )
    rows = rows.replace(f"'{'7' if column == 'calls' else 'n'}' as {column}, ", "")
    duckdb.execute(f"copy ({rows}) to '{made}' (format parquet, compression uncompressed)")
    spoilt = made.read_bytes().replace(b"QQQQQ", b"QQ\xffQQ")
    with pytest.raises(SetupError, match=r"rewrites\.parquet.*not valid UTF8") as refusal:
        judged(tmp_path, {"rewrites.parquet": spoilt})
    assert refusal.value.code == "MB-USAGE-INPUT"


AT, INSTANT = "timestamp '2026-03-16'", "timestamptz '2026-03-16 00:00Z'"
NUMBERED = {"id": "'e'", "calls": "1"}
TYPES = [
    pytest.param({"ts": AT}, {"ts": INSTANT}, "ts is TIMESTAMP in a.parquet and TIMESTAMP WITH",
                 id="local-times-and-instants"),
    pytest.param({"ts": AT, "id": "1"}, {"ts": AT, "id": "1.5::double"}, "id is INTEGER in a.parquet and DOUBLE in b",
                 id="key-of-two-kinds"),
    pytest.param({"ts": "date '2026-03-16'"}, {"ts": INSTANT}, "ts is DATE", id="days-and-instants"),
    pytest.param({"ts": AT, "id": "1"}, {"ts": AT, "id": "2::bigint"}, "", id="whole-numbers"),
    pytest.param({"ts": AT, "id": "1"}, {"ts": AT, "id": "'e2'"}, "", id="numbers-and-texts"),
    pytest.param({"ts": AT}, {"ts": "timestamp_ns '2026-03-16'", "id": "'f'"}, "", id="local-times-of-two-units"),
    pytest.param({"ts": AT}, {"ts": AT, "id": "'f'", "calls": "1.5::double"}, "", id="measured-numbers"),
    pytest.param({"ts": AT, "s": "{'id': 1}"}, {"ts": AT, "id": "'f'", "s": "{'id': 1.5::double}"}, "",
                 id="within-another-column"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "words"), TYPES)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_parquet_files_of_several_types_are_read_each_by_its_own_or_refused(
    tmp_path: Path, one: dict[str, str], other: dict[str, str], words: str, zone: str
) -> None:
    """A local time beside an instant went to UTC, four hours off; the key 1 became 1.0, and was sent anew."""
    files = {}
    for name, columns in (("a.parquet", one), ("b.parquet", other)):
        selected = ", ".join(f"{sql} as {column}" for column, sql in (NUMBERED | columns).items())
        duckdb.execute(f"copy (select {selected}) to '{tmp_path / name}' (format parquet)")
        files[name] = (tmp_path / name).read_bytes()
    mapping = MAPPING.replace("ts: ts\n", f"ts: {{column: ts, timezone: {zone}}}\n")
    if words:
        with pytest.raises(SetupError, match=f"^MB-USAGE-INPUT: column {words}"):
            judged(tmp_path, files, mapping)
        return
    together = {row["uid"] for row in judged(tmp_path, files, mapping).sent}
    alone = [judged(tmp_path / f"{name}-alone", {name: content}, mapping).sent for name, content in files.items()]
    assert together == {row["uid"] for rows in alone for row in rows}
    assert len(together) == 2


def test_lines_are_named_with_their_file(tmp_path: Path) -> None:
    broken = csv_of(*calls(1), "2026-03-16T10:00:00Z,short", '2026-03-16T10:00:00Z,"e\n9",9', *calls(2))
    bad_number = csv_of(*calls(3), "2026-03-16T10:00:00Z,e4,none")
    found = judged(
        tmp_path, {"a.csv": broken, "b.csv": broken.replace("e", "f").replace("calfs", "calls"), "c.csv": bad_number}
    )
    assert found.places == {"unreadable_line": ["a.csv line 3", "b.csv line 3"], "number_unreadable": ["c.csv line 3"]}


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", "\ufeff"), ("utf-16", ""), ("utf-16-le", "\ufeff"), ("latin-1", ""), ("cp1252", ""), ("shift_jis", "")],
)
def test_a_file_is_read_in_the_encoding_of_the_mapping(tmp_path: Path, encoding: str, mark: str) -> None:
    word = "日本" if encoding == "shift_jis" else "Zoë"
    text = mark + csv_of(f"2026-03-16T10:00:00Z,{word},1", '2026-03-16T10:00:00Z,"a, b",2')
    found = judged(tmp_path, {"u.csv": text.encode(encoding)}, encoding=encoding)
    plain = judged(tmp_path / "plain", {"u.csv": csv_of(f"2026-03-16T10:00:00Z,{word},1")})
    assert (found.calls, found.sent[0]["uid"]) == ([1, 2], plain.sent[0]["uid"])


def test_what_an_encoding_cannot_say_costs_its_line(tmp_path: Path) -> None:
    text = csv_of(*calls(1, 2, 3)).encode("utf-16-le").replace("e2".encode("utf-16-le"), b"e\0\0\xd8")
    found = judged(tmp_path, {"u.csv": text}, encoding="utf-16-le")
    assert (found.calls, found.places) == ([1, 3], {"unreadable_line": ["u.csv line 3"]})


@pytest.mark.parametrize("name", ["u.csv", "u.ndjson", "u.csv.gz"])
@pytest.mark.parametrize(
    ("written", "said", "words"),
    [
        ("utf-16", "utf-8", "begins as utf-16 does: say `encoding: utf-16`"),
        ("utf-32", "utf-8", "begins as utf-32 does: say `encoding: utf-32`"),
        ("utf-16-le", "utf-16", "no byte order mark of utf-16: say `encoding: utf-16-le`"),
        ("utf-8", "utf-32", "no byte order mark of utf-32"),
    ],
)
def test_a_file_that_begins_as_another_encoding_does_is_told(
    tmp_path: Path, name: str, written: str, said: str, words: str
) -> None:
    text = ndjson(1) if "ndjson" in name else csv_of(*calls(1))
    with pytest.raises(SetupError, match=f"^MB-USAGE-INPUT: {name} .*{words}"):
        judged(tmp_path, {name: packed(name, text.encode(written))}, encoding=said)


def test_lines_before_the_heading_are_skipped_in_each_file(tmp_path: Path) -> None:
    text = "sep=,\nExport of March, all of it\n\n" + csv_of(*calls(1))
    found = judged(tmp_path, {"a.csv": text, "b.csv": text.replace("e1,1", "e2,2")}, skip_lines="2")
    assert (found.calls, found.lines) == ([1, 2], {"lines": 10, "skipped": 4, "headings": 2, "blank": 2, "rows": 2})


SEVERAL = csv_of("t,e,1,2", heading="ts,id,calls,Calls")
HEADLESS = {"a.csv": csv_of(*calls(1)), "b.csv": "\n".join(calls(2, 3))}
HEADINGS = [
    pytest.param({"u.csv": csv_of(heading="sep=,")}, "MAPPING", "columns are: sep=, column1", id="preamble"),
    pytest.param({"u.csv": csv_of(heading="ts,id,n")}, "MAPPING", "no column calls; .*: ts, id, n", id="lacking"),
    pytest.param({"u.csv": csv_of(heading="ts;id;calls")}, "MAPPING", "columns are: ts;id;calls", id="delimiter"),
    pytest.param({"u.csv": ""}, "INPUT", "u.csv is empty", id="empty"),
    pytest.param({"a.csv": csv_of(*calls(1)), "b.csv": ""}, "INPUT", "b.csv is empty", id="second-empty"),
    pytest.param(
        HEADLESS, "INPUT", "b.csv: .* no heading that fits.* it has: 2026-03-16T10:00:00Z, e2, 2", id="second-without"
    ),
    pytest.param({"u.csv": SEVERAL}, "INPUT", "column calls twice", id="twice"),
    pytest.param({"u.csv": 'ts,"id,calls\n1,2,3\n'}, "INPUT", "heading cannot be read", id="open-quote"),
]


@pytest.mark.parametrize(("files", "code", "words"), HEADINGS)
def test_a_heading_that_does_not_fit_is_told_with_what_is_there(
    tmp_path: Path, files: dict[str, bytes | str], code: str, words: str
) -> None:
    with pytest.raises(SetupError, match=words) as refusal:
        judged(tmp_path, files)
    assert refusal.value.code == f"MB-USAGE-{code}"


def test_a_doubled_column_that_nobody_means_does_no_harm(tmp_path: Path) -> None:
    found = judged(tmp_path, {"u.csv": csv_of("2026-03-16T10:00:00Z,e1,1,x,y", heading="ts,id,calls,note,note")})
    assert found.calls == [1]
    with pytest.raises(SetupError, match="column note twice"):
        judged(
            tmp_path,
            {"u.csv": csv_of(heading="ts,id,calls,note,note")},
            MAPPING + "    where: {n: {sql: upper(note)}}\n",
        )


def test_files_need_not_have_columns_that_may_be_empty(tmp_path: Path) -> None:
    mapping = MAPPING.replace("{calls: calls}", "{calls: calls, secs: {column: secs, empty: leave_out}}")
    second = csv_of("9,e2,2026-03-16T10:00:00Z,2", heading="secs,id,ts,calls")
    found = judged(tmp_path, {"a.csv": csv_of(*calls(1)), "b.csv": second}, mapping)
    assert [row["measure"] for row in found.sent] == [{"calls": 1}, {"calls": 2, "secs": 9}]


def test_files_without_rows_are_known_by_name(tmp_path: Path) -> None:
    found = judged(tmp_path, {"a.csv": csv_of(), "b.csv": csv_of(*calls(1)), "c.csv": csv_of("short")})
    assert found.given.bare == ("a.csv", "c.csv")


MEASURE = """
import glob, resource, sys
from pathlib import Path
from tests.sql.usage_landed import MAPPING, judged_input
from meterbridge.usage_mapping import load_usage_mapping
from tasks.usage_input import open_files
folder = Path(sys.argv[1])
(folder / "usage.yaml").write_text(MAPPING)
given = open_files(load_usage_mapping(folder / "usage.yaml"), sorted(glob.glob(sys.argv[2])), folder / "run-input")
rows = judged_input(folder, given).rows
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("files", [744, pytest.param(8_760, marks=pytest.mark.slow)])
def test_many_packed_files_take_no_more_memory_than_one(tmp_path: Path, files: int) -> None:
    def measured(folder: Path) -> tuple[int, int]:
        command = [sys.executable, "-c", MEASURE, str(folder), str(folder / "*.csv.*")]
        root = Path(__file__).resolve().parents[2]
        environment = dict(os.environ) | {"PYTHONPATH": str(root)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root, env=environment)
        rows, megabytes = done.stdout.split()
        return int(rows), int(megabytes)

    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir(), many.mkdir()
    (one / "u.csv.gz").write_bytes(packed(".gz", csv_of(*calls(*range(files))).encode()))
    for n in range(files):
        name = f"u-{n:05}.csv.{'zst' if n % 2 else 'gz'}"
        (many / name).write_bytes(packed(name, csv_of(*calls(n)).encode()))
    (rows, flat), (again, peak) = measured(one), measured(many)
    assert (rows, again) == (files, files)
    assert peak < flat + 30 + files // 200, f"{files} files took {peak} MB, one of as many rows {flat} MB"


def test_a_bad_line_far_down_is_named_by_its_line(tmp_path: Path) -> None:
    rows = calls(*range(40_000))
    rows[5] = ""
    rows[30_000:30_003] = ["2026-03-16T10:00:00Z,short", rows[30_001], "2026-03-16T10:00:00Z,e3,4,5"]
    found = judged(tmp_path, {"u.csv": csv_of(*rows)})
    assert found.lines == {"lines": 40_001, "headings": 1, "blank": 1, "rows": 39_997, "unreadable": 2}
    assert found.places == {"unreadable_line": ["u.csv line 30002", "u.csv line 30004"]}
    assert found.calls == [n for n in range(40_000) if n not in (5, 30_000, 30_002)]
