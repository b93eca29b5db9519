"""Chargebee customer → m3ter account: create, adopt, keep in step, or say why not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from meterbridge.rules.intervals import ENDED, status_of
from meterbridge.rules.keys import coded, fingerprint
from meterbridge.rules.records import (
    Address,
    Customer,
    CustomerCase,
    Decision,
    FoundAccount,
    Intent,
    Key,
    OutOfScope,
    Quarantined,
    Ref,
    Subscription,
    Unchanged,
)
from meterbridge.rules.similar import (
    OnSimilarAccount,
    SimilarAccount,
    is_skeleton,
    the_one,
    twin_words,
    without_children,
)

Hierarchy = Literal["invoice_owner", "all_with_child_billing", "off"]

NAME_LENGTH = 200
ADDRESS_LENGTHS = {
    "addressLine1": 50,
    "addressLine2": 50,
    "addressLine3": 50,
    "locality": 100,
    "region": 50,
    "postCode": 20,
    "country": 100,
}
"""m3ter's longest texts; it names no limit for the third line, so the others' holds."""


@dataclass(frozen=True, slots=True)
class AccountPolicy:
    """The settings that decide which customers get an account, and what is in it."""

    placeholder_email_domain: str
    hierarchy: Hierarchy
    all_customers: bool
    accounts_only: frozenset[str]
    accounts_except: frozenset[str]
    on_similar_account: OnSimilarAccount = "quarantine"


class Scope(Protocol):
    """The settings that name customers."""

    @property
    def accounts_only(self) -> frozenset[str]:
        """Only these; none named means all."""

    @property
    def accounts_except(self) -> frozenset[str]:
        """Never these."""


def excluded(customer_id: str, policy: Scope) -> str | None:
    """Why the settings leave a customer out, or None."""
    if policy.accounts_only and customer_id not in policy.accounts_only:
        return f"customer {customer_id} is not among accounts_only"
    if customer_id in policy.accounts_except:
        return f"customer {customer_id} is among accounts_except"
    return None


def decide_account(case: CustomerCase, policy: AccountPolicy, *, in_scope: bool) -> Decision:
    """Decide a customer's account.

    Args:
        case: Everything known of the customer.
        policy: The settings.
        in_scope: Whether a subscription item of the customer is in the catalog.
    """
    customer = case.customer
    key = (customer.id,)
    reason = excluded(customer.id, policy)
    if reason is not None:
        return OutOfScope("account", key, reason)
    if customer.deleted:
        if case.known_account is not None:
            return Unchanged("account", key)
        return OutOfScope("account", key, f"customer {customer.id} is deleted")
    if case.known_account is None and not (in_scope or policy.all_customers):
        return OutOfScope("account", key, f"customer {customer.id} has no subscription item in the catalog")
    if case.known_account is not None:
        wanted, warnings = _wanted(case, policy)
        return _kept(case, case.known_account.account_id, wanted, warnings)
    clash, found = _adoptable(case)
    if clash is not None:
        return Quarantined("account", key, "MB-ACCOUNT-CLASH", clash, source_version=customer.resource_version)
    similar = _unlinked(case, policy, found)
    if similar:
        return _similar(case, policy, similar, found)
    wanted, warnings = _wanted(case, policy)
    if found is None:
        return account_intent(
            key, "create", wanted, f"customer {customer.id} has no account yet", customer=customer, warnings=warnings
        )
    why = "carries the code of" if found.bare == customer.id else "is mapped to"
    reason = f"account {found.id} {why} customer {customer.id} already"
    return account_intent(key, "adopt", {"id": found.id, **wanted}, reason, customer=customer, warnings=warnings)


def _unlinked(case: CustomerCase, policy: AccountPolicy, own: FoundAccount | None) -> list[SimilarAccount]:
    """Accounts of nobody that look like a customer's who has none, or only a skeleton that usage made."""
    settled = own is not None and (own.mapped_customer_ids or not is_skeleton(own.code, own.name))
    return [] if settled or policy.on_similar_account == "create" else without_children(case.similar)


def _similar(
    case: CustomerCase, policy: AccountPolicy, found: list[SimilarAccount], skeleton: FoundAccount | None
) -> Decision:
    """Set aside a customer whom accounts of nobody look like; by setting adopt the one that can only be its own."""
    customer, key = case.customer, (case.customer.id,)
    currency = account_currency(case)
    only = the_one(found, currency) if skeleton is None else None
    if only is None or policy.on_similar_account != "adopt":
        words = twin_words(customer.id, found, currency, None if skeleton is None else skeleton.id)
        return Quarantined("account", key, "MB-ACCOUNT-TWIN", words, source_version=customer.resource_version)
    wanted, warnings = _wanted(case, policy)
    reason = f"account {only.id} has the same {' and '.join(only.evidence)} as customer {customer.id}, and no other has"
    payload = {"id": only.id, **wanted, "code": only.code}
    return account_intent(key, "adopt", payload, reason, customer=customer, warnings=warnings)


