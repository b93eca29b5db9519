"""Chargebee's customers, subscriptions and events, and m3ter's catalog, into ``raw_*``. Nothing is interpreted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from connectors.chargebee.encoding import IDS_PER_LIST, id_filters, not_before
from connectors.transport import path
from meterbridge.errors import SetupError
from meterbridge.ledger import intents, quarantine
from meterbridge.staging.database import Staging, opened
from tasks.engine import task
from tasks.extract_whole import whole
from tasks.runs import Run
from tasks.services import Services, services

logger = logging.getLogger(__name__)


@task(name="extract customers")
def extract_customers(run: Run) -> int:
    """Customers changed since the window began; in a full read all of them, because old rows may lack updated_at."""
    if run.request.ids:
        return 0
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_chargebee__customers")
        landed = file.land_pages("customers", _changed(work, run, "customers"))
    logger.info("landed", extra={"run_id": run.run_id, "resource": "customers", "count": landed})
    return landed


@task(name="extract subscriptions")
def extract_subscriptions(run: Run) -> int:
    """Subscriptions changed since the window began, deleted ones too, and those that a quarantine waits for."""
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_chargebee__subscriptions")
        if run.request.ids:
            landed = _land_named(work, file, run.request.ids)
        else:
            landed = file.land_pages("subscriptions", _changed(work, run, "subscriptions"))
            if not run.full:
                subscriptions, customers = _set_aside(work)
                landed += land_subscriptions(work, file, subscriptions, origin="retry")
                landed += land_subscriptions(work, file, customers, origin="retry", by="customer_id")
    logger.info("landed", extra={"run_id": run.run_id, "resource": "subscriptions", "count": landed})
    return landed


@task(name="extract m3ter plans")
def extract_plans(run: Run) -> int:
    """m3ter's plans and their templates, which hold currency and product."""
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_m3ter__plans", "raw_m3ter__plan_templates")
        with ThreadPoolExecutor(1) as pool:
            plans = pool.submit(lambda: list(work.m3ter.plans()))
            file.land_rows("raw_m3ter__plan_templates", work.m3ter.plan_templates())
            return file.land_rows("raw_m3ter__plans", plans.result())


@task(name="extract invoice owners")
def extract_owners(run: Run) -> int:
    """Customers whom staged customers name as invoice owner and that neither this run nor the ledger has."""
    work = services(run.run_id)
    with opened(run.path) as file:
        missing = [
            row["id"]
            for row in file.rows(
                "select distinct invoice_owner_id as id from stg_customers where invoice_owner_id is not null "
                "and invoice_owner_id not in (select id from stg_customers) "
                "and invoice_owner_id not in (select customer_id from ref_accounts) order by 1"
            )
        ]
        for some in id_filters("id", missing):
            params = {**some, "include_deleted": "true"}
            pages = (page.body for page in work.chargebee.pages("customers", params, sort_by="created_at"))
            file.land_pages("customers", pages, origin="owner")
        return file.make("subscriptions", "stg_customers") if missing else 0


@task(name="find what m3ter has already")
def find_existing(run: Run) -> int:
    """Accounts, account plans and mappings in m3ter of customers that the ledger does not know.

    With many unknown customers (a first run, a lost ledger) whole lists are cheaper
    than look-ups; whole lists also show codes that are equal only after case folding.
    """
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_m3ter__accounts", "raw_m3ter__account_plans", "raw_m3ter__external_mappings")
        unknown = [
            row["id"]
            for row in file.rows(
                "select distinct s.customer_id as id from stg_subscriptions as s "
                "join stg_subscription_items as i on i.subscription_id = s.id "
                "join ref_catalog_plans as p on p.item_price = i.item_price_id "
                "where s.customer_id is not null "
                "and s.customer_id not in (select customer_id from ref_accounts) order by 1"
            )
        ]
        if run.full or len(unknown) > IDS_PER_LIST * 4:
            return _land_all_existing(work, file)
        return _land_existing(work, file, unknown)


