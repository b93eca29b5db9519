"""What ``meterbridge status`` tells: from the ledger alone, so it asks no vendor."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from meterbridge.cli import words
from meterbridge.ledger import bills, intents, proposals, quarantine, runs, watermarks
from meterbridge.ledger.ledger import Ledger, Reader
from meterbridge.ledger.watermarks import Watermark
from meterbridge.processes import is_gone
from meterbridge.rules.gate import GATED
from meterbridge.settings import Settings
from tasks.ledger_trust import notices
from tasks.not_ours import remembered
from tasks.unbilled_money import unbilled_money

FLOWS = ("sync_subscriptions", "sync_bills")
SHOWN_RUNS = 8
HOUR = 3_600
LOST = "its process ended without a word; the next run goes on from there"


def overview(settings: Settings, ledger: Ledger) -> dict[str, Any]:
    """Everything that ``status`` shows, as JSON values; amounts in minor units, ages and lags in seconds.

    Ages of money are counted on the vendors' clock as the last settled run knew it.
    """
    now = ledger.now()
    told = notices(settings, ledger)
    with ledger.read() as rx:
        marks = {flow: watermarks.get(rx, flow) for flow in FLOWS}
        vendors_now = now + _offset(settings, marks.values())
        waiting = _waiting(rx, settings, vendors_now)
        open_intents = Counter(row.state for row in intents.open_rows(rx))
        aside = quarantine.list(rx)
        return {
            "notices": told,
            "connection": settings.connection,
            "chargebee_site": settings.chargebee_site,
            "m3ter_organization": settings.m3ter_org_id,
            "ledger": ledger.url_text,
            "staging": str(settings.home.expanduser().absolute() / settings.connection / "staging"),
            "watermarks": [_mark(flow, mark, vendors_now) for flow, mark in marks.items()],
            "runs": [_run(row, now) for row in runs.recent(rx, limit=SHOWN_RUNS)],
            "open_intents": dict(sorted(open_intents.items())),
            "waiting": waiting,
            "closing_soon": _closing_soon(rx, settings, vendors_now),
            "awaiting_approval": awaiting_approval(rx, now),
            "settled_by_hand": _settled(rx),
            "not_ours": remembered(rx),
            "unbilled": unbilled_money(rx, vendors_now),
            "overdue": sum(1 for row in waiting if row["overdue"]),
            "quarantined": _by_code(aside, now),
            "quarantined_records": len(aside),
        }


def _offset(settings: Settings, marks: Iterable[Watermark | None]) -> float:
    """The vendors' clock less the ledger's: a settled run moves its watermark to the vendors' now, held back."""
    known = [mark for mark in marks if mark is not None]
    if not known:
        return 0.0
    latest = max(known, key=lambda mark: mark.updated_at)
    return latest.position + settings.hold_back_seconds - latest.updated_at


def _mark(flow: str, mark: Watermark | None, vendors_now: float) -> dict[str, Any]:
    if mark is None:
        return {"flow": flow, "position": None, "lag_seconds": None, "run_id": None}
    lag = max(0, round(vendors_now - mark.position))
    return {"flow": flow, "position": words.instant(mark.position), "lag_seconds": lag, "run_id": mark.run_id}


def _run(row: runs.RunRow, now: float) -> dict[str, Any]:
    counts = row.counts or {}
    lost = row.state == "running" and (row.is_silent(now) or (row.runner is not None and is_gone(row.runner)))
    return {
        "run_id": row.flow_run_id,
        "attempt": row.attempt,
        "flow": row.flow,
        "state": "lost" if lost else row.state,
        "started_at": words.instant(row.started_at),
        "seconds": None if row.ended_at is None else round(row.ended_at - row.started_at, 1),
        "applied": sum((counts.get("applied") or {}).values()),
        "message": LOST if lost else counts.get("message"),
        "staging": str(row.evidence or row.staging),
    }


def _waiting(rx: Reader, settings: Settings, vendors_now: float) -> list[dict[str, Any]]:
    rows = []
    for portion in bills.waiting(rx):
        age = max(0.0, vendors_now - (portion.since or vendors_now))
        rows.append(
            {
                "bill_id": portion.bill_id,
                "subscription_id": portion.subscription_id,
                "amount": portion.wanted,
                "currency": portion.currency,
                "age_seconds": round(age),
                "overdue": age > settings.max_wait_days * words.DAY,
                "reason": portion.reason,
            }
        )
    return rows


def _closing_soon(rx: Reader, settings: Settings, vendors_now: float) -> list[dict[str, Any]]:
    """Money that is not on its draft yet although that closes soon, the soonest first."""
    last = vendors_now + settings.close_warning_hours * HOUR
    rows = [
        portion
        for portion in bills.portions(rx)
        if portion.state in ("waiting", "proposed", "quarantined") and portion.until is not None
    ]
    return [
        {
            "bill_id": portion.bill_id,
            "subscription_id": portion.subscription_id,
            "amount": portion.wanted,
            "currency": portion.currency,
            "state": portion.state,
            "closes_at": words.instant(portion.until),
            "closes_in_seconds": round(portion.until - vendors_now),
        }
        for portion in sorted(rows, key=lambda one: (one.until, -one.wanted))
        if portion.until is not None and vendors_now <= portion.until <= last
    ]


def awaiting_approval(rx: Reader, now: float) -> list[dict[str, Any]]:
    """What a person is asked to approve, by change set and currency; a write counts in the newest one it is in."""
    groups: dict[tuple[str, str], list[proposals.Awaiting]] = defaultdict(list)
    for one in proposals.awaiting(rx):
        if one.intent.kind in GATED:
            groups[one.change_set, one.intent.currency or ""].append(one)
    return [
        {
            "change_set": change_set,
            "currency": currency,
            "count": len(rows),
            "amount": sum(one.intent.amount or 0 for one in rows),
            "bills": len({one.intent.key[0] for one in rows}),
            "why": {one.why: one.words for one in rows},
            "age_seconds": round(max(0.0, now - min(one.intent.created_at for one in rows))),
            "run_id": max(rows, key=lambda one: one.proposed_at).run_id,
        }
        for (change_set, currency), rows in sorted(groups.items())
    ]


def _settled(rx: Reader) -> list[dict[str, Any]]:
    """What people settled by hand, by currency; `trace` tells it portion by portion."""
    sums: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for portion in bills.portions(rx, state="settled"):
        sums[portion.currency] += portion.wanted
        counts[portion.currency] += 1
    return [{"currency": name, "count": counts[name], "amount": sums[name]} for name in sorted(counts)]


def _by_code(aside: Iterable[quarantine.QuarantineRow], now: float) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str | None], list[quarantine.QuarantineRow]] = defaultdict(list)
    for row in aside:
        groups[row.code, row.currency if row.amount is not None else None].append(row)
    return [
        {
            "code": code,
            "records": len(rows),
            "currency": currency,
            "amount": None if currency is None else sum(row.amount or 0 for row in rows),
            "oldest_seconds": round(max(now - row.first_seen for row in rows)),
        }
        for (code, currency), rows in sorted(groups.items(), key=lambda group: (group[0][0], group[0][1] or ""))
    ]
