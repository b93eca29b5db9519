"""Tell people and scripts how a run went: the report that ``--json`` prints, and how it ended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from meterbridge.errors import CODES
from meterbridge.ledger import bills
from meterbridge.rules.keys import key_from_text
from meterbridge.rules.kinds import MONEY, moves_money
from meterbridge.rules.money import amount_text
from meterbridge.rules.outcome import (
    Amounts,
    Concern,
    Outcome,
    amounts,
    count_of,
    done_words,
    grouped,
    in_words,
    is_all_done,
    outcome,
    with_money,
)
from meterbridge.staging.database import Staging, opened
from tasks.awaiting import awaiting
from tasks.change_set import ChangeSet
from tasks.closing_soon import closing_soon
from tasks.deliver import Delivered
from tasks.ledger_trust import notices
from tasks.leftovers import left_behind
from tasks.not_ours import seen
from tasks.runs import Run
from tasks.services import Services, services
from tasks.unbilled_money import unbilled_money
from tasks.waits import waited
from tasks.warned import Warned

MONEY_NAMES = ("applied", "proposed", "waiting", "set_aside")
SHOWN_ROWS = 200
"""Rows of the change set shown as an artifact; the staging file has all."""


class RunReport(BaseModel):
    """One run's outcome, as ``--json`` prints it. Amounts are minor units; in ``money`` major ones, as text.

    ``money`` sums by currency: ``applied`` is what this run put on invoices or took off, ``proposed`` what it decided
    and did not send (all of a dry run, else what awaits approval), ``waiting`` and ``set_aside`` as the lists say.
    """

    model_config = ConfigDict(frozen=True)

    flow: str
    flow_run_id: str
    dry_run: bool = False
    site_time: str | None = None
    extracted: dict[str, int] = Field(default_factory=dict)
    intended: dict[str, int] = Field(default_factory=dict)
    applied: dict[str, int] = Field(default_factory=dict)
    unchanged: int = 0
    out_of_scope: int = 0
    not_ours: list[dict[str, Any]] = Field(default_factory=list)
    unbilled: list[dict[str, Any]] = Field(default_factory=list)
    waiting: list[dict[str, Any]] = Field(default_factory=list)
    awaiting_approval: list[dict[str, Any]] = Field(default_factory=list)
    closing_soon: list[dict[str, Any]] = Field(default_factory=list)
    held: int = 0
    notes: list[str] = Field(default_factory=list)
    warnings: list[dict[str, Any]] = Field(default_factory=list)
    quarantined: list[dict[str, Any]] = Field(default_factory=list)
    recovered: int = 0
    missing: int = 0
    seen_next_run: int = 0
    requests: dict[str, int] = Field(default_factory=dict)
    throttled: int = 0
    seconds: float = 0.0
    waited: dict[str, float] = Field(default_factory=dict)
    delivering: dict[str, float] = Field(default_factory=dict)
    change_set: str = ""
    staging: str = ""
    notices: list[dict[str, str]] = Field(default_factory=list)
    money: dict[str, Amounts] = Field(default_factory=lambda: {name: Amounts() for name in MONEY_NAMES})

    @property
    def concerns(self) -> list[Concern]:
        """Return the concerns that a person should look at, the most urgent first; the first one names the run."""
        overdue = [row for row in self.waiting if row.get("overdue")]
        asked = sum(row["count"] for row in self.awaiting_approval)
        found: list[Concern] = []
        if asked:
            total = in_words(amounts(self.awaiting_approval))
            found.append(Concern("Awaiting approval", f"{count_of(asked, 'write')}, {total}"))
        if self.quarantined:
            found.append(Concern("Set aside", aside_words(self.quarantined)))
        if self.held:
            found.append(Concern("Held", f"{count_of(self.held, 'write')} in another run's hands or on hold"))
        if overdue:
            found.append(Concern("Overdue", f"{_with_money(overdue)}: no invoice took it in time"))
        if self.missing:
            found.append(Concern("Missing", f"{count_of(self.missing, 'record')} that an event named"))
        return found

    @property
    def done(self) -> str:
        """Return in words the writes of the run, of a dry run those it would make; empty for none."""
        if self.dry_run:
            return done_words(self.intended, self.money["proposed"])
        return done_words(self.applied, self.money["applied"])

    @property
    def outcome(self) -> Outcome:
        """How the run ended: its name and one sentence."""
        found = outcome(self.done, self.concerns, dry_run=self.dry_run)
        later = [row for row in self.waiting if not row.get("overdue")]
        return replace(found, message=f"{found.message} · waiting: {_with_money(later)}") if later else found

    @property
    def exit_code(self) -> int:
        """0 done, or a person was asked; 3 done, but something was set aside, is held, overdue or missing."""
        return 0 if is_all_done(self.concerns) else 3

    @property
    def writes(self) -> int:
        """Writes that were applied at a vendor in this run."""
        return sum(self.applied.values())


def aside_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in words how many records were set aside, for how much, and the reason that most of them have.

    Records that only wait for another one are counted apart: they follow by themselves.
    """
    own = [row for row in rows if row["code"] != "MB-DEPENDS"] or rows
    codes = Counter(row["code"] for row in own)
    code, _ = codes.most_common(1)[0]
    others = f" and {count_of(len(codes) - 1, 'other reason')}" if len(codes) > 1 else ""
    follow = f"; {len(rows) - len(own)} more depend on them" if len(own) < len(rows) else ""
    return f"{_with_money(own)}: {_reason(code)}{others}{follow}"


