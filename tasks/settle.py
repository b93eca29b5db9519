"""After delivery: what is known of bills, the watermark, old staging files."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from meterbridge.ledger import bills, facts, intents, watermarks
from meterbridge.rules.keys import key_from_text
from meterbridge.staging.database import opened
from tasks.engine import task
from tasks.extract_bills import SINCE, since
from tasks.runs import Run
from tasks.services import Services, services

logger = logging.getLogger(__name__)


@task(name="settle")
def settle(run: Run, kinds: tuple[str, ...]) -> bool:
    """Move the watermark forward if every record of the window is in the ledger's hands; prune old staging files.

    Returns:
        Whether the watermark moved. It never does for named ids, or while a write of ours is still open.
    """
    work = services(run.run_id)
    moved = False
    with work.ledger.write() as tx:
        still_open = [
            row for row in intents.open_rows(tx, kinds) if row.run_id == run.run_id and row.state != "proposed"
        ]
        mark = watermarks.get(tx, run.flow)
        gap = run.request.since is not None and (mark is None or run.request.since > mark.position)
        if not still_open and not run.request.ids and not gap:
            watermarks.advance(tx, run.flow, float(run.window.until), run.scope_fingerprint, run.run_id)
            tx.commit()
            moved = True
    _prune(work, run)
    return moved


@task(name="settle bills")
def settle_bills(run: Run) -> int:
    """Remember each bill as it was decided, and each portion that waits, was sent or was set aside."""
    work = services(run.run_id)
    with opened(run.path) as file, work.ledger.write() as tx:
        first = since(work)
        if first is not None and facts.get(tx, SINCE) is None:
            facts.put(tx, SINCE, first.isoformat())
        aside = list(file.rows("select * from out_set_aside where kind = 'charge' and decision <> 'out_of_scope'"))
        unsettled: set[str] = set()
        for row in aside:
            key = key_from_text(row["key"])
            unsettled.add(key[0])
            if len(key) > 1:
                bills.put_portion(tx, _aside(run, row, key))
        sent = list(file.rows("select key, amount, currency from out_intents where kind = 'charge'"))
        for bill_id, subscription_id in sorted({key_from_text(row["key"])[:2] for row in sent}):
            unsettled |= _settle_portion(tx, run, bill_id, subscription_id)
        staged = list(file.rows("select * from stg_bills"))
        for row in staged:
            bills.put(tx, _state(row, unsettled))
        tx.commit()
    return len(staged)


def _aside(run: Run, row: dict[str, Any], key: tuple[str, ...]) -> bills.Portion:
    return bills.Portion(
        bill_id=key[0],
        subscription_id=key[1],
        currency=row["currency"] or "",
        wanted=int(row["amount"] or 0),
        state="waiting" if row["decision"] == "waiting" else "quarantined",
        reason=row["message"],
        since=run.started_at,
        invoice_id=None,
    )


def _settle_portion(tx: Any, run: Run, bill_id: str, subscription_id: str) -> set[str]:
    rows = [r for r in intents.of_run(tx, run.run_id) if r.kind == "charge" and r.key[:2] == (bill_id, subscription_id)]
    done = bool(rows) and all(row.state == "applied" for row in rows)
    total = sum(row.amount or 0 for row in rows)
    invoice = rows[0].payload["invoice_id"] if rows else None
    currency = rows[0].currency or "" if rows else ""
    state: bills.PortionState = "sent" if done else "quarantined"
    reason = "charged" if done else "not every line was booked"
    bills.put_portion(
        tx, bills.Portion(bill_id, subscription_id, currency, total, state, reason, run.started_at, invoice)
    )
    return set() if done else {bill_id}


def _state(row: dict[str, Any], unsettled: set[str]) -> bills.BillState:
    return bills.BillState(
        bill_id=row["id"],
        version=row["version"] or 0,
        dt_last_modified=row["last_modified"],
        last_calculated=row["last_calculated"],
        status=row["status"],
        locked=row["locked"],
        bill_date=row["bill_date"],
        account_id=row["account_id"] or "",
        currency=row["currency"] or "",
        total=row["total"],
        finished=row["locked"] and row["id"] not in unsettled,
        deleted=row["status"] == "DELETED",
    )


def _prune(work: Services, run: Run) -> None:
    oldest = time.time() - work.settings.keep_staging_days * 86_400
    for file in Path(run.staging).parent.glob("*.duckdb"):
        if file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)
            logger.info("old staging file removed", extra={"file": file.name})
