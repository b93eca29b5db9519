"""A month goes by: terms renew, usage comes in, bills are rated and approved."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from meterbridge.sandbox.clock import rfc3339
from meterbridge.sandbox.m3ter import bill_jobs, entities
from meterbridge.sandbox.m3ter.account_plans import interval
from meterbridge.sandbox.m3ter.bills import with_status
from meterbridge.sandbox.m3ter.measurements import ingest
from meterbridge.sandbox.table import Row

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

# By the twelfth the terms of the first, the fifth and the tenth have ended, and their bills are a day old.
_DAY_OF_BILLS = 12
_MEASUREMENTS = 4


@dataclass(frozen=True, slots=True)
class MonthReport:
    """What a month brought; `now` in epoch seconds."""

    now: int
    measurements: int
    bills: int
    approved: int
    left_pending: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def use_and_bill(world: World, *, approve: bool = True) -> MonthReport:
    """The whole month: `pass_month`, `use`, `bill`, `approve_bills`. Called again, it is the next month."""
    with world.lock:
        pass_month(world)
        measurements = use(world)
        bills = bill(world)
        approved = approve_bills(world, bills) if approve else 0
        return MonthReport(world.clock.now(), measurements, len(bills), approved, len(bills) - approved)


def pass_month(world: World) -> None:
    """Forward to ten past midnight of the next twelfth; subscriptions renew on the way, drafts appear."""
    today = datetime.fromtimestamp(world.clock.now(), tz=UTC).date()
    first = today.replace(day=1)
    if today.day >= _DAY_OF_BILLS:
        first = (first + timedelta(days=32)).replace(day=1)
    target = datetime(first.year, first.month, _DAY_OF_BILLS, 0, 10, tzinfo=UTC)
    world.advance_to(int(target.timestamp()))


def use(world: World) -> int:
    """Ingest usage for every account plan of the cycles that have just ended; returns the number of measurements.

    Amounts follow from the seed, the account's code and the meter, or are the scenario's own.
    """
    count = 0
    for row in _usage(world):
        count += ingest(world.m3ter, row) is None
    return count


def _usage(world: World) -> Iterator[Row]:
    state = world.m3ter
    for account in state.accounts.rows():
        done = set()
        for cycle, account_plans in bill_jobs.cycles(world, account["id"], _last_day(world)).items():
            for account_plan in account_plans:
                start, end = interval(account_plan)
                start, end = max(start, cycle.period.start), min(end, cycle.period.end)
                for meter in state.meters.find("productId", account_plan["productId"]):
                    if start < end and (meter["code"], start) not in done:
                        done.add((meter["code"], start))
                        yield from _measurements(world, account["code"], meter, start, end)


def _measurements(world: World, code: str, meter: Row, start: int, end: int) -> Iterator[Row]:
    amount = world.facts["usage"].get(code, {}).get(meter["code"])
    if amount is None:
        dice = random.Random(f"{world.seed} {code} {meter['code']} {start}")  # noqa: S311 - a seeded scenario
        amount = Decimal(dice.randrange(500, 90_000))
    name = meter["dataFields"][0]["code"]
    # Not only whole parts: the last one takes what is left.
    part = (amount / _MEASUREMENTS).quantize(Decimal(1))
    for number in range(_MEASUREMENTS):
        share = part if number < _MEASUREMENTS - 1 else amount - part * (_MEASUREMENTS - 1)
        at = start + (end - start) * (2 * number + 1) // (2 * _MEASUREMENTS)
        yield {
            # The same for the same usage: a month that is used twice counts once.
            "uid": hashlib.sha256(f"{code} {meter['code']} {start} {number}".encode()).hexdigest()[:40],
            "meter": meter["code"],
            "account": code,
            "ts": rfc3339(at),
            "measure": {name: share},
        }


def bill(world: World) -> list[Row]:
    """Run the bill job for all accounts; the bills of the cycles that have ended."""
    state = world.m3ter
    row = {"type": "CREATE", "status": "PENDING", "pending": 0, "total": 0}
    job = entities.insert(state, bill_jobs.BILL_JOB, row | {"lastDateInBillingPeriod": _last_day(world).isoformat()})
    bill_jobs.run(world, job["id"])
    finished = state.bill_jobs.get(job["id"]) or {}
    return [found for bill_id in finished["billIds"] if (found := state.bills.get(bill_id)) is not None]


def approve_bills(world: World, bills: list[Row]) -> int:
    """Approve them all, but for those that the scenario leaves pending; returns how many were approved."""
    ready = [each for each in bills if each["accountCode"] not in world.facts["pending_bill_of"]]
    for each in ready:
        with_status(world.m3ter, each, "APPROVED")
    return len(ready)


def _last_day(world: World) -> date:
    return datetime.fromtimestamp(world.clock.now(), tz=UTC).date() - timedelta(days=1)
