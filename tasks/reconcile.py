"""Compare both sides by the syncs' own rules, and tell drift from what is known already. Writes to no vendor."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from meterbridge.ledger import intents, mappings, quarantine
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.account_plans import decide_customer
from meterbridge.rules.accounts import excluded
from meterbridge.rules.bill_sums import BillSum, bill_sums
from meterbridge.rules.bills import BillPolicy, customer_of
from meterbridge.rules.both_sides import (
    Claim,
    Expected,
    desired_plans,
    standing_charges,
    wanted_charges,
)
from meterbridge.rules.explained import NEWS, Explained, Reason, Why, split_charges, split_items
from meterbridge.rules.foreign_edits import CODE as FOREIGN_EDIT
from meterbridge.rules.keys import key_text
from meterbridge.rules.kinds import MONEY
from meterbridge.rules.reconcile import (
    Difference,
    StandingCharge,
    StandingPlan,
    Total,
    WantedCharge,
    WantedPlan,
    compare_bills,
    compare_items,
    without_history,
)
from meterbridge.rules.records import (
    Bill,
    BillCase,
    CustomerCase,
    Decision,
    Intent,
    Key,
    PlanTarget,
    Quarantined,
    Waiting,
)
from meterbridge.staging.database import Staging, opened
from meterbridge.staging.moments import day, moment, required
from tasks import bill_cases, decide_bills, decide_subscriptions
from tasks.case_rows import known_plan
from tasks.change_set import refused_before
from tasks.charges import wish_of
from tasks.engine import task
from tasks.ledger_trust import notices
from tasks.report_differences import ReconcileReport
from tasks.runs import Run
from tasks.services import Services, services
from tasks.under_way import UnderWay

logger = logging.getLogger(__name__)

KINDS = ("account_plan", "charge", "charge_set")
OPEN_KINDS = ("account_plan", *MONEY)
"""Of these a write that is recorded and not done explains a difference."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger tells about decisions that are taken, but not yet, or never, carried out."""

    refused: dict[tuple[str, Key], tuple[str, str, str]]
    under_way: Mapping[tuple[str, Key], Why]
    dismissed: frozenset[tuple[str, Key, str]]
    told: frozenset[tuple[str, Key, str]]
    claims: tuple[Claim, ...]
    may_stand: UnderWay
    edits: tuple[Reason, ...]
    organization: decide_subscriptions.Organization

    @classmethod
    def read(cls, rx: Reader, file: Staging) -> Known:
        """Everything at once, so that it fits together."""
        return cls(
            refused=refused_before(rx, KINDS),
            under_way={
                (row.kind, row.key): "awaiting approval" if row.state == "proposed" else "under way"
                for row in intents.open_rows(rx, OPEN_KINDS)
            },
            dismissed=frozenset((row.kind, row.key, row.code) for row in quarantine.list(rx, "dismissed")),
            told=frozenset(
                (row.kind, row.key, row.code) for row in (*quarantine.to_decide(rx), *quarantine.list(rx, "dismissed"))
            ),
            claims=tuple(_claim(row.state, row.remote_id) for row in mappings.all(rx, "charge", active_only=True)),
            may_stand=UnderWay.read(rx, file),
            edits=tuple(_edits(rx)),
            organization=decide_subscriptions.Organization.read(rx),
        )


@dataclass(slots=True)
class Compared:
    """One half of the comparison: drift, what is known, and how much was looked at."""

    drift: list[Difference] = field(default_factory=list)
    explained: list[Explained] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    totals: dict[str, Total] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    bills: list[BillSum] = field(default_factory=list)

    def rows(self) -> Iterator[dict[str, Any]]:
        """What is known, difference by difference; then what was set aside without one."""
        for difference, (first, *others) in self.explained:
            more = f"; and {len(others)} more" if others else ""
            yield {**_row(difference), "why": first.why, "code": first.code, "message": f"{first.message}{more}"}
        told = {id(reason) for _, reasons in self.explained for reason in reasons}
        for reason in self.reasons:
            if id(reason) not in told:
                shown = {
                    "disagreement": "set aside",
                    "what": "",
                    "key": list(reason.key),
                    "wanted": None,
                    "found": None,
                }
                amount = {"money": reason.amount, "currency": reason.currency}
                yield {**shown, **amount, "why": reason.why, "code": reason.code, "message": reason.message}


