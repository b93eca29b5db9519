"""What of a run's change set awaits approval: the gate's settings, and what the ledger tells of earlier runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

from meterbridge.ledger import doubts, facts, intents, proposals, quarantine, runs
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.decisions import Proposed
from meterbridge.rules.gate import GATED, GatePolicy, Name, Past, propose
from meterbridge.rules.keys import canonical, key_from_text
from meterbridge.rules.records import Intent
from meterbridge.settings import Settings
from meterbridge.staging.database import Staging
from tasks.change_set import Tray
from tasks.extract_bills import SINCE
from tasks.services import Services


def hold_back(work: Services, file: Staging, tray: Tray) -> Proposed:
    """Find what of the tray's intents awaits a person's approval; the tray stays as it is."""
    aside = {key_from_text(row["key"])[0] for row in tray.set_aside if row["decision"] == "quarantined"}
    with work.ledger.read() as rx:
        past = Past(
            older=_older(rx, file),
            doubted={one.bill_id for one in doubts.all(rx)},
            approved=_approved(rx, tray.intents),
            verified=_verified(rx, aside),
        )
    return propose(tray.intents, gate_policy(work.settings), past)


def gate_policy(settings: Settings) -> GatePolicy:
    """The settings as the rule takes them."""
    return GatePolicy(
        approval=settings.bills_approval == "required",
        max_per_bill=settings.max_per_bill,
        max_total_per_run=settings.max_total_per_run,
        canary=settings.canary,
        three_decimal=settings.three_decimal_exponent,
    )


def _older(rx: Reader, file: Staging) -> set[str]:
    """Bills from before the first bill date that the ledger keeps: an earlier setting only proposes them.

    One that m3ter has deleted is charged nothing, and its date may be known to nobody.
    """
    kept = facts.get(rx, SINCE)
    if kept is None:
        return set()
    first = date.fromisoformat(kept)
    rows = file.rows("select id, bill_date from stg_bills where bill_date is not null and status <> 'DELETED'")
    return {row["id"] for row in rows if date.fromisoformat(row["bill_date"]) < first}


def _approved(rx: Reader, decided: Sequence[Intent]) -> set[Name]:
    """Writes that a person approved, that are still the same, and that have not left yet."""
    rows = {(row.kind, row.key): row for row in intents.open_rows(rx, GATED) if row.approval and row.state == "ready"}
    same = ((intent, rows.get((intent.kind, intent.key))) for intent in decided if rows)
    return {
        (intent.kind, intent.key)
        for intent, row in same
        if row and (row.action, canonical(row.payload)) == (intent.action, canonical(intent.payload))
    }


def _verified(rx: Reader, aside: set[str]) -> set[str]:
    """Bills that waited for a canary whose run ended with every write applied, and none of its bills is set aside."""
    waiting: dict[str, set[str]] = defaultdict(set)
    for one in proposals.awaiting(rx):
        if one.why == "canary" and one.intent.kind in GATED:
            waiting[one.run_id].add(one.intent.key[0])
    trouble = aside | {row.key[0] for row in quarantine.list(rx, "open")}
    return {bill for run_id, bills in waiting.items() if _passed(rx, run_id, trouble) for bill in bills}


def _passed(rx: Reader, run_id: str, trouble: set[str]) -> bool:
    run = runs.get(rx, run_id)
    if run is None or run.state != "done":
        return False
    sent = _sent(intents.of_run(rx, run_id))
    return bool(sent) and all(row.state == "applied" and row.key[0] not in trouble for row in sent)


def _sent(rows: Sequence[intents.IntentRow]) -> list[intents.IntentRow]:
    """The run's own writes: what it proposed, took back or only took over tells nothing."""
    return [
        row
        for row in rows
        if row.kind in GATED and row.action != "adopt" and row.state not in ("proposed", "superseded", "dismissed")
    ]
