"""What people changed in m3ter by hand: looked for in full runs, where a run may write, and where it was before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.transport import path
from meterbridge.ledger import quarantine
from meterbridge.rules.accounts import AccountPolicy, account_intent, wanted_fields
from meterbridge.rules.foreign_edits import (
    CODE,
    Edited,
    OnForeignEdit,
    account_edited,
    accounts_gone,
    decide_deleted,
    decide_edited,
    gone_accounts,
    with_decided,
)
from meterbridge.rules.intervals import instant_text
from meterbridge.rules.plan_policy import PlanPolicy
from meterbridge.rules.records import CustomerCase, Decision, Intent, Key, Quarantined, Subscription
from meterbridge.staging.database import Staging, opened
from meterbridge.staging.moments import required
from tasks.case_rows import known_plan
from tasks.change_set import Tray
from tasks.engine import task
from tasks.extract_both_sides import find_known_plans, land_account_plans
from tasks.land_accounts import land_accounts
from tasks.runs import Run
from tasks.services import Services, services
from tasks.under_way import UnderWay

STUCK = "MB-PLAN-BILLED"


@task(name="look for edits by hand")
def find_edited(run: Run) -> int:
    """Land what tells edits by hand.

    In a full run that is every account plan of ours, else those whose subscription changed, because this
    run may write to them, and those that were edited before.

    Returns:
        How many account plans were looked at.
    """
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("ref_looked_at", "ref_gone_accounts")
        every = "select account_plan_id as id from ref_account_plans where account_plan_id is not null"
        looked = [row["id"] for row in file.rows(every)] if run.full else _look_at_some(run, work, file)
        file.land_rows("ref_looked_at", ({"id": one} for one in looked))
        if run.full:
            _land_gone(work, file)
    if run.full:
        find_known_plans(run)
    return len(looked)


CHANGED = """
select distinct k.account_plan_id as id
from ref_account_plans as k
join stg_subscriptions as s on s.id = k.subscription_id
where k.account_plan_id is not null
    and ($named or s.resource_version > coalesce(try_cast(k.source_version as bigint), 0))
"""
"""What a run by id was asked for is decided again at the same version, too."""


def _look_at_some(run: Run, work: Services, file: Staging) -> list[str]:
    with work.ledger.read() as rx:
        rows = [row for row in quarantine.to_decide(rx) if row.code == CODE]
    keys = {row.key for row in rows}
    plans = "select subscription_id, item_price_id, period, account_plan_id from ref_account_plans"
    ids = {
        row["account_plan_id"]
        for row in file.rows(plans)
        if (row["subscription_id"], row["item_price_id"], row["period"]) in keys
    }
    ids |= {row["id"] for row in file.rows(CHANGED, {"named": run.request.by_name})}
    _land_by_id(work, file, sorted(ids))
    accounts = [
        row["account_id"]
        for row in file.rows("select customer_id, account_id from ref_accounts")
        if (row["customer_id"],) in keys
    ]
    if accounts:
        land_accounts(work, file, work.m3ter.accounts(ids=accounts))
        _land_gone(work, file, accounts)
    return sorted(ids)


NOT_LISTED = """
select customer_id, account_id from ref_accounts
where account_id not in (select id from raw_m3ter__accounts)
    and account_id not in (select account_id from ref_other_sites)