def _reason(code: str) -> str:
    """The code's meaning as the end of a sentence."""
    words = CODES[code].meaning.rstrip(".") if code in CODES else code
    return words[:1].lower() + words[1:] if words[1:2].islower() or words[1:2] == " " else words


def _with_money(rows: Sequence[Mapping[str, Any]]) -> str:
    return with_money(count_of(len(rows), "record"), rows)


AMOUNTS = "select kind, action, amount, currency from out_intents where amount is not null"
SET_ASIDE = "select * from out_set_aside where decision in ('quarantined', 'waiting') order by rowid"


def build(
    run: Run, change_set: ChangeSet, *, delivered: Delivered | None = None, recovered: tuple[int, int] = (0, 0)
) -> RunReport:
    """Gather the run's outcome from the staging file and the ledger."""
    work = services(run.run_id)
    with opened(run.path) as file:
        told = Warned.read(file)
        aside, soon = list(file.rows(SET_ASIDE)), list(closing_soon(work, run, file))
        more = {"extracted": _extracted(file), **_of_bills(work, run, file)}
        owners = _owners(run, file)
    done = delivered or Delivered()
    report = RunReport(
        flow=run.flow,
        flow_run_id=run.flow_run_id,
        dry_run=run.request.dry_run,
        site_time=run.site.shown,
        intended=change_set.intended,
        applied=dict(sorted(done.applied.items())),
        unchanged=change_set.unchanged,
        out_of_scope=change_set.out_of_scope,
        waiting=_waiting(work, aside, run),
        closing_soon=soon,
        awaiting_approval=awaiting(run, change_set.proposal),
        held=done.held,
        **told.shown(done.notes),
        quarantined=[_with_owner(row, owners) for row in (*_quarantined(aside), *done.refused)],
        recovered=recovered[0],
        missing=recovered[1],
        seen_next_run=change_set.next_run,
        requests=work.requests(),
        throttled=work.throttled(),
        seconds=round(work.clock.epoch() - run.started_at, 3),
        waited=waited(work) | ({"other_runs": round(delivered.waited_for_others, 3)} if delivered else {}),
        delivering=delivered.pace.shown(work) if delivered else {},
        change_set=change_set.hash,
        staging=str(left_behind(run)),
        notices=notices(work.settings, work.ledger),
        **more,
    )
    return report.model_copy(update={"money": _sums(run, report, done)})


