"""A person's approval of a proposed change set: what of it is still as proposed may leave, nothing else."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from prefect.context import FlowRunContext
from prefect.events import emit_event
from pydantic import Field

from meterbridge.errors import SetupError
from meterbridge.ledger import approvals, doubts, intents, proposals
from meterbridge.ledger.intents import IntentRow
from meterbridge.rules.decisions import Proposed
from meterbridge.rules.gate import GATED
from meterbridge.rules.keys import refuse_no_hash
from meterbridge.rules.records import Intent
from meterbridge.staging.database import opened
from tasks.awaiting import Line, as_row
from tasks.change_set import ChangeSet, intent_row
from tasks.deliver import Delivered
from tasks.engine import task
from tasks.receipts import kind_of
from tasks.report import RunReport, build
from tasks.runs import Run
from tasks.services import services

logger = logging.getLogger(__name__)

EVENT = "meterbridge.bills.approved"


@dataclass(frozen=True, slots=True)
class Approved:
    """What an approval let pass.

    ``fresh`` counts the writes that may leave now and were
    not approved before.
    """

    change_set: str
    by: str
    note: str
    fresh: int
    money: list[dict[str, Any]]


class ApprovalReport(RunReport):
    """What an approval did, as ``--json`` prints it.

    ``approved`` counts the writes let pass now, ``approved_money`` sums them per currency,
    ``changed_since`` those that are not what was proposed any more and were not sent.
    """

    approved_by: str = ""
    note: str = ""
    approved: int = 0
    approved_money: list[dict[str, Any]] = Field(default_factory=list)
    changed_since: int = 0


@task(name="approve {change_set}")
def approve(run: Run, change_set: str, by: str, note: str) -> Approved:
    """Write the approval down and make ready what is still as it was proposed, in one transaction.

    A set that was approved before is not approved again: what of it has not left yet is delivered.

    Raises:
        SetupError: MB-APPROVAL, nothing was ever proposed under this hash, or nothing of it still is;
            MB-COMMAND, nobody is named.
    """
    change_set, by, note = change_set.strip(), by.strip(), note.strip()
    refuse_no_hash(change_set)
    if not by:
        raise SetupError("MB-COMMAND", "an approval needs the name of who approves")
    work = services(run.run_id)
    with work.ledger.write() as tx:
        tx.take_turn("record")
        members = proposals.members(tx, change_set)
        current = proposals.current(tx, change_set)
        earlier = approvals.of(tx, change_set)
        _refuse_nothing(change_set, members, current, earlier)
        if current:
            name = approvals.put_again(tx, change_set, "sync_bills", by, note or None)
            intents.approve(tx, (row.id for row in current), name)
            doubts.clear(tx, {row.key[0] for row in _moving(current)})
        else:
            by, note = earlier[-1].approved_by, earlier[-1].note or ""
        open_rows = [row for row in proposals.members(tx, change_set) if row.state in ("ready", "sending", "unknown")]
        tx.commit()
    with opened(run.path) as file:
        file.clear("out_intents")
        file.land_rows("out_intents", (intent_row(_intent(row), Proposed()) for row in open_rows))
    logger.info("approved", extra={"run_id": run.run_id, "change_set": change_set, "count": len(current)})
    return Approved(change_set, by, note, len(_moving(current)), _money(change_set, current))


def _refuse_nothing(
    change_set: str, members: list[IntentRow], current: list[IntentRow], earlier: list[approvals.Approval]
) -> None:
    if not members:
        raise SetupError("MB-APPROVAL", f"no run has proposed a change set {change_set!r}", key=change_set)
    if not current and not earlier:
        message = f"nothing of change set {change_set} is as it was proposed any more; it was superseded or settled"
        raise SetupError("MB-APPROVAL", message, key=change_set)


def _moving(rows: list[IntentRow]) -> list[IntentRow]:
    return [row for row in rows if row.kind in GATED]


def _money(change_set: str, rows: list[IntentRow]) -> list[dict[str, Any]]:
    by_currency: dict[str, list[Line]] = defaultdict(list)
    for row in _moving(rows):
        line = Line(row.key[0], "", row.currency or "", row.amount or 0, "", "")
        by_currency[line.currency].append(line)
    shown = [as_row(change_set, currency, lines) for currency, lines in sorted(by_currency.items())]
    return [{name: row[name] for name in ("currency", "count", "amount", "bills")} for row in shown]


def _intent(row: IntentRow) -> Intent:
    return Intent(
        kind=kind_of(row),
        key=row.key,
        action=row.action,  # type: ignore[arg-type]  # the ledger holds only actions that the rules gave it
        target=row.target,  # type: ignore[arg-type]
        payload=row.payload,
        fingerprint=row.fingerprint,
        reason=row.reason,
        scope=row.scope,
        depends_on=row.depends_on,
        state=row.wanted,
        amount=row.amount,
        currency=row.currency,
        source_version=row.source_version,
        warnings=row.warnings,
    )


def report_approval(run: Run, approved: Approved, delivered: Delivered) -> ApprovalReport:
    """Gather the outcome; what turned out to have changed right before its write counts as changed."""
    with opened(run.path) as file:
        rows = list(file.rows("select kind, action from out_intents"))
    intended: dict[str, int] = defaultdict(int)
    for row in rows:
        intended[f"{row['kind']}.{row['action']}"] += 1
    change_set = ChangeSet(approved.change_set, dict(sorted(intended.items())), 0, 0, 0, 0)
    plain = build(run, change_set, delivered=delivered)
    with services(run.run_id).ledger.read() as rx:
        members = proposals.members(rx, approved.change_set)
    changed = sum(row.state in ("superseded", "dismissed") for row in _moving(members))
    before = f"was approved by {approved.by} before; nothing is approved anew"
    told = plain if approved.fresh else plain.model_copy(update={"notes": [*plain.notes, before]})
    report = ApprovalReport(
        **told.model_dump(),
        approved_by=approved.by,
        note=approved.note,
        approved=approved.fresh,
        approved_money=approved.money,
        changed_since=changed,
    )
    if FlowRunContext.get() is not None:
        emit_event(
            EVENT,
            {"prefect.resource.id": f"meterbridge.change-set.{approved.change_set}"},
            payload={"approved_by": approved.by, "approved": approved.fresh, "money": approved.money},
        )
    return report
