"""Chargebee's customers, subscriptions and events, and m3ter's catalog, into ``raw_*``. Nothing is interpreted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from connectors.chargebee.encoding import id_filters, not_before
from meterbridge.errors import SetupError
from meterbridge.ledger import intents, mappings, quarantine
from meterbridge.staging.database import Staging, opened
from tasks.engine import task
from tasks.extract_whole import whole
from tasks.runs import Run
from tasks.services import Services, services
from tasks.similar import TWIN

logger = logging.getLogger(__name__)

SEEN_CUSTOMERS = (
    "select entry.customer.id as id from raw_chargebee__customers union "
    "select entry.customer.id from raw_chargebee__subscriptions"
)


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
                _land_unseen(work, file, customers)
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


def _changed(work: Services, run: Run, resource: str) -> Iterator[bytes]:
    if run.window.since is None:
        yield from whole(work, resource)
        return
    params = {"include_deleted": "true", "updated_at[after]": not_before(run.window.since)}
    for page in work.chargebee.pages(resource, params, sort_by="updated_at"):
        yield page.body


def _land_unseen(work: Services, file: Staging, customers: set[str]) -> None:
    """Customers set aside who have no subscription that would bring them along."""
    seen = {row["id"] for row in file.rows(SEEN_CUSTOMERS)}
    for some in id_filters("id", sorted(customers - seen)):
        pages = work.chargebee.pages("customers", {**some, "include_deleted": "true"}, sort_by="created_at")
        file.land_pages("customers", (page.body for page in pages), origin="retry")


def _set_aside(work: Services) -> tuple[set[str], set[str]]:
    """Subscriptions, and customers, with a record in quarantine."""
    subscriptions: set[str] = set()
    customers: set[str] = set()
    with work.ledger.read() as rx:
        unlinked = [row for row in quarantine.list(rx, "dismissed") if row.code == TWIN]
        made = mappings.remote_ids(rx, [(row.kind, row.key) for row in unlinked])
        customers |= {row.key[0] for row in unlinked if (row.kind, row.key) not in made}
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
            raise SetupError("MB-COMMAND", message, remedy="Check the id: it is Chargebee's, with its case.")
        landed += found
    return landed