order by customer_id
"""


def _land_gone(work: Services, file: Staging, among: Sequence[str] | None = None) -> None:
    """Accounts of ours that m3ter does not list, each asked for by its id: a list may lag, a read does not."""
    rows = [row for row in file.rows(NOT_LISTED) if among is None or row["account_id"] in among]
    gone = [row for row in rows if work.m3ter.get_or_none(path("accounts", row["account_id"])) is None]
    file.land_rows("ref_gone_accounts", gone)


def _land_by_id(work: Services, file: Staging, ids: Sequence[str]) -> None:
    """A list of a hundred where m3ter shows them, one read each for what is ended or gone."""
    there = {row["id"] for row in file.rows("select id from raw_m3ter__account_plans")}
    listed = list(work.m3ter.account_plans_by_id([one for one in ids if one not in there]))
    file.land_rows("raw_m3ter__account_plans", listed)
    there |= {row["id"] for row in listed}
    land_account_plans(work, file, [one for one in ids if one not in there])


@dataclass(slots=True)
class Edits:
    """Judges edits by hand, one customer or account plan at a time.

    ``settled`` names what is left out: accepted by a person, or perhaps changed by a write of ours.
    ``gone`` are keys of accounts that were deleted, by the ids they had;
    ``subscriptions`` are those of this run, by id; ``prefix`` stands before codes of ours.
    """

    mode: OnForeignEdit
    settled: frozenset[tuple[str, Key]]
    gone: Mapping[str, Key] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    prefix: str = ""

    @classmethod
    def read(cls, work: Services, run: Run, file: Staging, under_way: UnderWay) -> Edits:
        """What a person accepted, and what a write of ours could explain."""
        with work.ledger.read() as rx:
            accepted = {(row.kind, row.key) for row in quarantine.list(rx, "dismissed") if row.code == CODE}
        mode: OnForeignEdit = "repair" if run.request.repair else work.settings.on_foreign_edit
        gone = {row["account_id"]: (row["customer_id"],) for row in file.rows("select * from ref_gone_accounts")}
        return cls(mode, under_way.names | accepted, gone, prefix=work.site.prefix)

    def of_account(self, case: CustomerCase, decided: Iterable[Decision], policy: AccountPolicy) -> list[Decision]:
        """The decisions, with an edited account's verdict or repair in place of "unchanged"."""
        key = (case.customer.id,)
        out: list[Decision] = []
        for one in self._with_gone(case, decided, policy):
            edit = None
            if one.kind == "account" and one.key == key and ("account", key) not in self.settled:
                edit = account_edited(case, one, str(wanted_fields(case, policy)["name"]))
            if edit is None:
                out.append(one)
            elif self.mode == "report":
                out.append(Quarantined("account", key, CODE, edit, source_version=case.customer.resource_version))
            else:
                out.append(_given_back(case, policy, edit))
        return out

    def _with_gone(self, case: CustomerCase, decided: Iterable[Decision], policy: AccountPolicy) -> Iterable[Decision]:
        """The decisions with the verdict on accounts that were deleted; as they are where none was."""
        gone = {
            key: account_id
            for key, account_id in gone_accounts(case, self.gone).items()
            if ("account", key) not in self.settled
        }
        return accounts_gone(case, gone, decided, self.mode, policy) if gone else decided

    def of_plans(self, file: Staging, tray: Tray, policy: PlanPolicy) -> None:
        """Put down what was found edited; with ``report`` nothing is written to such an account plan."""
        for row in file.rows("select * from chk_foreign_edits order by account_plan_id"):
            edited = _edited(row, self.gone, self.prefix)
            if ("account_plan", edited.key) in self.settled:
                continue
            if edited.is_ended and tray.is_aside(edited.key, STUCK):  # a person did what the remedy asks for
                if edited.found is None:
                    tray.take_back(edited.key, STUCK)
                    for verdict in decide_deleted(edited):
                        tray.put(verdict)
                continue
            ours = [one for one in tray.intents if _writes_to(one, edited)]
            same = [one for one in ours if one.key == edited.key and one.action == "update"]
            repairable = self.mode == "repair" and (not ours or bool(same))
            if self.mode == "repair" and not repairable and edited.found is not None:
                continue  # what is replaced or deleted now needs no repair
            for one in ours:
                tray.intents.remove(one)
            shown = self.subscriptions.get(edited.key[0])
            for verdict in decide_edited(edited, "repair" if repairable else "report", policy, shown):
                if same and isinstance(verdict, Intent) and verdict.kind == "account_plan":
                    tray.put(with_decided(verdict, same[0]))
                else:
                    tray.put(verdict)


def _writes_to(intent: Intent, edited: Edited) -> bool:
    return intent.kind == "account_plan" and edited.known.account_plan_id == intent.payload.get("id")


def _given_back(case: CustomerCase, policy: AccountPolicy, edit: str) -> Intent:
    assert case.known_account is not None
    payload = {"id": case.known_account.account_id, **wanted_fields(case, policy)}
    return account_intent(
        (case.customer.id,), "update", payload, f"brought back: {edit}", customer=case.customer, warnings=()
    )


def _edited(row: dict[str, str], gone: Mapping[str, Key], prefix: str) -> Edited:
    found = None
    if not row["gone"]:
        end = row["found_end"]
        found = {
            "accountId": row["found_account_id"],
            "planId": row["found_plan_id"],
            "startDate": instant_text(required(row["found_start"])),
            "endDate": None if end is None else instant_text(required(end)),
            "billEpoch": row["found_epoch"],
        }
    return Edited(known_plan(row, prefix), found, gone.get(row["account_id"]))
