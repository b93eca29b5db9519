"""After delivery: what is known of bills, and the watermark."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meterbridge.ledger import bills, intents, mappings, proposals, watermarks
from meterbridge.ledger.ledger import Writer
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.kinds import MONEY
from meterbridge.rules.portions import NOBODY
from meterbridge.rules.records import Key
from meterbridge.staging.database import Staging, opened
from tasks.closing_soon import closings_of
from tasks.engine import task
from tasks.ledger_trust import MONEY_FLOWS, prove
from tasks.listed_bills import remember_pending
from tasks.moved_on import left_out
from tasks.not_ours import NOT_OURS
from tasks.runs import Run
from tasks.services import services

logger = logging.getLogger(__name__)

PASSING = ("waiting", "quarantined", "proposed", "not_ours")
"""States of a portion that end as soon as a decision does not put it there again."""

STATES: dict[str, bills.PortionState] = {
    "waiting": "waiting",
    "quarantined": "quarantined",
    "out_of_scope": "not_ours",
}

Standing = dict[tuple[str, str], tuple[int, str, str | None]]


@task(name="settle")
def settle(run: Run, kinds: tuple[str, ...]) -> bool:
    """Move the watermark forward if every record of the window is in the ledger's hands.

    Returns:
        Whether the watermark moved. It never does for named ids, while a write of ours is still
        open, when another run wrote what this one had decided, or when a later run has already moved it further.
    """
    work = services(run.run_id)
    moved = False
    with work.ledger.write() as tx:
        still_open = [
            row for row in intents.open_rows(tx, kinds) if row.run_id == run.run_id and row.state != "proposed"
        ]
        mark = watermarks.get(tx, run.flow)
        gap = run.request.since is not None and (mark is None or run.request.since > mark.position)
        passed = mark is not None and mark.position > run.window.until and mark.fingerprint == run.scope_fingerprint
        if not still_open and not run.request.ids and not gap and not passed and not left_out(run):
            watermarks.advance(tx, run.flow, float(run.window.until), run.scope_fingerprint, run.run_id)
            tx.commit()
            moved = True
    if moved and run.compares_all and run.flow in MONEY_FLOWS:
        prove(work, run.run_id)
    return moved


@task(name="settle bills")
def settle_bills(run: Run) -> int:
    """Remember each bill as it was decided, and each portion that waits, was sent or was set aside."""
    work = services(run.run_id)
    with opened(run.path) as file, work.ledger.write() as tx:
        # Decided from what is no longer so: whoever changed it settles it, the next run decides the bill anew.
        moved = {row["bill_id"] for row in file.rows("select bill_id from out_moved_on")}
        aside = _set_aside(file, moved)
        unsettled = {key[0] for key in aside}
        for key, row in aside.items():
            if len(key) > 1:
                _put(tx, _aside(row, key))
        standing = _standing(tx)
        rows = {key: own for key, own in _written(tx, run, file).items() if key[0] not in moved}
        for portion in sorted(set(rows) - set(aside)):
            unsettled |= _settle_portion(tx, run, rows[portion], portion, standing)
        staged = [row for row in file.rows("select * from stg_bills") if row["id"] not in moved]
        elsewhere = _elsewhere(file, {row["id"]: row["currency"] for row in staged})
        for portion, (currency, words) in elsewhere.items():
            amount, currency, invoice = standing.get(portion, (0, currency or "", None))
            _put(tx, bills.Portion(*portion, currency, amount, "sent", words, run.started_at, invoice))
        not_ours = _not_ours(file, moved)
        for key, row in not_ours.items():
            _put(tx, _aside(row, key))
        decided = {*rows, *aside, *elsewhere, *not_ours}
        left_out = _left_out(file)
        for row in staged:
            _rest(tx, run, row["id"], decided, standing)
            if row["id"] in left_out:
                _forget(tx, row["id"], standing)
            else:
                bills.put(tx, _state(row, unsettled))
        _sent_before(tx, run, {row["id"] for row in staged}, decided, standing)
        _remember_closings(tx, file)
        remember_pending(tx, file)
        proposals.prune(tx)
        tx.commit()
    return len(staged)


def _remember_closings(tx: Writer, file: Staging) -> None:
    """Beside each portion of this run, when the draft that it is meant for closes."""
    closings = closings_of(file)
    for row in bills.portions(tx):
        closes = closings.get((row.bill_id, row.subscription_id))
        if closes is not None and closes != row.until:
            bills.put_portion(tx, replace(row, until=closes))


@task(name="settle portions")
def settle_portions(run: Run) -> int:
    """Remember what became of portions whose writes were decided by another run; returns how many."""
    work = services(run.run_id)
    with opened(run.path) as file, work.ledger.write() as tx:
        standing = _standing(tx)
        rows = _written(tx, run, file)
        for portion, own in sorted(rows.items()):
            _settle_portion(tx, run, own, portion, standing)
        tx.commit()
    return len(rows)


def _set_aside(file: Staging, moved: Collection[str]) -> dict[Key, dict[str, Any]]:
    rows = file.rows("select * from out_set_aside where kind = 'charge' and decision in ('quarantined', 'waiting')")
    found = {key_from_text(row["key"]): row for row in rows}
    return {key: row for key, row in found.items() if key[0] not in moved}


def _not_ours(file: Staging, moved: Collection[str]) -> dict[Key, dict[str, Any]]:
    """Return the portions decided to be none of ours, under nobody's subscription."""
    found = {(key_from_text(row["key"])[0], NOBODY): row for row in file.rows(NOT_OURS)}
    return {key: row for key, row in found.items() if key[0] not in moved}


