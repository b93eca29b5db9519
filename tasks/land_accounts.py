"""m3ter's accounts, what hangs on them, and hashes of what they look like, into the run's staging file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from connectors.m3ter.models import ExternalMapping
from meterbridge.ledger.account_digests import AccountDigest
from meterbridge.rules.similar import digest, is_skeleton
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


def land_accounts(file: Staging, accounts: Iterable[Mapping[str, Any]]) -> list[AccountDigest]:
    """Land accounts and hashes of e-mail and name; the e-mail itself has no column."""
    seen: list[AccountDigest] = []

    def noted() -> Iterator[Mapping[str, Any]]:
        for account in accounts:
            seen.append(digest_of(account))
            yield account

    file.land_rows("raw_m3ter__accounts", noted())
    file.land_rows("ref_account_digests", ({"id": one.id, "email": one.email, "name": one.name} for one in seen))
    return seen


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
            ours = (one for one in every if (one.m3ter_entity, one.external_table) == ("Account", "Customer"))
            return [one for one in ours if one.external_id in wanted]
    found = [one for customer in customers for one in work.m3ter.mappings_for("Chargebee", "Customer", customer)]
    return [one for one in found if one.m3ter_entity == "Account"]


def land_mappings(work: Services, file: Staging, account_ids: Sequence[str]) -> None:
    """Chargebee's mappings of these accounts, many accounts a request."""
    found = work.m3ter.external_mappings(m3ter_ids=account_ids)
    file.land_rows("raw_m3ter__external_mappings", (one.model_dump(by_alias=True) for one in found))


def land_belongings(work: Services, file: Staging, account_ids: Iterable[str]) -> None:
    """The accounts' plans, and all Chargebee mappings of the accounts and their plans."""
    for account_id in account_ids:
        plans = list(work.m3ter.account_plans(account_id))
        file.land_rows("raw_m3ter__account_plans", plans)
        owned = [("Account", account_id), *(("AccountPlan", plan["id"]) for plan in plans)]
        for entity, m3ter_id in owned:
            mappings = work.m3ter.mappings_of(entity, m3ter_id)
            ours = (m.model_dump(by_alias=True) for m in mappings if m.external_system == "Chargebee")
            file.land_rows("raw_m3ter__external_mappings", ours)
