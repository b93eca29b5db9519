"""Lines of a person who links customers to accounts: which contradict what stands, and the writes of the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from meterbridge.rules.plan_intents import account_mapping_key, mapping_decision, plan_mapping_key
from meterbridge.rules.records import Intent, Key, Ref


@dataclass(frozen=True, slots=True)
class LinkLine:
    """A line of the file; ``number`` counts from 1, the header included. One of id and code is enough."""

    number: int
    customer_id: str
    account_id: str
    account_code: str


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """An account as m3ter has it; ``customers`` are those that it is mapped to, there or in the ledger.

    ``other_site`` is the Chargebee site that it is another one's by; None where it is ours or does not say.
    """

    id: str
    code: str
    currency: str | None
    customers: frozenset[str] = frozenset()
    other_site: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerFacts:
    """A customer as Chargebee has it; ``accounts`` are those mapped to it, ``currencies`` those of what lives."""

    id: str
    deleted: bool
    accounts: frozenset[str] = frozenset()
    currencies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What both vendors and the ledger say of the customers and accounts that a file names.

    ``by_code`` holds every account that a line names or whose code is a customer's id; ``id_codes`` are codes of
    accounts that are ids of customers; ``busy`` customers have a write under way, those ``with_children`` have accounts
    of ours below theirs; ``plans`` are the account plans (key, id) that stand for a customer on its account.
    """

    customers: Mapping[str, CustomerFacts]
    accounts: Mapping[str, AccountFacts]
    by_code: Mapping[str, str]
    id_codes: Collection[str] = ()
    busy: Collection[str] = ()
    with_children: Collection[str] = ()
    plans: Mapping[str, tuple[tuple[Key, str], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """A line with its account, and why it is refused; ``standing`` is True where it is already as the line wants."""

    line: LinkLine
    account: AccountFacts | None
    refusal: str = ""
    standing: bool = False


def judge(lines: Iterable[LinkLine], facts: LinkFacts, *, remove: bool = False) -> list[Judged]:
    """Judge each line; equal lines count once."""
    unique: dict[tuple[str, str], LinkLine] = {}
    for line in lines:
        account_id = line.account_id or facts.by_code.get(line.account_code, line.account_code)
        unique.setdefault((line.customer_id, account_id), line)
    rivals = _rivals(unique)
    return [
        _judged(line, facts.accounts.get(account_id), facts, rivals.get((customer_id, account_id), ""), remove=remove)
        for (customer_id, account_id), line in unique.items()
    ]


def _rivals(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Why a pair cannot stand beside the others of the file."""
    accounts: dict[str, list[str]] = defaultdict(list)
    customers: dict[str, list[str]] = defaultdict(list)
    listed = list(pairs)
    for customer_id, account_id in listed:
        accounts[customer_id].append(account_id)
        customers[account_id].append(customer_id)
    found = {}
    for customer_id, account_id in listed:
        if len(accounts[customer_id]) > 1:
            found[customer_id, account_id] = f"the file links customer {customer_id} to several accounts"
        elif len(customers[account_id]) > 1:
            found[customer_id, account_id] = f"the file links account {account_id} to several customers"
    return found


def _judged(line: LinkLine, account: AccountFacts | None, facts: LinkFacts, rival: str, *, remove: bool) -> Judged:
    customer = facts.customers.get(line.customer_id)
    if account is None:
        named = line.account_id or line.account_code
        return Judged(line, None, f"m3ter has no account {named!r}")
    if line.account_code and line.account_code != account.code:
        return Judged(line, account, f"account {account.id} has the code {account.code!r}, not {line.account_code!r}")
    if customer is None:
        return Judged(line, account, f"Chargebee has no customer {line.customer_id!r}")
    if rival:
        return Judged(line, account, rival)
    if customer.id in facts.busy:
        return Judged(line, account, f"a write for customer {customer.id} is under way; run again when it is done")
    linked = account.id in customer.accounts
    others = sorted(customer.accounts - {account.id})
    if remove:
        if not linked and others:
            return Judged(line, account, f"customer {customer.id} is linked to account {', '.join(others)}")
        if customer.id in facts.with_children:
            return Judged(line, account, f"customer {customer.id} has accounts of ours below this one")
        return Judged(line, account, standing=not linked)
    if linked and not others and account.customers <= {customer.id}:
        return Judged(line, account, standing=True)
    return Judged(line, account, _contradiction(customer, account, others, facts))


def _contradiction(customer: CustomerFacts, account: AccountFacts, others: list[str], facts: LinkFacts) -> str:
    """What speaks against a new link; empty where nothing does."""
    strangers = sorted(account.customers - {customer.id})
    namesake = facts.by_code.get(customer.id, account.id)
    if customer.deleted:
        return f"customer {customer.id} is deleted"
    if others:
        return f"customer {customer.id} is linked to account {', '.join(others)} already"
    if account.other_site:
        return f"account {account.id} is a customer's of the Chargebee site {account.other_site}"
    if strangers:
        return f"account {account.id} is linked to customer {', '.join(strangers)} already"
    if namesake != account.id:
        return f"account {namesake} has the id of customer {customer.id} as its code: rename or delete one of the two"
    if account.code in facts.id_codes and account.code != customer.id:
        return f"account {account.id} has the id of another customer as its code, {account.code!r}"
    if account.currency is not None and customer.currencies and account.currency not in customer.currencies:
        theirs = ", ".join(sorted(customer.currencies))
        return f"account {account.id} is in {account.currency}, customer {customer.id} pays in {theirs}"
    return ""


def link_intents(judged: Iterable[Judged], facts: LinkFacts, *, remove: bool) -> Iterator[Intent]:
    """The mappings that what was not refused asks for, or whose end it does."""
    for one in judged:
        if one.refusal or one.standing or one.account is None:
            continue
        customer_id = one.line.customer_id
        if not remove:
            yield _mapping(account_mapping_key((customer_id,)), one.account.id, customer_id)
            continue
        plans = facts.plans.get(customer_id, ())
        mapped = [(plan_mapping_key(key), plan_id) for key, plan_id in plans]
        for key, m3ter_id in [*mapped, (account_mapping_key((customer_id,)), one.account.id)]:
            taken_off = _mapping(key, m3ter_id, customer_id)
            yield replace(taken_off, action="delete", reason=f"a person took {key[0]} off {key[1]}")


def _mapping(key: Key, m3ter_id: str, customer_id: str) -> Intent:
    made = mapping_decision(
        key,
        m3ter_id,
        scope=f"account:{customer_id}",
        known=frozenset(),
        found=False,
        pending=frozenset(),
        of=Ref("account", (customer_id,)),
    )
    assert isinstance(made, Intent)
    reason = f"a person linked customer {customer_id} to account {m3ter_id}"
    return replace(made, reason=reason, state={"customer_id": customer_id, "points_at": m3ter_id})
