"""Rows of ``int_bills`` → rules → the change set of ``sync_bills``. Calls no vendor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from meterbridge.catalog import load_catalog
from meterbridge.errors import BrokenInvariant
from meterbridge.ledger import facts, intents
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.bills import BillPolicy
from meterbridge.rules.carry import carry_over
from meterbridge.rules.charge_mappings import Held, Moved, Names, mapping_intents
from meterbridge.rules.deadlines import Deadline, by_risk, deadlines
from meterbridge.rules.keys import connection_mark, key_from_text
from meterbridge.rules.kinds import NETTED_SCOPE, kinds_of
from meterbridge.rules.recall import agree, lowered_charge, lowered_lines, mark_of
from meterbridge.rules.records import (
    ChargeRule,
    Decision,
    Intent,
    Key,
    Quarantined,
)
from meterbridge.rules.standing import is_unbilled
from meterbridge.rules.unclaimed import Suspect, hold_suspects, suspects
from meterbridge.staging.database import Staging, opened
from tasks.bill_cases import case_of, decide_case
from tasks.change_set import ChangeSet, Tray, land, refused_before
from tasks.engine import task
from tasks.extract_bills import since
from tasks.gate import hold_back
from tasks.netted_marks import after_marks, netted_intents
from tasks.runs import Run
from tasks.services import Services, services

KNOWN_MARKS = "select key from ref_external_mappings where entity = 'Netted' order by key"
MARKED = "select key, carried from ref_charges where carried <> ''"
KINDS = kinds_of("bills")


def subject(kind: str, key: Key) -> str:
    """Whose record it is: always the bill's id."""
    return key[1] if kind == "external_mapping" else key[0]


@task(name="decide bills")
def decide_bills(run: Run) -> ChangeSet:
    """Desired minus standing, bill by bill, landed as ``out_intents`` and ``map_charges``."""
    work = services(run.run_id)
    with work.ledger.read() as rx:
        refused = {} if run.request.by_name else refused_before(rx, KINDS)
        names = json.loads(facts.get(rx, "m3ter_mapping_names") or "{}")
        under_way = Marking.of(rx)
    policy = policy_of(work, run)
    tray = Tray(refused)
    subjects: set[str] = set()
    decisions: list[Decision] = []
    beside: list[Suspect] = []
    ahead: list[Deadline] = []
    now = datetime.fromtimestamp(run.started_at, UTC)
    with opened(run.path) as file:
        to_come = under_way.to_come(file)
        for bill_id, message in broken_bills(file):
            tray.put(Quarantined("charge", (bill_id,), "MB-RECORD", message))
        for row in file.rows("select * from int_bills order by bill_date, id"):
            subjects.add(row["id"])
            case = replace(case_of(row, now), marks_to_come=to_come)
            decided = decide_case(case, policy)
            decisions += decided
            beside += suspects(case, decided, policy)
            ahead += deadlines(case, policy)
        decisions = agree(hold_suspects(decisions, beside))
        closings = {one.invoice_id: one.closes_at for one in ahead}
        if policy.negative_delta == "net":
            decisions = carry_over(decisions, three_decimal=policy.three_decimal, sent=under_way.taken)
        for decision in by_risk(decisions, closings):
            tray.put(decision)
        _land_deadlines(file, ahead)
        _follow_mappings(file, tray, names, subjects)
        _mark_netted(file, tray, Names.of(names), under_way.kept(subjects))
        change_set = land(file, tray, subjects, lambda decided: hold_back(work, file, decided))
        _land_mapped(file, tray.intents)
    return change_set


def broken_bills(file: Staging) -> Iterator[tuple[str, str]]:
    """Ids of bills that no rule can judge, with what to say of them; never a value."""
    for row in file.rows("select * from chk_bills order by id"):
        yield row["id"], f"bill {row['id']} comes without {row['problem']}, or with it in a wrong form"


def policy_of(work: Services, run: Run, first: date | None = None) -> BillPolicy:
    """The settings as the bill rules take them; ``first`` is the first bill date where the kept one does not count."""
    settings = work.settings
    first = first or since(work)
    if first is None:
        raise BrokenInvariant("MB-INVARIANT", "bills are decided without a first bill date")
    catalog = load_catalog(settings.catalog_path)
    return BillPolicy(
        since=first,
        mark=connection_mark(settings.connection, settings.chargebee_site, settings.m3ter_org_id),
        site_ahead=timedelta(seconds=run.site.now - run.started_at) if run.site.shown else timedelta(0),
        settle_hours=settings.bill_settle_hours,
        rounding=settings.rounding,
        three_decimal=settings.three_decimal_exponent,
        bill_amounts=settings.bill_amounts,
        charge_grouping=settings.charge_grouping,
        max_invoice_lines=settings.max_invoice_lines,
        max_wait_days=settings.max_wait_days,
        term_tolerance_hours=settings.term_tolerance_hours,
        no_pending_invoice=settings.no_pending_invoice,
        net_across_subscriptions=settings.net_across_subscriptions,
        bill_level_lines=settings.bill_level_lines,
        negative=settings.negative,
        on_void=settings.on_void,
        on_unapproved=settings.on_unapproved,
        negative_delta=settings.negative_delta,
        main_subscription=settings.main_subscription,
        charges=tuple(ChargeRule(**row.model_dump()) for row in catalog.charges),
        description_template=settings.charge_description,
        schedule_interval_seconds=settings.schedule_interval_seconds,
        auto_close_days=settings.auto_close_days,
        accounts_only=settings.accounts_only,
        accounts_except=settings.accounts_except,
    )


