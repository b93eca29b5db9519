"""What both vendors and the ledger say of the customers and accounts that a file of links names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.chargebee.encoding import id_filters
from meterbridge.ledger import intents, mappings
from meterbridge.ledger.ledger import Reader
from meterbridge.ledger.transaction import chunks
from meterbridge.rules.intervals import ENDED
from meterbridge.rules.links import AccountFacts, CustomerFacts, LinkFacts, LinkLine
from meterbridge.rules.records import Key
from tasks.decide_subscriptions import KINDS
from tasks.land_accounts import chargebee_mappings, mappings_of_customers
from tasks.services import Services


def link_facts(work: Services, lines: Sequence[LinkLine]) -> LinkFacts:
    """Read it in lists, fifty ids a request: a file may have thousands of lines."""
    named = sorted({line.customer_id for line in lines})
    rows = _accounts(work, lines, named)
    by_code = {str(row["code"]): account_id for account_id, row in rows.items()}
    site = work.site
    elsewhere = {account_id: other for account_id, row in rows.items() if (other := site.other(row))}
    pairs = _pairs(work, named, sorted(rows))
    with work.ledger.read() as rx:
        known = [row for some in chunks(named) for row in mappings.of_customers(rx, "account", some)]
        own = {row.key[0]: row.remote_id for row in known if row.key == (row.scope,)}
        pairs |= set(own.items())
        pairs |= {(key[0], account_id) for account_id, key in mappings.holders(rx, "account", sorted(rows)).items()}
        plans = {customer_id: plans_on(rx, customer_id, account_id) for customer_id, account_id in own.items()}
        flying = {row.scope for row in intents.open_rows(rx, KINDS) if row.state in ("sending", "unknown")}
    customers = _customers(work, named, by_code)
    accounts_of, customers_of = _indexed(pairs)
    return LinkFacts(
        customers={one: replace(customers[one], accounts=accounts_of[one]) for one in named if one in customers},
        accounts={one: _account(row, customers_of[one], elsewhere.get(one)) for one, row in rows.items()},
        by_code=by_code,
        id_codes={code for code in by_code if code in customers},
        busy={one for one in named if f"account:{one}" in flying},
        with_children={row.scope for row in known if row.key != (row.scope,)},
        plans=plans,
    )


def plans_on(rx: Reader, customer_id: str, account_id: str) -> tuple[tuple[Key, str], ...]:
    """Keys and ids of the customer's account plans on an account, by the ledger."""
    rows = mappings.by_scope(rx, "account_plan", customer_id)
    return tuple((row.key, row.remote_id) for row in rows if row.active and row.state.get("account_id") == account_id)


def _indexed(
    pairs: Iterable[tuple[str, str]],
) -> tuple[defaultdict[str, frozenset[str]], defaultdict[str, frozenset[str]]]:
    """Accounts by customer, and customers by account."""
    accounts: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    customers: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for customer, account in pairs:
        accounts[customer] |= {account}
        customers[account] |= {customer}
    return accounts, customers


def _account(row: Mapping[str, Any], customers: frozenset[str], other_site: str | None) -> AccountFacts:
    return AccountFacts(str(row["id"]), str(row["code"]), row.get("currency"), customers, other_site)


def _accounts(work: Services, lines: Sequence[LinkLine], customers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Accounts by id: those that the lines name, and those with a named customer's id as their code."""
    ids = sorted({line.account_id for line in lines if line.account_id})
    codes = sorted({line.account_code for line in lines if line.account_code} | set(customers))
    found = [*work.m3ter.accounts(ids=ids), *work.m3ter.accounts(codes=codes)]
    return {str(row["id"]): row for row in found}


def _pairs(work: Services, customers: Sequence[str], account_ids: Sequence[str]) -> set[tuple[str, str]]:
    """(customer, account) as m3ter's mappings of either have them."""
    of_accounts = chargebee_mappings(work, work.m3ter.external_mappings(m3ter_ids=account_ids))
    found = [*of_accounts, *mappings_of_customers(work, customers)]
    return {
        (one.external_id, one.m3ter_id)
        for one in found
        if one.m3ter_entity == "Account" and one.external_table == "Customer"
    }


def _customers(work: Services, named: Sequence[str], codes: Iterable[str]) -> dict[str, CustomerFacts]:
    """Customers by id: those named, with the currencies of what lives, and those whose id is an account's code."""
    found: dict[str, CustomerFacts] = {}
    for some in id_filters("id", sorted({*named, *codes})):
        for entry in work.chargebee.rows("customers", {**some, "include_deleted": "true"}, sort_by="created_at"):
            row = entry["customer"]
            found[row["id"]] = CustomerFacts(row["id"], bool(row.get("deleted")))
    currencies: dict[str, set[str]] = defaultdict(set)
    for some in id_filters("customer_id", named):
        for entry in work.chargebee.rows("subscriptions", some, sort_by="created_at"):
            row = entry["subscription"]
            if row.get("status") not in ENDED and row.get("currency_code"):
                currencies[row["customer_id"]].add(row["currency_code"])
    return {name: replace(one, currencies=frozenset(currencies[name])) for name, one in found.items()}
