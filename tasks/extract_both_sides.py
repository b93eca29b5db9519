"""What a comparison of both sides reads beyond a full sync: every bill, every invoice, every known account plan."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

from meterbridge.errors import RecordRefused
from meterbridge.ledger import bills
from meterbridge.staging.database import Staging, opened
from tasks.bill_cases import invoice_of
from tasks.engine import task
from tasks.extract_bills import _land_codes, _read, land_by_id, since
from tasks.follow_invoices import is_intact
from tasks.runs import Run
from tasks.services import Services, services
from tasks.unbilled import land_unbilled

logger = logging.getLogger(__name__)

DAY_SECONDS = 86_400


@task(name="look for known account plans")
def find_known_plans(run: Run) -> int:
    """Account plans that the ledger knows and no list showed, by id; returns how many were there after all."""
    work = services(run.run_id)
    with opened(run.path) as file:
        unseen = [
            row["id"]
            for row in file.rows(
                "select distinct account_plan_id as id from ref_account_plans "
                "where account_plan_id is not null and account_plan_id not in (select id from raw_m3ter__account_plans)"
            )
        ]
        return land_account_plans(work, file, unseen)


def land_account_plans(work: Services, file: Staging, ids: Iterable[str]) -> int:
    """Land account plans by id; returns how many are there."""
    with ThreadPoolExecutor(work.settings.deliver_threads) as pool:
        found = [plan for plan in pool.map(lambda plan_id: _account_plan(work, plan_id), ids) if plan]
    return file.land_rows("raw_m3ter__account_plans", found)


def _account_plan(work: Services, account_plan_id: str) -> Mapping[str, Any] | None:
    try:
        return work.m3ter.account_plan(account_plan_id)
    except RecordRefused as refusal:
        if refusal.status == 404:
            return None
        raise


@task(name="extract every bill")
def extract_every_bill(run: Run) -> int:
    """All bills since the first bill date, with their lines, and every earlier one that has a charge of ours."""
    work = services(run.run_id)
    first = since(work)
    with opened(run.path) as file:
        file.clear("raw_m3ter__bills", "raw_m3ter__bill_lines", "raw_m3ter__codes")
        if first is not None:
            for bill in _listed(work, first):
                _land(file, bill)
        charged = [
            row["id"]
            for row in file.rows(
                "select bill_id as id from (select bill_id from ref_charges union select bill_id from ref_settled) "
                "where bill_id not in (select id from raw_m3ter__bills) order by 1"
            )
        ]
        with work.ledger.read() as rx:
            known = bills.by_id(rx)
        with ThreadPoolExecutor(work.settings.deliver_threads) as pool:
            for bill in pool.map(lambda bill_id: _read(work, bill_id, known.get(bill_id)), charged):
                _land(file, bill)
        landed = file.count("raw_m3ter__bills")
        if landed:
            _land_codes(work, file)
    logger.info("landed", extra={"run_id": run.run_id, "resource": "bills", "count": landed})
    return landed


def _listed(work: Services, first: date) -> Iterator[Mapping[str, Any]]:
    for bill in work.m3ter.bills(bill_date_start=first, exclude_line_items=False):
        yield bill if isinstance(bill.get("lineItems"), list) else work.m3ter.bill(bill["id"])


def _land(file: Staging, bill: Mapping[str, Any]) -> None:
    file.land_rows("raw_m3ter__bills", [bill])
    file.land_rows("raw_m3ter__bill_lines", ({**line, "billId": bill["id"]} for line in bill.get("lineItems") or ()))


@task(name="extract every invoice")
def extract_every_invoice(run: Run) -> int:
    """All pending invoices, and all invoices dated since the bills' first service start."""
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_chargebee__invoices")
        start = _first_service(file)
        if start is None:
            return 0
        # A deleted invoice tells that what stood on it is gone; without it the line would be missed for no reason.
        for params in ({"status[is]": "pending"}, {"date[after]": str(start), "include_deleted": "true"}):
            pages = (page.body for page in work.chargebee.pages("invoices", params, sort_by="date"))
            file.land_pages("invoices", pages)
        file.make("bills", "stg_invoices")
        land_by_id(work, file, _doubtful(file))
        land_unbilled(work, file, _placed(work, file))
        landed = file.count("raw_chargebee__invoices")
    logger.info("landed", extra={"run_id": run.run_id, "resource": "invoices", "count": landed})
    return landed


def _doubtful(file: Staging) -> list[str]:
    """Invoices that a list shows without a line that the ledger has there: lists lag, only a read proves it."""
    seen = {row["id"]: invoice_of(row) for row in file.rows("select * from stg_invoices where status <> 'deleted'")}
    query = "select * from ref_charges where line_id <> '' and carried is null"
    held = ((row["invoice_id"], row) for row in file.rows(query))
    return sorted({name for name, row in held if name in seen and not is_intact(seen[name], [row])})


def _placed(work: Services, file: Staging) -> list[str]:
    """Subscriptions that may have unbilled charges of ours: those with some by the ledger; where we make such, all."""
    held = "select subscription_id as id from ref_charges where invoice_status = 'unbilled'"
    known = "select subscription_id from ref_account_plans where subscription_id is not null"
    query = f"{held} union {known}" if work.settings.no_pending_invoice == "unbilled" else held
    return [row["id"] for row in file.rows(f"select distinct id from ({query}) order by 1")]


def _first_service(file: Staging) -> int | None:
    """A day before the first service of any bill read (epoch seconds); None without a bill."""
    row = next(
        file.rows(
            "select epoch(min(coalesce(l.service_start, b.start_utc, b.bill_date)::timestamptz))::bigint as start "
            "from stg_bills as b left join stg_bill_lines as l on l.bill_id = b.id where b.status <> 'DELETED'"
        )
    )
    if row["start"] is None:
        known = next(file.rows("select count(*) as charges from ref_charges"))["charges"]
        return int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) if known else None
    return max(0, int(row["start"]) - DAY_SECONDS)
