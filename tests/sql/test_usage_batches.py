"""The same input makes the same requests: expected bodies are put together here, measurement by measurement."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from meterbridge.ledger.usage import UsageBatch
from meterbridge.rules.usage import runs, uid
from meterbridge.staging.usage_file import REFERENCES, usage_opened
from meterbridge.usage_mapping import load_usage_mapping
from tasks.usage_batches import Batch, Cutter
from tasks.usage_input import open_files, shape_of

NOW = 1_773_738_000.0  # 2026-03-17T09:00:00Z
ONE = """\
name: calls
account: customer
ts: at
key: [id]
meters:
  - meter: api
    measure: {calls: calls}
    where: {region: region}
"""
TWO = """\
  - meter: late
    when: "cast(id as BIGINT) % 3 = 0"
    measure: {calls: calls}
"""
ACCOUNT = 'Zoë "Z"'


def batches(folder: Path, mapping_text: str, rows: list[list[object]], sent: str = "") -> list[Batch]:
    """The batches of an input of which the ledger knows the numbers ``sent``."""
    mapping_file, source = folder / "usage.yaml", folder / "usage.csv"
    mapping_file.write_text(mapping_text, encoding="utf-8")
    with source.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([["customer", "at", "id", "calls", "region"], *rows])
    mapping = load_usage_mapping(mapping_file)
    given = open_files(mapping, [str(source)], folder / "spool")
    with usage_opened(folder / "run.duckdb") as file:
        file.land(shape_of(given, NOW, allow_old=False))
        for table in REFERENCES:
            file.refer(table, [])
        file.judge()
        knew = [UsageBatch("calls", "x", given.hash, 0, 1, "before", "sent", members=sent)] if sent else []
        cutter = Cutter(knew, mapping, file)
        found = list(cutter.batches(0, cutter.last_slot))
        assert cutter.skipped == sum(last - first + 1 for first, last in runs(sent))
    return found


def body(number: int, calls: int, meter: str = "api", region: str = "") -> str:
    """A measurement as it is to be sent, every character of it."""
    fields = f'"measure":{{"calls":{calls}}}' + (f',"where":{{"region":"{region}"}}' if region else "")
    return (
        f'{{"uid":"{uid("calls", meter, ACCOUNT, [str(number)])}","meter":"{meter}","account":"Zoë \\"Z\\"",'
        f'"ts":"2026-03-16T10:00:{number % 60:02}.250Z",{fields}}}'
    )


def rows(count: int, calls: Callable[[int], object], region: str) -> list[list[object]]:
    return [[ACCOUNT, f"2026-03-16 10:00:{n % 60:02}.25", n, calls(n), region] for n in range(count)]


def hashed(bodies: list[str]) -> str:
    return hashlib.sha256(",".join(bodies).encode()).hexdigest()[:40]


def test_small_measurements_are_a_thousand_a_request_without_what_is_rejected_or_was_sent(tmp_path: Path) -> None:
    found = batches(tmp_path, ONE, rows(2_300, lambda n: "none" if n == 5 else n, "eu"), sent="1000-1999,2100")
    going = [[n for n in range(1_000) if n != 5], [n for n in range(2_000, 2_300) if n != 2_100]]
    bodies = [[body(n, n, region="eu") for n in part] for part in going]
    assert [batch.body for batch in found] == [",".join(part) for part in bodies]
    assert [(batch.hash, batch.members, batch.count, batch.slot, batch.first, batch.last) for batch in found] == [
        (hashed(bodies[0]), "0-4,6-999", 999, 0, 0, 999),
        (hashed(bodies[1]), "2000-2099,2101-2299", 299, 2, 2_000, 2_299),
    ]


@pytest.mark.parametrize("rejected", [None, 3], ids=["whole", "with-a-hole"])
def test_large_measurements_are_as_many_a_request_as_fit(tmp_path: Path, rejected: int | None) -> None:
    region = "日" * 250
    found = batches(tmp_path, ONE, rows(1_200, lambda n: "none" if n == rejected else n, region))
    expected: list[tuple[int, list[str]]] = []
    filled = 0
    for number in (n for n in range(1_200) if n != rejected):
        text = body(number, number, region=region)
        size = len(text.encode())
        if not expected or expected[-1][0] != number // 1_000 or filled + 1 + size >= 512_000:
            expected.append((number // 1_000, []))
            filled = len('{"measurements":[]}') - 1
        expected[-1][1].append(text)
        filled += size + 1
    assert [(batch.slot, batch.hash) for batch in found] == [(slot, hashed(texts)) for slot, texts in expected]
    assert len(found) == 3


def test_meters_that_share_rows_go_in_the_order_of_the_rows(tmp_path: Path) -> None:
    (batch,) = batches(tmp_path, ONE.replace("    where: {region: region}\n", "") + TWO, rows(4, lambda n: n, ""))
    order = [(0, "api"), (0, "late"), (1, "api"), (2, "api"), (3, "api"), (3, "late")]
    assert batch.body == ",".join(body(n, n, meter) for n, meter in order)
    assert (batch.members, batch.count) == ("0-2,4,6-7", 6)