def _follow_mappings(file: Staging, tray: Tray, names: Mapping[str, Any], bills: Collection[str]) -> None:
    """Put down what must change in m3ter's mappings once the charges are applied."""
    mapped = {key_from_text(row["key"]): row["points_at"] for row in file.rows("select * from ref_external_mappings")}
    known, points = set(mapped), {key: place for key, place in mapped.items() if place}
    rows = file.rows(
        "select * from ref_charges where carried is null and line_id <> '' "
        "and coalesce(invoice_status, '') <> 'unbilled' and bill_id in (select id from stg_bills union "
        "select c.bill_id from map_moved_charges as m join ref_charges as c on c.key = m.key)"
    )
    held = [_held(row, row["invoice_id"], row["line_id"]) for row in rows]
    moves = file.rows(
        "select m.*, c.bill_line_ids from map_moved_charges as m join ref_charges as c on c.key = m.key "
        "where m.draft_id <> m.invoice_id or m.old_line_id <> m.line_id"
    )
    moved = []
    for row in moves:
        before = _held(row, row["draft_id"], row["old_line_id"])
        if is_unbilled(row["draft_id"]):  # billed now, so that there is an invoice to map to
            held.append(replace(before, invoice_id=row["invoice_id"], line_id=row["line_id"]))
        else:
            moved.append(Moved(before, row["invoice_id"], row["line_id"]))
    placed = [one for one in tray.intents if not is_unbilled(str(one.payload.get("invoice_id", "")))]
    more = mapping_intents(placed, Names.of(names), known=known, held=held, moved=moved, bills=bills, points=points)
    for intent in more:
        tray.put(intent)


@dataclass(frozen=True, slots=True)
class Marking:
    """What the ledger has open of lowered charges: marks to be made, and charges that wait for theirs or are sent."""

    marks: frozenset[str]
    charges: tuple[tuple[Key, bool], ...]
    taken: Mapping[Key, int]

    @classmethod
    def of(cls, rx: Reader) -> Marking:
        """As the ledger has it now."""
        made = (row for row in intents.open_within(rx, "external_mapping", NETTED_SCOPE) if row.action == "create")
        rows = list(intents.open_rows(rx, ("charge", "charge_set")))
        charges = (
            (("Netted", key[0], mark_of(key, part)), row.state in ("sending", "unknown"))
            for row in rows
            for key, parts in lowered_lines(row.kind, row.key, row.payload, row.wanted)
            for part in parts
        )
        return cls(frozenset(row.key[2] for row in made), tuple(charges), _taken_by_sets(rows))

    def to_come(self, file: Staging) -> frozenset[str]:
        """Marks that this ledger has made or makes: if it holds no such charge, that one is to be lowered yet."""
        return self.marks | {key[2] for key in _known_marks(file)}

    def kept(self, decided: Collection[str]) -> frozenset[Key]:
        """Marks of charges in flight, and of those to be sent for bills that are not decided here."""
        return frozenset(key for key, in_flight in self.charges if in_flight or key[1] not in decided)


def _taken_by_sets(rows: Iterable[intents.IntentRow]) -> Mapping[Key, int]:
    """By portion what calls whose answer never came may have taken of its surplus: they are not decided anew."""
    taken: Counter[Key] = Counter()
    for row in rows:
        lost = row.kind == "charge_set" and row.state in ("sending", "unknown")
        for part in row.wanted.get("carried", ()) if lost else ():
            taken[part["bill_id"], part["subscription_id"]] += part["amount"]
    return taken


def _known_marks(file: Staging) -> list[Key]:
    """Marks that m3ter has, by the ledger."""
    return [key_from_text(row["key"]) for row in file.rows(KNOWN_MARKS)]


def _mark_netted(file: Staging, tray: Tray, names: Names, kept: Collection[Key]) -> None:
    """Put down the marks of lowered charges, and let these wait for them."""
    known = _known_marks(file)
    held = [(lowered_charge(key_from_text(row["key"])), row["carried"]) for row in file.rows(MARKED)]
    for intent in netted_intents(tray.intents, names, known=known, held=held, kept=kept):
        tray.put(intent)
    tray.intents = after_marks(tray.intents, names)


def _held(row: Mapping[str, Any], invoice_id: str, line_id: str) -> Held:
    return Held(key_from_text(row["key"]), invoice_id, line_id, tuple(json.loads(row["bill_line_ids"] or "[]")))


def _land_deadlines(file: Staging, ahead: Iterable[Deadline]) -> None:
    file.clear("map_deadlines")
    file.land_rows("map_deadlines", ({**asdict(one), "closes_at": one.closes_at.isoformat()} for one in ahead))


def _land_mapped(file: Staging, intents: list[Intent]) -> None:
    file.clear("map_charges")
    file.land_rows(
        "map_charges",
        (row for intent in intents for row in _mapped(intent)),
    )


def _mapped(intent: Intent) -> Iterator[dict[str, Any]]:
    """What the intent charges, a row for each line."""
    shared = {"action": intent.action, "currency": intent.currency, "reason": intent.reason}
    if intent.kind == "charge":
        lines = [{**intent.payload, "key": intent.key, "amount": intent.amount}]
    elif intent.kind == "charge_set":
        lines = [{**line, "invoice_id": "", "method": intent.payload["method"]} for line in intent.payload["lines"]]
    else:
        return
    for line in lines:
        names = dict(zip(("bill_id", "subscription_id", "line"), line["key"], strict=True))
        yield {**shared, **names, **{name: line[name] for name in ("invoice_id", "method", "amount")}}
