"""Each staging table against hand-made rows: tests/sql/<resource>/<table>/<case>/ has inputs and expect.csv.

Inputs: ``<text table>.csv`` lands as text (empty = NULL), ``<chargebee resource>.json`` is one list page.
Tables that the case's table reads are made first, in the order of ``before.txt``, another resource's by
its folder. Only the columns of expect.csv are compared, as text, in any order of rows. ``parameters.json`` are what the
run knows.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from meterbridge.staging import shapes
from meterbridge.staging.database import Staging, opened

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/*/*/expect.csv"))


def read_csv(path: Path) -> list[dict[str, str | None]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]


def land(file: Staging, case: Path) -> None:
    for path in sorted(case.iterdir()):
        if path.suffix == ".json" and path.stem in shapes.CHARGEBEE:
            file.land_pages(path.stem, [path.read_bytes()])
        elif path.suffix == ".csv" and path.stem in shapes.TEXT:
            file.land_rows(path.stem, read_csv(path))


@pytest.mark.parametrize("case", [pytest.param(c, id="-".join(c.relative_to(HERE).parts[1:])) for c in CASES])
def test_case(case: Path, tmp_path: Path) -> None:
    resource, table = case.relative_to(HERE).parts[:2]
    expected = read_csv(case / "expect.csv")
    before = (case.parent / "before.txt").read_text().split() if (case.parent / "before.txt").exists() else []
    known = case / "parameters.json"
    parameters = json.loads(known.read_text()) if known.exists() else {}
    with opened(tmp_path / "run.duckdb") as file:
        land(file, case)
        for name in [*before, table]:
            folder, _, own = name.rpartition("/")
            file.make(folder or resource, own, parameters)
        columns = (case / "expect.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
        found = [
            {name: None if row[name] is None else str(row[name]) for name in columns}
            for row in file.rows(f"select * from {table}")
        ]
    key = lambda row: [row[name] or "" for name in columns]  # noqa: E731
    assert sorted(found, key=key) == sorted(expected, key=key)


def test_every_table_with_a_decision_in_it_has_a_case() -> None:
    covered = {case.relative_to(HERE).parts[1] for case in CASES}
    needed = {
        "stg_subscriptions",
        "stg_subscription_items",
        "stg_customers",
        "int_subscriptions",
        "chk_subscriptions",
        "chk_unidentified",
        "ref_plan_targets",
        "stg_changes",
        "int_earlier",
        "chk_missing",
        "out_next_run",
        "stg_invoices",
        "chk_bills",
        "stg_bill_lines",
        "int_placed_plans",
        "int_new_bills",
    }
    assert needed <= covered