def _kept(case: CustomerCase, account_id: str, wanted: Mapping[str, Any], warnings: tuple[str, ...]) -> Decision:
    customer, known = case.customer, case.known_account
    if known is not None and known.fingerprint == fingerprint(wanted):
        return Unchanged("account", (customer.id,))
    reason = f"customer {customer.id} differs from what account {account_id} was given last"
    # A parent that somebody else gave it stays.
    orphaned = known is not None and known.parent is not None and "parentAccountId" not in wanted
    payload = {"id": account_id, **({"parentAccountId": None} if orphaned else {}), **wanted}
    return account_intent((customer.id,), "update", payload, reason, customer=customer, warnings=warnings)


def account_intent(
    key: Key,
    action: Literal["create", "update", "adopt"],
    payload: Mapping[str, Any],
    reason: str,
    *,
    customer: Customer,
    warnings: tuple[str, ...],
) -> Intent:
    """One write to an account; its fingerprint leaves the account's id out."""
    wanted = {name: value for name, value in payload.items() if name != "id" and value is not None}
    parent = wanted.get("parentAccountId")
    return Intent(
        kind="account",
        key=key,
        action=action,
        target="m3ter",
        payload=payload,
        fingerprint=fingerprint(wanted),
        reason=reason,
        scope=f"account:{customer.id}",
        depends_on=(parent,) if isinstance(parent, Ref) else (),
        state={
            "code": wanted["code"],
            "currency": wanted.get("currency"),
            "customer_id": customer.id,
            "parent": parent.key[0] if isinstance(parent, Ref) else None,
        },
        source_version=customer.resource_version,
        warnings=warnings,
    )


def _adoptable(case: CustomerCase) -> tuple[str | None, FoundAccount | None]:
    """What speaks against going on, and the account to adopt; both None where none was found.

    A mapping says whose an account is, whatever its code; without one its code has to be the customer's id.
    """
    customer_id = case.customer.id
    ours = [found for found in case.found_accounts if customer_id in found.mapped_customer_ids]
    alike = [found for found in case.found_accounts if found.bare.casefold() == customer_id.casefold()]
    alike += [found for found in ours if found not in alike]
    if not alike:
        return None, None
    exact = [found for found in alike if found.bare == customer_id]
    own = ours + [found for found in exact if not found.mapped_customer_ids]
    if len(own) > 1 or not (own or exact):
        named = ", ".join(f"{found.id} (code {found.code!r})" for found in alike)
        why = "is one of several that could be the customer's" if own else "differs in case"
        return f"customer {customer_id}: account {named} {why}", None
    (found,) = own or exact
    strangers = sorted(set(found.mapped_customer_ids) - {customer_id})
    if strangers:
        return f"customer {customer_id}: account {found.id} is mapped to customer {', '.join(strangers)}", None
    return None, found


def account_code(case: CustomerCase) -> str:
    """The code of the customer's account: its own where it was there before us, else the customer's id."""
    if case.known_account is not None:
        return case.known_account.code or coded(case.prefix, case.customer.id)
    _, found = _adoptable(case)
    return coded(case.prefix, case.customer.id) if found is None else found.code


def account_currency(case: CustomerCase) -> str | None:
    """The currency of the customer's account: the one it has, else its oldest living mapped subscription's.

    ISO code; the customer's preferred one where no subscription says, None where nothing does.
    """
    if case.known_account is not None and case.known_account.currency:
        return case.known_account.currency
    _, found = _adoptable(case)
    if case.known_account is None and found is not None and found.currency:
        return found.currency
    mapped = sorted(mapped_subscriptions(case), key=age)
    living = [subscription for subscription in mapped if status_of(subscription) not in ENDED]
    for subscription in living + mapped:
        return subscription.currency
    return case.customer.currency


def mapped_subscriptions(case: CustomerCase) -> Iterator[Subscription]:
    """The subscriptions of this run that have an item in the catalog."""
    for subscription in case.subscriptions:
        if any(item.item_price_id in case.targets for item in subscription.items):
            yield subscription


def age(subscription: Subscription) -> tuple[float, str]:
    """Orders subscriptions: the older first, by id where creation does not tell."""
    created = subscription.created_at
    return (created.timestamp() if created else float("inf"), subscription.id)


