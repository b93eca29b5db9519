"""Files of every kind on the real command line: what m3ter then holds, what was set aside, and how the command ends."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from meterbridge.staging.usage_unpack import zstd
from tests.flows.usage_rig import MAPPING, Usage, open_usage

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]

HEADING = "customer,at,id,calls"
AT = "2026-03-16T10:00:00Z"
DST = MAPPING.replace("ts: at", "ts: {column: at, timezone: America/New_York}")


def csv(*rows: str, heading: str = HEADING) -> bytes:
    return ("\n".join([heading, *rows]) + "\n").encode()


def row(n: int, at: str = AT, sign: str = ",") -> str:
    return sign.join(["cust-single", at, f"e{n}", str(n)])


def ndjson(*numbers: int) -> bytes:
    made = ({"customer": "cust-single", "at": AT, "id": f"e{n}", "calls": n} for n in numbers)
    return "".join(json.dumps(one) + "\n" for one in made).encode()


def parquet(folder: Path) -> bytes:
    path = folder / "made"
    rows = (
        f"select 'cust-single' as customer, timestamptz '{AT}' as at, 'e' || n as id, n as calls from range(1, 4) r(n)"
    )
    duckdb.execute(f"copy ({rows}) to '{path}' (format parquet)")
    return path.read_bytes()


@dataclass(frozen=True)
class Kind:
    """``sent`` are the calls that m3ter holds afterwards, ``aside`` the codes set aside, ``words`` stand in stderr."""

    files: dict[str, bytes]
    sent: list[int]
    exit_code: int = 0
    aside: list[str] = field(default_factory=list)
    mapping: str = MAPPING
    options: tuple[str, ...] = ()
    words: str = ""


MANY = csv(*(row(n) for n in range(1, 3_001)))
TABS = csv(*(row(n, sign="\t") for n in (1, 2)), heading=HEADING.replace(",", "\t"))
CUT = zstd.compress(MANY)
KINDS = {
    "csv": Kind({"u.csv": csv(row(1), row(2))}, [1, 2]),
    "upper-case-tsv": Kind({"U.TSV": TABS}, [1, 2]),
    "tsv.zst": Kind({"u.tsv.zst": zstd.compress(TABS)}, [1, 2]),
    "ndjson.gz": Kind({"u.ndjson.gz": gzip.compress(ndjson(1, 2))}, [1, 2]),
    "thirty-one-days": Kind(
        {f"u-{n:02}.csv.{'gz' if n % 2 else 'zst'}": (gzip.compress if n % 2 else zstd.compress)(csv(row(n)))
         for n in range(1, 32)},
        [*range(1, 32)],
    ),
    "cut-short": Kind({"u.csv.zst": CUT[: len(CUT) * 3 // 5]}, [], 2, words="MB-USAGE-INPUT"),
    "open-quote": Kind(
        {"u.csv": csv(row(1), row(2).replace("e2", '"e2'), row(3), row(4))}, [1], 3, ["MB-USAGE-ROW"]
    ),
    "backslash-quote": Kind(
        {"u.csv": csv(row(1), row(2).replace("e2", '"e\\"2"'), row(3))}, [1, 3], 3, ["MB-USAGE-ROW"]
    ),
    "mixed-line-ends": Kind({"u.csv": csv(row(1), row(2)).replace(b"\n", b"\r\n", 1)}, [1, 2]),
    "one-bad-byte": Kind({"u.ndjson": ndjson(1, 2, 3).replace(b"e2", b"e\xff2")}, [1, 3], 3, ["MB-USAGE-ROW"]),
    "name-twice": Kind(
        {"u.ndjson": ndjson(1, 2, 3).replace(b'"calls": 2', b'"calls": 2, "calls": 9')}, [1, 3], 3, ["MB-USAGE-ROW"]
    ),
    "zone-in-the-text": Kind(
        {"u.csv": csv(row(1, "2026-03-16 10:00:00 EST"), row(2, "2026-03-16 10:00:00 PM"))}, [1], 3, ["MB-USAGE-ROW"]
    ),
    "repeated-hour": Kind(
        {"u.csv": csv(row(1, "2025-11-02 00:30"), row(2, "2025-11-02 01:30"))}, [1], 3, ["MB-USAGE-ROW"],
        mapping=DST, options=("--allow-old",),
    ),
    "exactly-twice": Kind({"u.csv": csv(row(1), row(1), row(2))}, [1, 2], 3, ["MB-USAGE-DUPLICATE"]),
    "rows-without-ids": Kind(
        {"u.csv": csv(row(1), row(1), row(2))}, [1, 1, 2], mapping=MAPPING.replace("[id]", "whole_row")
    ),
    "heading-only": Kind({"u.csv": csv()}, []),
    "fewer-than-expected": Kind({"u.csv": csv(row(1))}, [], 2, options=("--expect-rows", "2"), words="MB-USAGE-INPUT"),
    "no-byte-order-mark": Kind(
        {"u.csv": csv(row(1)).decode().encode("utf-16-le")}, [], 2, mapping=MAPPING + "encoding: utf-16\n",
        words="say `encoding: utf-16-le`",
    ),
    "nul-in-an-account": Kind(
        {"u.csv": csv(row(1), row(2).replace("cust-", "cust\0"))}, [1], 3, ["MB-USAGE-ROW"]
    ),
    "no-such-column": Kind({"u.csv": csv(heading="a,b")}, [], 2, words="its columns are: a, b"),
}  # fmt: skip


@pytest.fixture(scope="module")
def usage(open_shared_sandbox: Callable[..., object], tmp_path_factory: pytest.TempPathFactory) -> Usage:
    return open_usage(open_shared_sandbox, tmp_path_factory.mktemp("usage"))


QUICK = ("ndjson.gz", "cut-short", "open-quote")
"""Each run starts a server of Prefect's; the others are for the slow suite."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in (*KINDS, "parquet")]
)
def test_a_file_of_this_kind_ends_as_documented(usage: Usage, tmp_path: Path, name: str) -> None:
    kind = KINDS[name] if name in KINDS else Kind({"u.parquet": parquet(tmp_path)}, [1, 2, 3])
    for file, content in kind.files.items():
        (tmp_path / file).write_bytes(content)
    mapping = tmp_path / "usage.yaml"
    mapping.write_text(kind.mapping.replace("name: calls", f"name: {name.replace('.', '-')}"), encoding="utf-8")
    before = usage.accepted()
    sources = [str(tmp_path / file) for file in kind.files]
    command = [sys.executable, "-c", "from meterbridge.cli.main import main; main()", "sync", "usage", *sources]
    command += ["--mapping", str(mapping), "--json", *kind.options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = usage.accepted()
    for calls in before:
        after.remove(calls)
    assert (done.returncode, after) == (kind.exit_code, kind.sent), done.stdout + done.stderr
    assert kind.words in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if kind.exit_code != 2:
        assert sorted({one["code"] for one in json.loads(done.stdout)["quarantined"]}) == kind.aside
