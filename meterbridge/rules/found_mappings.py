"""m3ter's mappings of what the ledger holds, under the natural keys that it knows them by. Pure.

A ledger that was lost or is older does not know which of its mappings stand. Each follows from a thing that it
holds: an account, an account plan, or a charge with the invoice line and the marks of what lowered it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from meterbridge.rules.charge_mappings import Names, line_names
from meterbridge.rules.keys import external_id
from meterbridge.rules.plan_intents import account_mapping_key, plan_mapping_key
from meterbridge.rules.records import Key


@dataclass(frozen=True, slots=True)
class Found:
    """A mapping to Chargebee as m3ter holds it."""

    id: str
    entity: str
    m3ter_id: str
    table: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Booked:
    """A charge that the ledger holds: its portion, its invoice line (empty for none), and its lowerings' marks."""

    bill_id: str
    subscription_id: str
    line_id: str
    marks: tuple[str, ...] = ()


def of_accounts(
    found: Iterable[Found], accounts: Mapping[Key, str], plans: Mapping[Key, str]
) -> Iterator[tuple[Key, Found]]:
    """Mappings of the accounts and account plans whose ids are given by key; of twins the first."""
    there = _by_sides(found)
    for key, remote_id in accounts.items():
        if one := there.get(("Account", remote_id, "Customer", key[0])):
            yield account_mapping_key(key), one
    for key, remote_id in plans.items():
        if one := there.get(("AccountPlan", remote_id, "Subscription", external_id(key[0], key[1]))):
            yield plan_mapping_key(key), one


def of_bills(
    found: Iterable[Found], charges: Iterable[Booked], names: Names, lines: Mapping[str, str]
) -> Iterator[tuple[Key, Found]]:
    """Mappings of bills that the ledger has charges of, of those bills' lines, and the marks of what was lowered.

    Args:
        lines: The bill of each bill line, for mappings that point at no line of ours any more.
    """
    bills: set[str] = set()
    marks: set[tuple[str, str]] = set()
    owner: dict[str, Booked] = {}
    for charge in charges:
        bills.add(charge.bill_id)
        marks |= {(charge.bill_id, mark) for mark in charge.marks}
        if charge.line_id:
            owner[charge.line_id] = charge
    found = list(found)
    claims = {
        one.id: (owner[one.external_id].bill_id, one.m3ter_id, owner[one.external_id].subscription_id)
        for one in found
        if (one.entity, one.table) == (names.line, names.invoice_line) and one.external_id in owner
    }
    named = line_names(claims.values())
    taken: set[Key] = set()
    for one in found:
        key: Key | None = None
        if (one.entity, one.table) == (names.line, names.invoice_line):
            bill_id = lines.get(one.m3ter_id)
            if one.id in claims:
                key = ("BillLine", *named[claims[one.id]])
            elif bill_id in bills:
                key = ("BillLine", str(bill_id), one.m3ter_id)
        elif (one.entity, one.table) == (names.bill, names.invoice) and one.m3ter_id in bills:
            key = ("Bill", one.m3ter_id, one.external_id)
        elif (one.entity, one.table) == (names.bill, names.invoice_line) and (one.m3ter_id, one.external_id) in marks:
            key = ("Netted", one.m3ter_id, one.external_id)
        if key is not None and key not in taken:
            taken.add(key)
            yield key, one


def made_of(found: Iterable[Found], names: Names) -> dict[str, list[str]]:
    """The bill lines that m3ter maps to each invoice line: what a charge was made of, whatever its bill has now."""
    ids: dict[str, list[str]] = defaultdict(list)
    for one in found:
        if (one.entity, one.table) == (names.line, names.invoice_line):
            ids[one.external_id].append(one.m3ter_id)
    return ids


def _by_sides(found: Iterable[Found]) -> dict[tuple[str, str, str, str], Found]:
    there: dict[tuple[str, str, str, str], Found] = {}
    for one in found:
        there.setdefault((one.entity, one.m3ter_id, one.table, one.external_id), one)
    return there