def _wanted(case: CustomerCase, policy: AccountPolicy) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The account's m3ter fields and what had to be said about them."""
    customer = case.customer
    wanted, warnings = fields_of(customer, policy)
    currency = account_currency(case)
    if currency:
        wanted["currency"] = currency
    else:
        warnings = (*warnings, "no currency is known: the organisation's will rule the account's bills")
    owner = customer.invoice_owner_id
    if policy.hierarchy != "off" and owner and owner != customer.id:
        wanted["parentAccountId"] = Ref("account", (owner,))
    wanted["code"] = account_code(case)
    return wanted, warnings


def wanted_fields(case: CustomerCase, policy: AccountPolicy) -> Mapping[str, Any]:
    """What the customer's account shall hold."""
    return _wanted(case, policy)[0]


def fields_of(customer: Customer, policy: AccountPolicy) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Code, name, e-mail and address in m3ter's lengths, and a warning for each that is not as Chargebee has it."""
    warnings: list[str] = []
    name = " ".join(customer.name.split())
    if not name:
        name = customer.id
        warnings.append("no name at Chargebee: the customer id stands in")
    elif len(name) > NAME_LENGTH:
        name = name[:NAME_LENGTH].rstrip()
        warnings.append(f"name cut to {NAME_LENGTH} characters")
    email = customer.email
    if not email:
        email = placeholder_email(customer.id, policy.placeholder_email_domain)
        warnings.append(f"no e-mail at Chargebee: placeholder at {policy.placeholder_email_domain}")
    wanted: dict[str, Any] = {"code": customer.id, "name": name, "emailAddress": email}
    address = _address(customer.address, warnings)
    if address:
        wanted["address"] = address
    return wanted, tuple(warnings)


def placeholder_email(customer_id: str, domain: str) -> str:
    """A stable address for a customer without one; the id itself may not fit an address, so its hash does.

    >>> placeholder_email("acme", "invalid.example")
    'customer-822b33ad87c148a0@invalid.example'
    """
    return f"customer-{hashlib.sha256(customer_id.encode()).hexdigest()[:16]}@{domain}"


def _address(address: Address, warnings: list[str]) -> dict[str, str]:
    parts = {
        "addressLine1": address.line1,
        "addressLine2": address.line2,
        "addressLine3": address.line3,
        "locality": address.city,
        "region": address.state,
        "postCode": address.zip,
        "country": address.country,
    }
    fitting = {}
    for name, part in parts.items():
        text = (part or "").strip()
        longest = ADDRESS_LENGTHS[name]
        if len(text) > longest:
            text = text[:longest].rstrip()
            warnings.append(f"{name} cut to {longest} characters")
        if text:
            fitting[name] = text
    return fitting


# --- accounts under the customer's, one subscription each ------------------------------


def child_key(customer_id: str, subscription_id: str) -> Key:
    """The natural key of the account that holds one subscription alone."""
    return (f"{customer_id}~{subscription_id}",)


def subscription_of_child(customer_id: str, name: str) -> str:
    """The subscription that a customer's account of this name holds alone."""
    return name.removeprefix(f"{customer_id}~")


def child_code(key: Key, prefix: str = "") -> str:
    """Its m3ter code: the key, or its head and 12 hex digits of its hash where m3ter's 80 characters do not hold it."""
    return coded(prefix, key[0])


def decide_child_account(
    case: CustomerCase, subscription_id: str, currency: str | None, policy: AccountPolicy
) -> Decision:
    """Decide the account under the customer's that holds one subscription, in that one's currency."""
    key = child_key(case.customer.id, subscription_id)
    wanted, warnings = fields_of(case.customer, policy)
    suffix = f" · {subscription_id}"
    wanted |= {
        "code": child_code(key, case.prefix),
        "name": wanted["name"][: NAME_LENGTH - len(suffix)] + suffix,
        "currency": currency,
        "parentAccountId": Ref("account", (case.customer.id,)),
    }
    known = next((child for child in case.known_children if child.customer_id == key[0]), None)
    standing = next((found for found in case.found_accounts if found.code == wanted["code"]), None)
    if known is not None:
        compared = fingerprint(wanted)
        if known.fingerprint == compared:
            return Unchanged("account", key)
        reason = f"customer {case.customer.id} differs from what account {known.account_id} was given last"
        return account_intent(
            key, "update", {"id": known.account_id, **wanted}, reason, customer=case.customer, warnings=warnings
        )
    if standing is not None:
        reason = f"account {standing.id} carries the code for subscription {subscription_id} already"
        return account_intent(
            key, "adopt", {"id": standing.id, **wanted}, reason, customer=case.customer, warnings=warnings
        )
    reason = f"subscription {subscription_id} cannot share the account of customer {case.customer.id}"
    return account_intent(key, "create", wanted, reason, customer=case.customer, warnings=warnings)