@task(name="compare both sides")
def compare(run: Run) -> ReconcileReport:
    """Compare account plans item by item and charges portion by portion, landed as ``out_differences``."""
    work = services(run.run_id)
    with opened(run.path) as file:
        with work.ledger.read() as rx:
            known = Known.read(rx, file)
        items = _items(run, work, file, known)
        charges = _charges(run, work, file, known)
        drift = [_row(one) for one in (*items.drift, *charges.drift)]
        explained = [*items.rows(), *charges.rows()]
        landed = [{**row, "key": key_text(tuple(row["key"]))} for row in (*drift, *explained)]
        file.make("reconcile", "out_differences", {"differences": json.dumps(landed, ensure_ascii=False)})
        extracted = {
            name: file.count(table)
            for name, table in (
                ("customers", "stg_customers"),
                ("subscriptions", "stg_subscriptions"),
                ("account plans", "int_standing_plans"),
                ("bills", "stg_bills"),
                ("invoices", "stg_invoices"),
            )
        }
    logger.info("compared", extra={"run_id": run.run_id, "differences": len(drift), "explained": len(explained)})
    return ReconcileReport(
        flow=run.flow,
        flow_run_id=run.flow_run_id,
        extracted=extracted,
        requests=work.requests(),
        throttled=work.throttled(),
        notices=notices(work.settings, work.ledger),
        seconds=round(work.clock.epoch() - run.started_at, 3),
        staging=run.staging,
        differences=len(drift),
        drift=drift,
        explained=explained,
        totals={currency: _total(total) for currency, total in charges.totals.items()},
        compared={**items.counts, **charges.counts},
        bills=[asdict(one) for one in charges.bills],
    )


def _row(difference: Difference) -> dict[str, Any]:
    return {**asdict(difference), "key": list(difference.key)}


def _total(total: Total) -> dict[str, int]:
    return {"wanted": total.wanted, "standing": total.standing, "difference": total.difference}


# --- account plans ------------------------------------------------------------------------


def _items(run: Run, work: Services, file: Staging, known: Known) -> Compared:
    accounts, plans = decide_subscriptions.policies(
        work.settings, decide_subscriptions.present(run, file), known.organization
    )
    targets = {
        row["item_price"]: decide_subscriptions._target(row) for row in file.rows("select * from ref_plan_targets")
    }
    decisions: list[Decision] = []
    for row in file.rows("select * from int_customers order by id"):
        decisions += decide_customer(_case(work, row, targets, known), accounts, plans)
    kept, reasons = sift(decisions, known)
    flying = {
        row.key: Reason("under way", row.key, "", row.reason, may_stand=items) for row, items in known.may_stand.items()
    }
    reasons = [
        *flying.values(),
        *known.edits,
        *(one for one in reasons if one.key not in flying or one.why != "under way"),
    ]
    for broken in file.rows("select * from chk_subscriptions order by id"):
        message = f"subscription {broken['id']} comes without {broken['problem']}"
        reasons.append(Reason("quarantined", (broken["id"],), "MB-RECORD", message))
    in_ledger = [
        known_plan(row, work.site.prefix)
        for row in file.rows("select * from ref_account_plans where account_plan_id is not null")
    ]
    wanted = desired_plans(in_ledger, kept)
    adopted = {i.payload["id"]: i.key for i in kept if isinstance(i, Intent) and i.action == "adopt" and _is_plan(i)}
    standing = list(_standing_plans(file, adopted, known.may_stand.made(work.site.prefix)))
    found = without_history(standing, plans.now)
    drift, explained = split_items(compare_items(wanted, found), reasons)
    return Compared(drift, explained, reasons, counts={"account plans": len({*map(_item, wanted), *map(_item, found)})})


