"""What ``meterbridge trace`` tells: any id → bill lines, portion, subscription, account plan, run and rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from meterbridge.cli import words
from meterbridge.ledger import approvals, bills, intents, mappings, proposals, quarantine, runs
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.gate import GATED
from meterbridge.rules.money import exact_sum, plain
from meterbridge.staging.database import opened

LINE_FIELDS = (
    "id",
    "line_item_type",
    "description",
    "amount",
    "quantity",
    "units",
    "unit",
    "product_code",
    "plan_code",
    "plan_id",
    "aggregation_code",
    "service_start",
    "service_end",
)


@dataclass(frozen=True, slots=True)
class Found:
    """What an id turned out to be, and the records that hang on it."""

    what: str
    charges: tuple[mappings.Mapping, ...] = ()
    plans: tuple[mappings.Mapping, ...] = ()
    bill_ids: tuple[str, ...] = ()
    subscription_ids: tuple[str, ...] = ()


def trace(rx: Reader, named: str) -> dict[str, Any] | None:
    """Everything the ledger and the runs' staging files know of an id, as JSON values; None where it is unknown.

    Amounts of charges are minor units, amounts of bill lines m3ter's own text in major units.
    """
    found = find(rx, named)
    if found is None:
        return None
    charged = [_charge(rx, one) for one in found.charges]
    subscriptions = {*found.subscription_ids, *(one.state["subscription_id"] for one in found.charges)}
    bill_ids = dict.fromkeys([*found.bill_ids, *(one.state["bill_id"] for one in found.charges)])
    plans = {one.key: one for one in (*found.plans, *_plans_of(rx, subscriptions))}
    return {
        "id": named,
        "what": found.what,
        "charges": charged,
        "bills": [_bill(rx, bill_id) for bill_id in bill_ids],
        "portions": [_portion(one) for one in _portions(rx, found, list(bill_ids))],
        "awaiting_approval": [_proposed(one) for one in _asked(rx, found, list(bill_ids))],
        "account_plans": [_plan(rx, plan) for plan in plans.values()],
        "set_aside": [_aside(row) for row in quarantine.list(rx) if _concerns(row.key, named, bill_ids, found)],
    }


def find(rx: Reader, named: str) -> Found | None:
    """Look an id up in every role it could have; invoice lines first, for finance asks about those."""
    line = mappings.by_remote(rx, "charge", named)
    if line is not None:
        return Found("Chargebee invoice line", (line,))
    on_invoice = mappings.by_state(rx, "charge", "invoice_id", named)
    if on_invoice:
        return Found("Chargebee invoice", tuple(on_invoice))
    of_bill = mappings.by_state(rx, "charge", "bill_id", named)
    if of_bill or bills.get(rx, named) is not None:
        return Found("m3ter bill", tuple(of_bill), bill_ids=(named,))
    of_line = tuple(one for one in mappings.all(rx, "charge") if named in one.state.get("bill_line_ids", ()))
    if of_line:
        return Found("m3ter bill line", of_line)
    plan = mappings.by_remote(rx, "account_plan", named)
    if plan is not None:
        charges = mappings.by_state(rx, "charge", "subscription_id", plan.state["subscription_id"])
        own = tuple(one for one in charges if _overlaps(plan.state, one.state))
        return Found("m3ter account plan", own, (plan,))
    charges = mappings.by_state(rx, "charge", "subscription_id", named)
    plans = mappings.by_state(rx, "account_plan", "subscription_id", named)
    waiting = any(one.subscription_id == named for one in bills.portions(rx))
    if charges or plans or waiting:
        return Found("Chargebee subscription", tuple(charges), tuple(plans), subscription_ids=(named,))
    return None


def _overlaps(plan: Mapping[str, Any], charge: Mapping[str, Any]) -> bool:
    """True if the charge's dates (epoch seconds) touch the account plan's interval (RFC 3339 text)."""
    first, last = words.instant(charge["date_from"]), words.instant(charge["date_to"])
    return str(plan["start"])[:19] <= str(last)[:19] and (plan["end"] is None or str(first)[:19] < plan["end"][:19])


def _plans_of(rx: Reader, subscription_ids: set[str]) -> Iterator[mappings.Mapping]:
    for subscription_id in sorted(subscription_ids):
        yield from mappings.by_state(rx, "account_plan", "subscription_id", subscription_id)


def _portions(rx: Reader, found: Found, bill_ids: list[str]) -> list[bills.Portion]:
    named = [one for bill_id in bill_ids for one in bills.portions(rx, bill_id=bill_id)]
    if found.subscription_ids:
        named = [one for one in bills.portions(rx) if one.subscription_id in found.subscription_ids]
    pairs = {(one.state["bill_id"], one.state["subscription_id"]) for one in found.charges}
    return [
        one for one in named if found.bill_ids or found.subscription_ids or (one.bill_id, one.subscription_id) in pairs
    ]


def _concerns(key: tuple[str, ...], named: str, bill_ids: Mapping[str, None], found: Found) -> bool:
    pairs = {(one.state["bill_id"], one.state["subscription_id"]) for one in found.charges}
    if key[:2] in pairs or key[0] == named:
        return True
    return key[0] in bill_ids and bool(found.bill_ids)


# --- one link of the chain each -----------------------------------------------------------


def _charge(rx: Reader, charge: mappings.Mapping) -> dict[str, Any]:
    state = charge.state
    intent = intents.by_key(rx, "charge", charge.key)
    decided, sent = None if intent is None else runs.get(rx, intent.run_id), runs.get(rx, charge.run_id)
    run, lines = _evidence((decided, sent), state)
    exact = plain(exact_sum([Decimal(line["amount"]) for line in lines])) if lines else None
    return {
        "invoice_id": state["invoice_id"],
        "invoice_line_id": charge.remote_id,
        "stands": charge.active,
        "amount": state["amount"],
        "currency": state["currency"],
        "exact_amount": exact,
        "date_from": words.instant(state["date_from"]),
        "date_to": words.instant(state["date_to"]),
        "reference": state["reference"],
        "bill_id": state["bill_id"],
        "bill_line_ids": list(state.get("bill_line_ids", ())),
        "bill_lines": lines,
        "subscription_id": state["subscription_id"],
        "rule": _rule(state, intent),
        "reason": None if intent is None else intent.reason,
        "idempotency_key": None if intent is None else intent.idempotency_key,
        "approved": _approval(rx, intent),
        "sent_at": None if intent is None else words.instant(intent.first_sent_at),
        "decided_by": _run(decided or sent),
        "run": _run(sent),
        "missing": _missing(run, lines),
    }


def _asked(rx: Reader, found: Found, bill_ids: list[str]) -> list[proposals.Awaiting]:
    """Writes that await approval, of the portions that the id leads to."""
    portions = {(one.bill_id, one.subscription_id) for one in _portions(rx, found, bill_ids)}
    rows = [one for one in proposals.awaiting(rx) if one.intent.kind in GATED]
    return [one for one in rows if one.intent.key[:2] in portions]


def _proposed(one: proposals.Awaiting) -> dict[str, Any]:
    return {
        "bill_id": one.intent.key[0],
        "subscription_id": one.intent.key[1],
        "action": f"{one.intent.action} {one.intent.kind}",
        "amount": one.intent.amount,
        "currency": one.intent.currency,
        "reason": one.intent.reason,
        "change_set": one.change_set,
        "why": one.words,
    }


def _approval(rx: Reader, intent: intents.IntentRow | None) -> dict[str, Any] | None:
    """Who let the charge pass, where somebody had to."""
    kept = approvals.get(rx, intent.approval) if intent is not None and intent.approval else None
    if kept is None:
        return None
    return {
        "change_set": kept.change_set,
        "by": kept.approved_by,
        "note": kept.note,
        "at": words.instant(kept.approved_at),
    }


def _rule(state: Mapping[str, Any], intent: intents.IntentRow | None) -> str:
    if intent is not None and intent.action == "adopt":
        return "adopted: the line stood on the invoice before the ledger knew it"
    if state["entity_type"] == "charge_item_price":
        return f"the catalog's charges map it to item price {state['entity_id']}"
    return "no row of the catalog's charges fits: an ad-hoc charge with a description of its own"


def _evidence(
    ours: Iterable[runs.RunRow | None], state: Mapping[str, Any]
) -> tuple[runs.RunRow | None, list[dict[str, Any]]]:
    """The first of the runs whose staging file holds the charge's bill lines, and these; else the first run, none.

    The run that decided comes first: one that only sends what was approved reads no bills.
    """
    known = [run for run in ours if run is not None]
    for run in known:
        lines = bill_lines(Path(run.staging), state["bill_id"], state.get("bill_line_ids", ()))
        if lines:
            return run, lines
    return (known[0] if known else None), []


def _missing(run: runs.RunRow | None, lines: list[dict[str, Any]]) -> str | None:
    if run is None:
        return "the ledger does not know the run that made this charge"
    if run.evidence is None:
        return "the run's staging file is gone (pruned): amounts before rounding are no longer known"
    if run.evidence.suffix == ".json":
        return "the run found nothing to do and kept its facts alone"
    return None if lines else "the run's staging file does not hold these bill lines, or is in use"


def bill_lines(staging: Path, bill_id: str, line_ids: tuple[str, ...] | list[str]) -> list[dict[str, Any]]:
    """The bill lines as a run read them; none where its staging file is gone, in use or from another version."""
    if not staging.is_file():
        return []
    query = (
        f"select {', '.join(LINE_FIELDS)} from stg_bill_lines "  # noqa: S608 - our own column names
        "where bill_id = $bill and list_contains($lines, id) order by sequence"
    )
    with suppress(duckdb.Error), opened(staging, read_only=True) as file:
        return list(file.rows(query, {"bill": bill_id, "lines": list(line_ids)}))
    return []


def _bill(rx: Reader, bill_id: str) -> dict[str, Any]:
    state = bills.get(rx, bill_id)
    if state is None:
        return {"bill_id": bill_id, "status": None}
    return {
        "bill_id": bill_id,
        "status": "DELETED" if state.deleted else state.status,
        "version": state.version,
        "locked": state.locked,
        "bill_date": state.bill_date,
        "account_id": state.account_id,
        "total": state.total,
        "currency": state.currency,
    }


def _portion(portion: bills.Portion) -> dict[str, Any]:
    return {
        "bill_id": portion.bill_id,
        "subscription_id": portion.subscription_id,
        "state": portion.state,
        "amount": portion.wanted,
        "currency": portion.currency,
        "invoice_id": portion.invoice_id,
        "reason": portion.reason,
    }


def _plan(rx: Reader, plan: mappings.Mapping) -> dict[str, Any]:
    intent = intents.by_key(rx, "account_plan", plan.key)
    return {
        "account_plan_id": plan.remote_id,
        "account_id": plan.state["account_id"],
        "subscription_id": plan.state["subscription_id"],
        "item_price_id": plan.state["item_price_id"],
        "plan_id": plan.state["plan_id"],
        "start": plan.state["start"],
        "end": plan.state["end"],
        "stands": plan.active,
        "reason": None if intent is None else intent.reason,
        "run": _run(runs.get(rx, plan.run_id)),
    }


def _aside(row: quarantine.QuarantineRow) -> dict[str, Any]:
    return {"id": row.id, "code": row.code, "message": row.message, "amount": row.amount, "currency": row.currency}


def _run(run: runs.RunRow | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "run_id": run.flow_run_id,
        "attempt": run.attempt,
        "flow": run.flow,
        "started_at": words.instant(run.started_at),
        "change_set": run.change_set,
        "staging": None if run.evidence is None else str(run.evidence),
    }
