"""Metered usage decided: each record that Chargebee is to hold, less what it holds by the ledger."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Literal, cast

from meterbridge.ledger import mappings
from meterbridge.rules.keys import key_text
from meterbridge.rules.kinds import kinds_of
from meterbridge.rules.metered_usage import Calculation, UsageGroup, UsageRecord, decide
from meterbridge.rules.records import Key
from meterbridge.staging.database import opened
from meterbridge.staging.metered_file import GroupRow, metered_opened
from tasks.change_set import ChangeSet, Tray, land, landed_intents, refused_before
from tasks.engine import task
from tasks.runs import Run
from tasks.services import services
from tasks.usage_input import UsageInput

KINDS = kinds_of("usage")
KEY_PARTS = 4
"""Mapping, subscription, item price, second: what a record's key has, and a removal's begins with."""


def subject(kind: str, key: Key) -> str:
    """What a decision is about: the record; other quarantined usage is about a whole input."""
    return key_text(key[:KEY_PARTS]) if kind in KINDS and len(key) >= KEY_PARTS and key[2] != "refused" else ""


@task(name="decide metered usage")
def decide_metered_usage(run: Run, given: UsageInput) -> ChangeSet:
    """Decide subscription by subscription; the change set is in the staging file."""
    work = services(run.run_id)
    subjects: list[str] = []
    with work.ledger.read() as rx:
        tray = Tray(refused_before(rx, KINDS))
        with metered_opened(run.path) as file:
            for subscription, rows in groupby(file.groups(), lambda row: row.subscription_id):
                known = {row.key: row for row in mappings.by_scope(rx, "usage", f"subscription:{subscription}")}
                made = sum(int(row.state["revision"]) for row in known.values())
                groups = [_group(given, row, known) for row in rows]
                subjects += [key_text(group.key) for group in groups]
                for decision in decide(groups, made):
                    tray.put(decision)
    with opened(run.path) as staging:
        return land(staging, tray, subjects)


@task(name="preview metered usage")
def preview_metered_usage(run: Run, count: int) -> list[dict[str, Any]]:
    """The first intended writes, as they would be sent."""
    with opened(run.path) as file:
        found = [{"write": f"{one.kind}.{one.action}", **one.payload} for one in landed_intents(file)]
    return found[:count]


def _group(given: UsageInput, row: GroupRow, known: dict[Key, mappings.Mapping]) -> UsageGroup:
    key: Key = (given.mapping.name, row.subscription_id, row.item_price_id, str(row.usage_date))
    return UsageGroup(
        mapping=given.mapping.name,
        subscription_id=row.subscription_id,
        item_price_id=row.item_price_id,
        date=row.usage_date,
        calculation=cast(Calculation, row.calculation),
        quantity=row.quantity,
        rows=row.rows,
        sketch=row.sketch,
        closed=cast(Literal["inactive", "invoiced"] | None, row.closed),
        known=_record(known.get(key)),
        seen=row.seen,
    )


def _record(known: mappings.Mapping | None) -> UsageRecord | None:
    if known is None:
        return None
    state = known.state
    return UsageRecord(
        usage_id=known.remote_id,
        quantity=str(state["quantity"]),
        rows=int(state["rows"]),
        revision=int(state["revision"]),
        sketch=tuple(state["sketch"]),
        active=known.active,
    )