def _case(work: Services, row: Mapping[str, Any], targets: Mapping[str, PlanTarget], known: Known) -> CustomerCase:
    return decide_subscriptions._case(row, targets, known.may_stand, prefix=work.site.prefix)


def _edits(rx: Reader) -> Iterator[Reason]:
    """Edits by hand that a sync has told of, or that a person accepted: no news."""
    told: tuple[tuple[Why, list[quarantine.QuarantineRow]], ...] = (
        ("quarantined", quarantine.to_decide(rx)),
        ("dismissed", quarantine.list(rx, "dismissed")),
    )
    for why, rows in told:
        for row in rows:
            if (row.kind, row.code) == ("account_plan", FOREIGN_EDIT):
                yield Reason(why, row.key, row.code, row.message, may_stand=frozenset({row.key[:2]}))


def _is_plan(intent: Intent) -> bool:
    return intent.kind == "account_plan"


def _item(plan: WantedPlan | StandingPlan) -> tuple[str, str, datetime]:
    return plan.subscription_id, plan.item_price_id, plan.start


def _standing_plans(file: Staging, adopted: Mapping[str, Key], made: Mapping[str, Key]) -> Iterator[StandingPlan]:
    for row in file.rows("select * from int_standing_plans order by account_plan_id"):
        own = (row["subscription_id"], row["item_price_id"])
        item = adopted.get(row["account_plan_id"]) or made.get(row["code"] or "") or own
        yield StandingPlan(
            account_plan_id=row["account_plan_id"],
            subscription_id=item[0],
            item_price_id=item[1],
            account_id=row["account_id"],
            plan_id=row["plan_id"],
            start=required(row["start_at"]),
            end=moment(row["end_at"]),
            bill_epoch=day(row["bill_epoch"]),
        )


# --- charges ------------------------------------------------------------------------------


def _charges(run: Run, work: Services, file: Staging, known: Known) -> Compared:
    settled = list(file.rows("select * from ref_settled"))
    broken = dict(decide_bills.broken_bills(file))
    reasons = [Reason("quarantined", (bill_id,), "MB-RECORD", message) for bill_id, message in broken.items()]
    if not file.count("int_bills"):
        return Compared(reasons=reasons, counts={"portions": 0})
    policy = decide_bills.policy_of(work, run)
    now = datetime.fromtimestamp(run.started_at, UTC)
    wanted: list[WantedCharge] = []
    expected: list[Expected] = []
    claims = list(known.claims)
    lowered: list[StandingCharge] = []
    currencies: dict[str, str] = {}
    seen: list[Bill] = []
    for row, case in _in_scope(file, policy, now):
        seen.append(case.bill)
        kept, why = sift(bill_cases.decide_case(case, policy), known)
        reasons += why
        taken = [i for i in kept if isinstance(i, Intent) and i.action == "adopt"]
        claims += [_claim(i.state, i.payload["line_id"]) for i in taken if i.payload["line_id"]]
        parts = [part for i in taken for part in i.state.get("carried", ())]
        lowered += [StandingCharge(row["id"], p["subscription_id"], p["amount"], row["currency"]) for p in parts]
        currencies[row["id"]] = row["currency"]
        if row["status"] != "DELETED":
            more = wanted_charges(case, policy, kept)
            wanted, expected = [*wanted, *more[0]], [*expected, *more[1]]
    by_hand = {(s["bill_id"], s["subscription_id"]) for s in settled} | {
        key[:2] for kind, key, _ in known.dismissed if kind == "charge"
    }
    invoices = [bill_cases.invoice_of(row) for row in file.rows("select * from stg_invoices order by id")]
    left_out = ({row["id"] for row in file.rows("select id from stg_bills")} - set(currencies)) | set(broken)
    found = standing_charges(claims, expected, invoices, by_hand)
    standing = [one for one in found if one.bill_id not in left_out]
    standing += [*_off_invoices(file, settled, currencies), *lowered]
    differences, totals = compare_bills(wanted, standing)
    drift, explained = split_charges(differences, reasons)
    portions = {(w.bill_id, w.subscription_id) for w in wanted} | {(s.bill_id, s.subscription_id) for s in standing}
    sums = bill_sums(seen, standing, reasons, policy)
    return Compared(drift, explained, reasons, totals, {"portions": len(portions)}, sums)


