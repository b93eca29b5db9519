"""Customers without an account beside accounts without a customer: what fits, why, and how well; writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meterbridge.errors import SetupError
from meterbridge.ledger import mappings
from meterbridge.rules.accounts import excluded
from meterbridge.rules.similar import is_skeleton
from meterbridge.rules.suggest import Offered, Pair, Seeker, suggestions
from tasks.services import Services

WAYS = ("code", "email", "name")


@dataclass(frozen=True, slots=True)
class Suggested:
    """The pairs to write, and how many customers without an account fit for certain, perhaps, or not at all."""

    pairs: tuple[Pair, ...]
    customers: int
    accounts: int
    certain: int
    doubtful: int
    without: int


def suggest(work: Services, by: str | None) -> Suggested:
    """Read every customer, account and mapping once, and hold those that are free against each other.

    Args:
        by: ``code``, ``email``, ``name``, or a field of the customer that holds the account's code or id.

    Raises:
        SetupError: MB-COMMAND, no customer has such a field.
    """
    by = by.casefold() if by and by.casefold() in WAYS else by
    taken = _taken(work)
    offered = [one for one in _offered(work) if one.id not in taken[1]]
    everybody = list(_seekers(work, by))
    seekers = [one for one in everybody if one.id not in taken[0] and excluded(one.id, work.settings) is None]
    if by not in (None, *WAYS) and seekers and not any(one.field for one in seekers):
        message = f"no customer without an account has a custom field or metadata key {by!r}"
        raise SetupError("MB-COMMAND", message, remedy="Name it as Chargebee's API does, such as cf_account_code.")
    pairs = suggestions(seekers, offered, by, {one.id for one in everybody})
    fitting = {pair.customer.id for pair in pairs}
    certain = sum(pair.certain for pair in pairs)
    codes = {one.code for one in offered}
    adopted = 0 if by == "code" else sum(one.id in codes for one in seekers)
    customers, accounts = len(seekers) - adopted, len(offered) - adopted
    return Suggested(
        tuple(pairs), customers, accounts, certain, len(fitting) - certain, max(0, customers - len(fitting))
    )


def rows(pairs: Sequence[Pair], by: str | None) -> Iterator[dict[str, object]]:
    """Lines of the file, the best first."""
    for pair in pairs:
        evidence = [f"field {by}" if one == "field" else f"same {one}" for one in pair.evidence]
        yield {
            "link": "yes" if pair.certain else "",
            "score": pair.score,
            "evidence": "; ".join([*evidence, *(["another currency"] if pair.other_currency else [])]),
            "customer_id": pair.customer.id,
            "customer_name": pair.customer.name,
            "customer_email": pair.customer.email,
            "account_id": pair.account.id,
            "account_code": pair.account.code,
            "account_name": pair.account.name,
            "account_email": pair.account.email,
            "accounts_alike": pair.rivals[0],
            "customers_alike": pair.rivals[1],
        }


def _taken(work: Services) -> tuple[set[str], set[str]]:
    """Customers and accounts that are linked, by m3ter's mappings or by the ledger."""
    customers: set[str] = set()
    accounts: set[str] = set()
    site = work.site
    for mapping in work.m3ter.external_mappings():
        if mapping.m3ter_entity == "Account" and mapping.external_table == "Customer":
            accounts.add(mapping.m3ter_id)
            if (own := site.taken(mapping.external_id)) is not None:
                customers.add(own)
    with work.ledger.read() as rx:
        for row in mappings.all(rx, "account", active_only=True):
            customers.add(row.key[0])
            accounts.add(row.remote_id)
    return customers, accounts


def _offered(work: Services) -> Iterator[Offered]:
    site = work.site
    for row in work.m3ter.accounts():
        if not is_skeleton(str(row["code"]), row.get("name")) and site.other(row) is None:
            name, email = str(row.get("name") or ""), str(row.get("emailAddress") or "")
            yield Offered(row["id"], row["code"], name, email, row.get("currency"), row.get("parentAccountId"))


def _seekers(work: Services, by: str | None) -> Iterator[Seeker]:
    for entry in work.chargebee.rows("customers", {}, sort_by="created_at", limit=100):
        row = entry["customer"]
        if not row.get("deleted"):
            person = " ".join(str(row[name]) for name in ("first_name", "last_name") if row.get(name))
            name = str(row.get("company") or "").strip() or person.strip()
            field = "" if by in (None, *WAYS) else _field(row, str(by))
            yield Seeker(row["id"], name, str(row.get("email") or ""), field, row.get("preferred_currency_code"))


def _field(row: Mapping[str, Any], name: str) -> str:
    """What a custom field says, or a key of the metadata, or one inside it (``crm.account``); empty for nothing."""
    found: Any = row.get(name)
    if found is None:
        found = row.get("meta_data")
        if isinstance(found, str):
            found = _parsed(found)
        for key in name.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
    return str(found).strip() if isinstance(found, str | int) and not isinstance(found, bool) else ""


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
