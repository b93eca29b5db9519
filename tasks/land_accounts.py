"""m3ter's accounts, what hangs on them, and hashes of what they look like, into the run's staging file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from connectors.m3ter.models import ExternalMapping
from meterbridge.ledger.account_digests import AccountDigest
from meterbridge.rules.similar import digest, is_skeleton
from meterbridge.rules.sites import TABLES
from meterbridge.staging.database import Staging
from tasks.services import Services

FEW = 20
"""Up to so many customers are looked up one by one without further ado."""

PAGE = 200
"""Rows on a page of m3ter's mappings."""


def digest_of(account: Mapping[str, Any]) -> AccountDigest:
    """What the account looks like; a skeleton that usage made looks like nobody."""
    if is_skeleton(str(account.get("code")), account.get("name")):
        return AccountDigest(account["id"], None, None)
    return AccountDigest(account["id"], digest(account.get("emailAddress")), digest(account.get("name")))


def land_accounts(work: Services, file: Staging, accounts: Iterable[Mapping[str, Any]]) -> list[AccountDigest]:
    """Land accounts and hashes of e-mail and name; the e-mail itself has no column.

    Those of another site's customers land apart: for all that follows they are not there, but their codes are taken.
    """
    seen: list[AccountDigest] = []
    elsewhere: list[dict[str, Any]] = []
    site = work.site

    def noted() -> Iterator[Mapping[str, Any]]:
        for account in accounts:
            seen.append(digest_of(account))
            other = site.other(account)
            if other is None:
                yield {**account, "own": site.own_code(account)}
            else:
                elsewhere.append({"account_id": account["id"], "code": account["code"], "site": other})

    file.land_rows("raw_m3ter__accounts", noted())
    file.land_rows("ref_other_sites", elsewhere)
    file.land_rows("ref_account_digests", ({"id": one.id, "email": one.email, "name": one.name} for one in seen))
    return seen


def chargebee_mappings(work: Services, found: Iterable[ExternalMapping]) -> Iterator[ExternalMapping]:
    """Those of Chargebee's records, under the ids that Chargebee has them under."""
    site = work.site
    for one in found:
        if one.external_system != "Chargebee":
            continue
        own = site.taken(one.external_id) if one.external_table in TABLES else one.external_id
        if own is not None:
            yield one.model_copy(update={"external_id": own})
        elif one.m3ter_entity != "Account":  # an account plan is found on its account, whose site is known
            yield one


def land_found(work: Services, file: Staging, found: Iterable[ExternalMapping]) -> None:
    """Land what of these mappings is Chargebee's."""
    ours = chargebee_mappings(work, found)
    file.land_rows("raw_m3ter__external_mappings", (one.model_dump(by_alias=True) for one in ours))


def mappings_of_customers(work: Services, customers: Sequence[str]) -> list[ExternalMapping]:
    """The accounts that m3ter has mapped to these customers, in about as few requests as can be.

    m3ter looks one customer up at a time. Of many the whole list is read first, and given up when it turns out to be
    longer than half as many pages: it holds the mappings of account plans, bills and lines as well.
    """
    if len(customers) > FEW:
        most = len(customers) // 2 * PAGE
        every = list(islice(work.m3ter.external_mappings(), most))
        if len(every) < most:
            wanted = set(customers)
            ours = (
                one
                for one in chargebee_mappings(work, every)
                if (one.m3ter_entity, one.external_table) == ("Account", "Customer")
            )
            return [one for one in ours if one.external_id in wanted]
    asked = (work.site.given(customer) for customer in customers)
    found = [one for name in asked for one in work.m3ter.mappings_for("Chargebee", "Customer", name)]
    return [one for one in chargebee_mappings(work, found) if one.m3ter_entity == "Account"]


def land_mappings(work: Services, file: Staging, account_ids: Sequence[str]) -> None:
    """Chargebee's mappings of these accounts, many accounts a request."""
    land_found(work, file, work.m3ter.external_mappings(m3ter_ids=account_ids))


def land_belongings(work: Services, file: Staging, account_ids: Iterable[str]) -> None:
    """The accounts' plans, and all Chargebee mappings of the accounts and their plans."""
    for account_id in account_ids:
        plans = list(work.m3ter.account_plans(account_id))
        file.land_rows("raw_m3ter__account_plans", plans)
        owned = [("Account", account_id), *(("AccountPlan", plan["id"]) for plan in plans)]
        for entity, m3ter_id in owned:
            land_found(work, file, work.m3ter.mappings_of(entity, m3ter_id))