def _off_invoices(
    file: Staging, settled: Iterable[Mapping[str, Any]], currencies: Mapping[str, str]
) -> Iterator[StandingCharge]:
    """What stands for a bill and is on no invoice line of its own: settled by hand, carried over, credited."""
    for row in settled:
        bill_id = row["bill_id"]
        if currencies.get(bill_id):
            yield StandingCharge(bill_id, row["subscription_id"], int(row["amount"]), currencies[bill_id], by_hand=True)
    for row in file.rows("select * from ref_charges where carried is not null or invoice_id = ''"):
        if currencies.get(row["bill_id"]):
            yield StandingCharge(row["bill_id"], row["subscription_id"], int(row["amount"]), row["currency"])


def _in_scope(file: Staging, policy: BillPolicy, now: datetime) -> Iterator[tuple[dict[str, Any], BillCase]]:
    """Rows of ``int_bills`` as the rules take them, without what is none of ours or left out by a setting."""
    for row in file.rows("select * from int_bills order by bill_date, id"):
        case = bill_cases.case_of(row, now)
        if excluded(customer_of(case), policy) is None and not case.not_ours:
            yield row, case


def _claim(state: Mapping[str, Any], line_id: str) -> Claim:
    return Claim(state["bill_id"], state["subscription_id"], line_id, wish_of(state))


def _foundation_aside(intent: Intent, known: Known) -> Iterator[Reason]:
    """Tell why an intent does not stand that a sync set aside along with the record that it builds on."""
    if (intent.kind, intent.key, "MB-DEPENDS") in known.told:
        why: Why = "dismissed" if (intent.kind, intent.key, "MB-DEPENDS") in known.dismissed else "quarantined"
        message = "waits for a record that is set aside"
        yield Reason(why, intent.key, "MB-DEPENDS", message, intent.amount, intent.currency)


def sift(decisions: Iterable[Decision], known: Known) -> tuple[list[Decision], list[Reason]]:
    """Part decisions into those that say what should stand, and the reasons why some of it does not yet.

    A write that its vendor refused, or that is recorded and not done, is no longer
    wanted of today's state: it is a reason.
    """
    kept: list[Decision] = []
    reasons: list[Reason] = []
    for one in decisions:
        open_as = known.under_way.get((one.kind, one.key))
        if isinstance(one, Intent) and one.kind in OPEN_KINDS and one.kind not in KINDS and open_as:
            reasons.append(Reason(open_as, one.key, "", one.reason, one.amount, one.currency))
        if one.kind not in KINDS:
            continue
        match one:
            case Intent():
                fingerprint, code, message = known.refused.get((one.kind, one.key), ("", "", ""))
                if fingerprint == one.fingerprint:
                    reasons.append(Reason("quarantined", one.key, code, message, one.amount, one.currency))
                elif open_as:
                    reasons.append(Reason(open_as, one.key, "", one.reason, one.amount, one.currency))
                else:
                    kept.append(one)
                    reasons += _foundation_aside(one, known)
            case Quarantined():
                name = (one.kind, one.key, one.code)
                why: Why = "dismissed" if name in known.dismissed else "quarantined"
                if one.code not in NEWS or name in known.told:
                    reasons.append(Reason(why, one.key, one.code, one.message, one.amount, one.currency))
                kept.append(one)
            case Waiting():
                reasons.append(Reason("waiting", one.key, "", one.reason, one.amount, one.currency))
            case _:
                kept.append(one)
    return kept, reasons