def _land_all_existing(work: Services, file: Staging) -> int:
    found = file.land_rows("raw_m3ter__accounts", work.m3ter.accounts())
    file.land_rows(
        "raw_m3ter__external_mappings", (m.model_dump(by_alias=True) for m in work.m3ter.external_mappings())
    )
    plans = list(
        file.rows(
            "select distinct p.id from raw_m3ter__plans as p join ref_catalog_plans as c on c.plan = p.code order by 1"
        )
    )
    for plan in plans:
        params = [("plan", plan["id"]), ("includeall", "true")]
        for page in work.m3ter.list("/accountplans", params):
            file.land_rows("raw_m3ter__account_plans", page)
    return found


def _land_existing(work: Services, file: Staging, codes: list[str]) -> int:
    found = file.land_rows("raw_m3ter__accounts", work.m3ter.accounts(codes=codes)) if codes else 0
    if work.settings.on_product_overlap == "child_account":
        for row in list(file.rows("select id from raw_m3ter__accounts order by 1")):
            for page in work.m3ter.list(path("accounts", row["id"], "children"), page_size=200):
                file.land_rows("raw_m3ter__accounts", page)
    for row in list(file.rows("select distinct id from raw_m3ter__accounts order by 1")):
        plans = list(work.m3ter.account_plans(row["id"]))
        file.land_rows("raw_m3ter__account_plans", plans)
        owned = [("Account", row["id"]), *(("AccountPlan", plan["id"]) for plan in plans)]
        for entity, m3ter_id in owned:
            mappings = work.m3ter.mappings_of(entity, m3ter_id)
            ours = (m.model_dump(by_alias=True) for m in mappings if m.external_system == "Chargebee")
            file.land_rows("raw_m3ter__external_mappings", ours)
    for code in codes:
        for mapping in work.m3ter.mappings_for("Chargebee", "Customer", code):
            file.land_rows("raw_m3ter__external_mappings", [mapping.model_dump(by_alias=True)])
    return found


def _changed(work: Services, run: Run, resource: str) -> Iterator[bytes]:
    if run.window.since is None:
        yield from whole(work, resource)
        return
    params = {"include_deleted": "true", "updated_at[after]": not_before(run.window.since)}
    for page in work.chargebee.pages(resource, params, sort_by="updated_at"):
        yield page.body


def _set_aside(work: Services) -> tuple[set[str], set[str]]:
    """Subscriptions, and customers, with a record in quarantine."""
    subscriptions: set[str] = set()
    customers: set[str] = set()
    with work.ledger.read() as rx:
        for row in quarantine.to_decide(rx):
            if row.kind == "account_plan":
                subscriptions.add(row.key[0])
            elif row.kind in ("account", "external_mapping"):
                written = intents.by_key(rx, row.kind, row.key)
                customers |= {written.scope.partition(":")[2]} if written else {row.key[0]} - {"Account", "AccountPlan"}
    return subscriptions, customers


def land_subscriptions(work: Services, file: Staging, ids: Iterable[str], *, origin: str, by: str = "id") -> int:
    """Land subscriptions by id, or by ``customer_id``, deleted ones too; returns how many list entries came."""
    wanted = sorted(set(ids))
    landed = 0
    for some in id_filters(by, wanted):
        params = {**some, "include_deleted": "true"}
        pages = (page.body for page in work.chargebee.pages("subscriptions", params, sort_by="created_at"))
        landed += file.land_pages("subscriptions", pages, origin=origin)
    return landed


def _land_named(work: Services, file: Staging, ids: tuple[str, ...]) -> int:
    """Subscriptions named by their own id or by their customer's."""
    landed = 0
    for named in ids:
        found = land_subscriptions(work, file, [named], origin="named")
        found += land_subscriptions(work, file, [named], origin="named", by="customer_id")
        if not found:
            message = f"no subscription or customer {named!r} at Chargebee"
            raise SetupError("MB-USAGE-ERROR", message, remedy="Check the id: it is Chargebee's, with its case.")
        landed += found
    return landed