def _elsewhere(file: Staging, currencies: Mapping[str, str | None]) -> dict[tuple[str, str], tuple[str | None, str]]:
    """Portions whose money stands for another one of their bill, or whose lines do: currency, and where in words."""
    rows = file.rows("select key, message from out_set_aside where kind = 'charge' and decision = 'unchanged'")
    found = {key_from_text(row["key"]): row["message"] for row in rows}
    return {(key[0], key[1]): (currencies[key[0]], why) for key, why in found.items() if key[0] in currencies}


def _written(tx: Writer, run: Run, file: Staging) -> dict[Key, list[intents.IntentRow]]:
    """The intents of the run's change set as they are now, by portion (bill, subscription)."""
    sent = [row for row in file.rows("select kind, key from out_intents") if row["kind"] in MONEY]
    ours = {(row.kind, row.key): row for row in intents.of_run(tx, run.run_id)}
    rows: dict[Key, list[intents.IntentRow]] = defaultdict(list)
    for kind, key in [(row["kind"], key_from_text(row["key"])) for row in sent]:
        own = rows[key[:2]]
        # What a killed run had under way was probed under that run's name.
        intent = ours.get((kind, key)) or intents.by_key(tx, kind, key)
        if intent is not None:
            own.append(intent)
    return rows


def _left_out(file: Staging) -> set[str]:
    """Approved bills that a setting leaves out: nothing was decided of them, so nothing is known."""
    approved = {row["id"] for row in file.rows("select id from stg_bills where status = 'APPROVED'")}
    rows = file.rows(
        "select key from out_set_aside where kind = 'charge' and decision = 'out_of_scope' and currency is null"
    )
    return approved & {key_from_text(row["key"])[0] for row in rows}


def _forget(tx: Writer, bill_id: str, standing: Standing) -> None:
    """Look at the bill again once the setting lets it in; what stands for one is remembered as it was."""
    if not any(portion[0] == bill_id for portion in standing):
        bills.forget(tx, bill_id)


def _put(tx: Writer, portion: bills.Portion) -> None:
    """Store a portion; what a person settled of it is kept apart first, it counts for good."""
    before = bills.get_portion(tx, portion.bill_id, portion.subscription_id)
    if before is not None and before.state == "settled" and portion.state != "settled":
        key = (portion.bill_id, portion.subscription_id)
        kept = mappings.get(tx, "settled", key)
        state = {"amount": before.wanted + (kept.state["amount"] if kept else 0), "currency": before.currency}
        mappings.put(tx, mappings.Mapping("settled", key, "", "", portion.bill_id, state))
    bills.put_portion(tx, portion)


def _standing(tx: Writer) -> Standing:
    """By portion: what stands by the ledger, in minor units, its currency and one of its invoices."""
    found: Standing = {}
    for row in mappings.all(tx, "charge", active_only=True):
        portion = (row.state["bill_id"], row.state["subscription_id"])
        amount = found.get(portion, (0, "", None))[0] + row.state["amount"]
        found[portion] = (amount, row.state["currency"], row.state["invoice_id"])
    return found


def _rest(tx: Writer, run: Run, bill_id: str, decided: Collection[Key], standing: Standing) -> None:
    """A portion that needs nothing any more neither waits nor is set aside."""
    for row in bills.portions(tx, bill_id=bill_id):
        portion = (bill_id, row.subscription_id)
        if portion in decided or row.state not in PASSING:
            continue
        amount, currency, invoice = standing.get(portion, (0, row.currency, None))
        if portion in standing:
            _put(tx, bills.Portion(*portion, currency, amount, "sent", "charged", run.started_at, invoice))
        else:
            bills.delete_portion(tx, *portion)


def _sent_before(tx: Writer, run: Run, staged: Collection[str], decided: Collection[Key], standing: Standing) -> None:
    """Portions that a run sent or changed and could not note down: it was stopped after the last charge."""
    for portion, (amount, currency, invoice) in standing.items():
        if portion[0] not in staged or portion in decided:
            continue
        noted = bills.get_portion(tx, *portion)
        if noted is None or (noted.state == "sent" and noted.wanted != amount):
            _put(tx, bills.Portion(*portion, currency, amount, "sent", "charged", run.started_at, invoice))


def _aside(row: dict[str, Any], key: tuple[str, ...]) -> bills.Portion:
    return bills.Portion(
        bill_id=key[0],
        subscription_id=key[1],
        currency=row["currency"] or "",
        wanted=int(row["amount"] or 0),
        state=STATES[row["decision"]],
        reason=row["message"],
        since=None,  # the ledger keeps the first instant
        invoice_id=None,
    )


def _settle_portion(
    tx: Writer, run: Run, rows: Sequence[intents.IntentRow], portion: Key, standing: Standing
) -> set[str]:
    proposed = [row for row in rows if row.state == "proposed"]
    if proposed:
        amount = sum(row.amount or 0 for row in proposed)
        why = "awaits approval: `meterbridge status` shows its change set"
        _put(tx, bills.Portion(portion[0], portion[1], proposed[0].currency or "", amount, "proposed", why))
        return {portion[0]}
    done = bool(rows) and all(row.state == "applied" for row in rows)
    currency = next((row.currency for row in rows if row.currency), "")
    amount, currency, invoice = standing.get((portion[0], portion[1]), (0, currency, None))
    state: bills.PortionState = "sent" if done else "quarantined"
    reason = "charged" if done else "not every line was booked"
    _put(tx, bills.Portion(portion[0], portion[1], currency, amount, state, reason, run.started_at, invoice))
    return set() if done else {portion[0]}


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
