"""Whose usage it is: what the input's account column names, held against m3ter and the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from meterbridge.ledger import mappings
from meterbridge.ledger.ledger import Reader
from meterbridge.rules.accounts import excluded
from tasks.services import Services

LOOKED_UP = 500
"""Up to so many accounts are looked up at m3ter one by one; beyond, the whole list is read."""

Trouble = tuple[str, str, str | None]
"""What the input says, the reason against it, and what to show."""


@dataclass(frozen=True, slots=True)
class UsageAccounts:
    """Accounts that must get no usage, and the codes of those that the input calls by another name.

    A customer's account need not have its id as code: it may have been there before us.
    """

    troubles: tuple[Trouble, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)

    def as_named(self, code: str) -> str:
        """What the input calls the account with this code."""
        return next((name for name, other in self.codes.items() if other == code), code)


@dataclass(frozen=True, slots=True)
class _Held:
    """The ledger's accounts: ids by key, the customer and whether it has child accounts by id, those with plans."""

    ids: Mapping[str, str]
    customers: Mapping[str, str]
    with_children: frozenset[str]
    with_plans: frozenset[str]

    @classmethod
    def read(cls, rx: Reader) -> _Held:
        rows = list(mappings.all(rx, "account", active_only=True))
        plans = (str(row.state.get("account_id")) for row in mappings.all(rx, "account_plan", active_only=True))
        ids = {row.key[0]: row.remote_id for row in rows}
        customers = {row.remote_id: str(row.state.get("customer_id") or row.key[0].partition("~")[0]) for row in rows}
        children = (customers[row.remote_id] for row in rows if customers[row.remote_id] != row.key[0])
        return cls(ids, customers, frozenset(ids[one] for one in children if one in ids), frozenset(plans))


def usage_accounts(work: Services, named: Sequence[str], *, customers: bool) -> UsageAccounts:
    """Judge what the input names: m3ter account codes, or ids of customers that we have mapped.

    m3ter would make a skeleton of a code that it does not know.
    """
    if not named:
        return UsageAccounts()
    with work.ledger.read() as rx:
        held = _Held.read(rx)
    if not customers:
        return UsageAccounts(tuple(_codes_troubles(work, held, named)))
    codes = _codes_of(work, [held.ids[name] for name in named if name in held.ids])
    other = {name: codes[held.ids[name]] for name in named if codes.get(held.ids.get(name, ""), name) != name}
    return UsageAccounts(tuple(_customers_troubles(work, held, codes, named)), other)


def _codes_of(work: Services, ids: Sequence[str]) -> dict[str, str]:
    """The codes of accounts as m3ter has them now, by id; those that are gone are left out."""
    found = work.m3ter.accounts(ids=ids) if len(ids) <= LOOKED_UP else work.m3ter.accounts()
    return {str(row["id"]): str(row["code"]) for row in found}


def _customers_troubles(
    work: Services, held: _Held, codes: Mapping[str, str], named: Sequence[str]
) -> Iterator[Trouble]:
    near = {name.casefold().strip(): name for name in held.ids}
    for name in named:
        twin = near.get(name.casefold().strip())
        if name in held.ids and held.ids[name] in codes:
            yield from _of_ours(work, held, name, held.ids[name])
        elif name in held.ids:
            yield name, "account_unknown", f"{name} (its account {held.ids[name]} is gone from m3ter)"
        elif twin is not None:
            yield name, "account_near", f"{name} (there is {twin})"
        else:
            yield name, "account_unknown", f"{name} (no customer that meterbridge has mapped)"


def _codes_troubles(work: Services, held: _Held, named: Sequence[str]) -> Iterator[Trouble]:
    known = {str(row["code"]): str(row["id"]) for row in work.m3ter.accounts(codes=_few(named))}
    if len(named) <= LOOKED_UP and not known.keys() >= set(named):
        known = {str(row["code"]): str(row["id"]) for row in work.m3ter.accounts()}
    near = {code.casefold().strip(): code for code in known}
    for code in named:
        twin = near.get(code.casefold().strip())
        if code in known:
            yield from _of_ours(work, held, code, known[code])
        elif twin is not None:
            yield code, "account_near", f"{code} (there is {twin})"
        else:
            yield code, "account_unknown", code


def _few(named: Sequence[str]) -> Sequence[str] | None:
    return named if len(named) <= LOOKED_UP else None


def _of_ours(work: Services, held: _Held, name: str, account_id: str) -> Iterator[Trouble]:
    """What speaks against an account that is there."""
    customer = held.customers.get(account_id, name.partition("~")[0])
    if excluded(customer, work.settings) is not None:
        yield name, "account_excluded", name
    elif account_id in held.with_children and account_id not in held.with_plans:
        yield name, "account_has_children", name
