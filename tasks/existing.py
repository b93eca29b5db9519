"""Accounts, account plans and mappings that are in m3ter already, of customers that the ledger does not know."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.chargebee.encoding import IDS_PER_LIST
from connectors.transport import path
from meterbridge.ledger import quarantine
from meterbridge.ledger.account_digests import AccountDigest
from meterbridge.rules.keys import coded, key_text
from meterbridge.staging.database import Staging, opened
from tasks.engine import task
from tasks.land_accounts import land_accounts, land_belongings, land_found, mappings_of_customers
from tasks.runs import Run
from tasks.services import Services, services
from tasks.similar import TWIN, find_similar

MANY_CUSTOMERS = IDS_PER_LIST * 4
"""More unknown customers than this are looked for in whole lists."""

IN_SCOPE = (
    "select s.customer_id from stg_subscriptions as s join stg_subscription_items as i on i.subscription_id = s.id "
    "join ref_catalog_plans as p on p.item_price = i.item_price_id where s.customer_id is not null"
)
UNKNOWN = (
    f"select distinct id from (select id from stg_customers where $all and not deleted union all {IN_SCOPE} union all "
    "select invoice_owner_id from stg_customers where invoice_owner_id <> id) as asked(id) "
    "where id not in (select customer_id from ref_accounts) order by 1"
)
"""Customers who may get an account: they have a mapped subscription, others' invoices go to them, or all do."""


@task(name="find what m3ter has already")
def find_existing(run: Run) -> int:
    """Accounts, account plans and mappings in m3ter of customers that the ledger does not know.

    With many unknown customers (a first run, a lost ledger) whole lists are cheaper
    than look-ups; whole lists also show codes that are equal only after case folding.
    """
    work = services(run.run_id)
    with opened(run.path) as file:
        file.clear("raw_m3ter__accounts", "raw_m3ter__account_plans", "raw_m3ter__external_mappings")
        file.clear("ref_account_digests", "ref_customer_digests", "ref_taken_accounts", "ref_other_sites")
        unknown = [row["id"] for row in file.rows(UNKNOWN, {"all": work.settings.all_customers})]
        if run.full or len(unknown) > MANY_CUSTOMERS:
            find_similar(run, file, unknown, every=_land_all(work, file))
        elif unknown:
            _land_some(work, file, unknown, told=set() if run.request.by_name else _set_aside_as_twins(work))
            find_similar(run, file, unknown)
        return file.count("raw_m3ter__accounts")


def _land_all(work: Services, file: Staging) -> list[AccountDigest]:
    seen = land_accounts(work, file, work.m3ter.accounts())
    land_found(work, file, work.m3ter.external_mappings())
    plans = list(
        file.rows(
            "select distinct p.id from raw_m3ter__plans as p join ref_catalog_plans as c on c.plan = p.code order by 1"
        )
    )
    for plan in plans:
        params = [("plan", plan["id"]), ("includeall", "true")]
        for page in work.m3ter.list("/accountplans", params):
            file.land_rows("raw_m3ter__account_plans", page)
    return seen


def _land_some(work: Services, file: Staging, customers: Sequence[str], *, told: set[str]) -> None:
    """Accounts with the customers' ids as codes and accounts mapped to them, with their plans and mappings.

    For those that were ``told`` to have a twin no mapping is looked for by their id, but by their twins'.
    """
    codes = dict.fromkeys([*customers, *(coded(work.site.prefix, one) for one in customers)])
    land_accounts(work, file, work.m3ter.accounts(codes=list(codes)))
    linked = _linked(file, customers)
    mapped = mappings_of_customers(work, [one for one in customers if one not in told])
    file.land_rows("raw_m3ter__external_mappings", (one.model_dump(by_alias=True) for one in mapped))
    linked += [one.m3ter_id for one in mapped]
    there = {row["id"] for row in file.rows("select id from raw_m3ter__accounts")}
    absent = sorted({one for one in linked if one not in there})
    if absent:
        land_accounts(work, file, work.m3ter.accounts(ids=absent))
    if work.settings.on_product_overlap == "child_account":
        for row in list(file.rows("select id from raw_m3ter__accounts order by 1")):
            for page in work.m3ter.list(path("accounts", row["id"], "children"), page_size=200):
                land_accounts(work, file, page)
    land_belongings(
        work, file, [row["id"] for row in file.rows("select distinct id from raw_m3ter__accounts order by 1")]
    )


def _linked(file: Staging, customers: Sequence[str]) -> list[str]:
    """Accounts that the ledger has mapped to these customers before a sync adopted them."""
    keys = {key_text(("Account", customer)) for customer in customers}
    rows = file.rows(
        "select key, points_at from ref_external_mappings where entity = 'Account' and points_at is not null"
    )
    return [row["points_at"] for row in rows if row["key"] in keys]


def _set_aside_as_twins(work: Services) -> set[str]:
    """Customers of whom an earlier run has said so: it looked for mappings by their ids and found none."""
    with work.ledger.read() as rx:
        return {row.key[0] for row in quarantine.list(rx, "open") if row.code == TWIN}
