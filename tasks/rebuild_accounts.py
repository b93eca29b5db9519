"""Accounts and account plans of an older or lost ledger, taken over from m3ter as they stand there. Writes nothing."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from meterbridge.ledger import mappings
from meterbridge.ledger.mappings import Mapping
from meterbridge.rules.intervals import instant_text
from meterbridge.rules.plan_found import Stock, claim_mapped, known_stock
from meterbridge.rules.records import CustomerCase, Key, KnownPlan
from meterbridge.staging.database import Staging, opened
from meterbridge.staging.moments import moment
from tasks import decide_subscriptions
from tasks.engine import task
from tasks.rebuild_mappings import take_over_account_mappings
from tasks.runs import Run
from tasks.services import services
from tasks.under_way import UnderWay

logger = logging.getLogger(__name__)


@task(name="take over accounts and account plans")
def take_over_accounts(run: Run, *, dry_run: bool) -> dict[str, int]:
    """Bring what the ledger knows of accounts and account plans to what stands in m3ter; returns how many, by kind.

    An account plan that it does not know and that carries our mapping is taken over; one that ended or moved is
    corrected; one that m3ter does not have any more becomes history.
    """
    work = services(run.run_id)
    with opened(run.path) as file, work.ledger.write() as tx:
        known = {kind: list(mappings.all(tx, kind, active_only=True)) for kind in ("account", "account_plan")}
        changed = [*_corrected(file, known["account_plan"]), *_new_accounts(file, known["account"], run)]
        changed += _new_plans(file, known["account_plan"], run)
        mappings.put(tx, *changed)
        mapped = take_over_account_mappings(tx, file, run)
        if not dry_run:
            tx.commit()
    counts = Counter(one.kind if one.active else f"{one.kind}_gone" for one in changed)
    counts += Counter(external_mapping=mapped)
    logger.info("accounts taken over", extra={"run_id": run.run_id, "count": len(changed)})
    return dict(sorted(counts.items()))


def _corrected(file: Staging, known: list[Mapping]) -> Iterator[Mapping]:
    rows = file.rows('select id, startDate as start, endDate as "end" from raw_m3ter__account_plans')
    found = {row["id"]: (moment(row["start"]), moment(row["end"])) for row in rows}
    for one in known:
        if one.remote_id not in found:
            yield replace(one, active=False)
            continue
        start, end = found[one.remote_id]
        if start is not None and (moment(one.state["start"]), moment(one.state.get("end"))) != (start, end):
            stands = {"start": instant_text(start), "end": None if end is None else instant_text(end)}
            yield replace(one, state={**one.state, **stands})


def _new_accounts(file: Staging, known: list[Mapping], run: Run) -> Iterator[Mapping]:
    """Accounts that m3ter maps to a customer of ours; what they were given last nobody knows, so they are compared."""
    taken = {one.remote_id for one in known} | {one.key[0] for one in known}
    for case in _cases(file, run):
        own = [one for one in case.found_accounts if case.customer.id in one.mapped_customer_ids]
        for account in own if len(own) == 1 else ():
            if account.id not in taken and case.customer.id not in taken and len(account.mapped_customer_ids) == 1:
                taken |= {account.id, case.customer.id}
                state = {"code": account.code, "currency": account.currency, "customer_id": case.customer.id}
                state |= {"parent": None}
                yield Mapping(
                    "account", (case.customer.id,), account.id, "", case.customer.id, state, run_id=run.run_id
                )


def _new_plans(file: Staging, known: list[Mapping], run: Run) -> Iterator[Mapping]:
    taken = {one.remote_id for one in known}
    periods: dict[Key, set[int]] = defaultdict(set)
    for one in known:
        periods[one.key[:2]].add(int(one.key[2]))
    for case in _cases(file, run):
        stock = _as_if_lost(case)
        for pair, standing in stock.standing.items():
            for plan in (one.plan for one in standing):
                if plan.account_plan_id not in taken:
                    taken.add(plan.account_plan_id)
                    number = plan.period if plan.period not in periods[pair] else max(periods[pair]) + 1
                    periods[pair].add(number)
                    yield _mapping(replace(plan, period=number), run)


def _as_if_lost(case: CustomerCase) -> Stock:
    stock = known_stock(replace(case, known_plans=(), known_mappings=frozenset()))
    claim_mapped(stock, case)
    return stock


def _mapping(plan: KnownPlan, run: Run) -> Mapping:
    state: dict[str, Any] = {
        name: value for name, value in asdict(plan).items() if name not in ("account_plan_id", "epoch")
    }
    if plan.epoch.left is not None:
        state["bill_epoch"] = plan.epoch.left.isoformat()
    state |= {"start": instant_text(plan.start), "end": None if plan.end is None else instant_text(plan.end)}
    key = (plan.subscription_id, plan.item_price_id, str(plan.period))
    scope = plan.customer_id
    return Mapping(
        "account_plan", key, plan.account_plan_id, "", scope, state | {"items": list(plan.items)}, run_id=run.run_id
    )


def _cases(file: Staging, run: Run) -> Iterator[CustomerCase]:
    prefix = services(run.run_id).site.prefix
    for row in file.rows("select * from int_customers order by id"):
        yield decide_subscriptions._case(row, {}, UnderWay(()), prefix=prefix)