def _sums(run: Run, report: RunReport, done: Delivered) -> dict[str, Amounts]:
    """The report's money by what became of it."""
    moved = [{"amount": amount, "currency": currency} for currency, amount in done.moved.items()]
    proposed = _decided(run) if report.dry_run else report.awaiting_approval
    rows = (moved, proposed, report.waiting, report.quarantined)
    return dict(zip(MONEY_NAMES, map(amounts, rows), strict=True))


def _decided(run: Run) -> list[dict[str, Any]]:
    """The money that the run would move: all of its change set but what it would take over."""
    with opened(run.path) as file:
        return [row for row in file.rows(AMOUNTS) if moves_money(row["kind"], row["action"])]


def _of_bills(work: Services, run: Run, file: Staging) -> dict[str, list[dict[str, Any]]]:
    """Money that stands off the invoices, or is none of ours: what earlier runs found, too."""
    if run.flow != "sync_bills":
        return {}
    with work.ledger.read() as rx:
        return {"not_ours": seen(rx, file), "unbilled": unbilled_money(rx, run.started_at)}


def _owners(run: Run, file: Staging) -> dict[str, str]:
    """Customers of the subscriptions that a run of bills looked at, by subscription."""
    if run.flow != "sync_bills":
        return {}
    return {row["id"]: row["customer_id"] for row in file.rows("select id, customer_id from stg_subscriptions")}


def _with_owner(row: dict[str, Any], owners: Mapping[str, str]) -> dict[str, Any]:
    """The row with its customer, where it is money of a subscription."""
    owner = owners.get(row["key"][1]) if row["kind"] in MONEY and len(row["key"]) > 1 else None
    return row if owner is None else {**row, "customer_id": owner}


def _extracted(file: Staging) -> dict[str, int]:
    tables = {
        "customers": "raw_chargebee__customers",
        "subscriptions": "raw_chargebee__subscriptions",
        "events": "raw_chargebee__events",
        "invoices": "raw_chargebee__invoices",
        "bills": "raw_m3ter__bills",
        "accounts": "raw_m3ter__accounts",
    }
    counted = {name: file.count(table) for name, table in tables.items()}
    return {name: count for name, count in counted.items() if count}


def _quarantined(aside: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "key": list(key_from_text(row["key"])),
            "kind": row["kind"],
            "code": row["code"],
            "message": row["message"],
            **_money(row),
            **({"waits_for": json.loads(row["waits_for"])} if row["waits_for"] else {}),
        }
        for row in aside
        if row["decision"] == "quarantined"
    ]


def _money(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["amount"] is None:
        return {}
    return {"amount": int(row["amount"]), "currency": row["currency"]}


def _waiting(work: Services, aside: list[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    with work.ledger.read() as rx:
        since = {(p.bill_id, p.subscription_id): p.since for p in bills.portions(rx) if p.state == "waiting"}
    rows = []
    for row in aside:
        if row["decision"] == "waiting":
            key = key_from_text(row["key"])
            first = since.get((key[0], key[1])) if len(key) > 1 else None
            days = None if first is None else round((run.started_at - first) / 86_400, 1)
            overdue = days is not None and days > work.settings.max_wait_days
            shown = {"key": list(key), "reason": row["message"], **_money(row), "until": row["until"]}
            rows.append({**shown, "age_days": days or 0.0, "overdue": overdue})
    return rows


def travelling(site_time: str) -> str:
    """What a run says of a site that is in another time."""
    return f"The Chargebee site travels with Time Machine: it is {site_time} there."


def money(row: Mapping[str, Any]) -> str:
    """A row's ``amount`` in minor units with its ``currency``, as people write it; empty without one."""
    number, _, currency = amount_text(
        None if row.get("amount") is None else int(row["amount"]), row.get("currency")
    ).partition(" ")
    return f"{grouped(number)} {currency}".strip()
