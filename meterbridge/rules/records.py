"""The values that rules take and give: frozen, plain, aware UTC, exact money.

Instants are aware UTC datetimes; amounts in minor units are Chargebee's integers (whole units for zero-decimal
currencies, else hundredths); amounts in major units are :class:`~decimal.Decimal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from meterbridge.rules import bill_records, decisions
from meterbridge.rules.similar import SimilarAccount

Action = decisions.Action
Decision = decisions.Decision
Intent = decisions.Intent
Key = decisions.Key
Kind = decisions.Kind
OutOfScope = decisions.OutOfScope
Proposal = decisions.Proposal
Proposed = decisions.Proposed
Quarantined = decisions.Quarantined
Ref = decisions.Ref
Target = decisions.Target
Unchanged = decisions.Unchanged
Waiting = decisions.Waiting

Bill = bill_records.Bill
BillCase = bill_records.BillCase
BillLine = bill_records.BillLine
ChargeRule = bill_records.ChargeRule
InFlight = bill_records.InFlight
Invoice = bill_records.Invoice
InvoiceLine = bill_records.InvoiceLine
InvoiceNote = bill_records.InvoiceNote
PlacedPlan = bill_records.PlacedPlan
StandingLine = bill_records.StandingLine
SubscriptionFacts = bill_records.SubscriptionFacts

# --- Chargebee → m3ter -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """Parts as Chargebee has them; m3ter's length limits are applied by the rule."""

    line1: str | None = None
    line2: str | None = None
    line3: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    """A Chargebee customer. ``name`` is the company, else first and last name, else empty."""

    id: str
    name: str
    email: str | None
    address: Address
    currency: str | None
    invoice_owner_id: str | None
    deleted: bool
    resource_version: int


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """An item of a subscription; it has no id of its own. ``terms`` is a hash of quantity, unit price and tiers."""

    item_price_id: str
    item_type: str
    quantity: str | None
    unit_price: int | None
    terms: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Chargebee subscription as of ``resource_version``; instants aware UTC."""

    id: str
    customer_id: str
    status: str
    currency: str
    items: tuple[SubscriptionItem, ...]
    billing_period: int | None
    billing_period_unit: str | None
    created_at: datetime | None
    start_date: datetime | None
    trial_end: datetime | None
    started_at: datetime | None
    activated_at: datetime | None
    current_term_start: datetime | None
    current_term_end: datetime | None
    next_billing_at: datetime | None
    cancelled_at: datetime | None
    pause_date: datetime | None
    resume_date: datetime | None
    updated_at: datetime | None
    deleted: bool
    resource_version: int


@dataclass(frozen=True, slots=True)
class PlanTarget:
    """The plan that the catalog maps an item price to, looked up in m3ter; ``currency`` is the plan's pricing currency.

    ``replace_on``: in place of the setting, where the catalog says so.
    """

    item_price_id: str
    plan_code: str
    plan_id: str | None
    product_id: str | None
    currency: str | None
    replace_on: str | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """Half-open [start, end); ``end`` None means open."""

    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account the ledger knows, with its own ``code``; ``parent`` is the customer under whose account we put it."""

    customer_id: str
    account_id: str
    fingerprint: str
    currency: str | None
    parent: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class FoundAccount:
    """An account read from m3ter before anything is created, by its code (equal but for case) or its mapping.

    ``own`` is its code without the site; empty where that may be another site's, None where codes name no site.
    """

    id: str
    code: str
    name: str
    currency: str | None
    mapped_customer_ids: tuple[str, ...]
    own: str | None = None

    @property
    def bare(self) -> str:
        """The customer's id as far as the code tells."""
        return self.code if self.own is None else self.own


@dataclass(frozen=True, slots=True)
class KnownEpoch:
    """The billing epoch of an account plan: as it ``stands`` in m3ter where that was ``seen``, and as we ``left`` it.

    None stands for the account's or organisation's own; none was left by versions that did not note it. ``asked`` is
    the day that was asked for while m3ter kept another. ``by_hand``: the account plan was not made by us.
    """

    stands: date | None = None
    left: date | None = None
    asked: date | None = None
    seen: bool = False
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class KnownPlan:
    """An account plan the ledger knows. ``period`` counts from 1 within (subscription, item price).

    ``items`` are the item prices that the subscription had when these terms were written: one of them that has none
    failed then, it was not added since. ``paused``: a pause ended it, a cancellation later on is no later end.
    ``due`` is when it should have ended, by version ``due_by``, where that could not be done.
    ``unwritten``: decided about an earlier version in the same run, not at m3ter yet: nothing was metered under it.
    """

    subscription_id: str
    item_price_id: str
    period: int
    account_plan_id: str
    account_id: str
    customer_id: str
    plan_id: str
    product_id: str
    start: datetime
    end: datetime | None
    terms: str
    items: tuple[str, ...] = ()
    paused: bool = False
    due: datetime | None = None
    due_by: int | None = None
    epoch: KnownEpoch = KnownEpoch()
    unwritten: bool = False


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """An account plan read from m3ter; ``external_ids`` are those of its Chargebee/Subscription mappings."""

    id: str
    account_id: str
    plan_id: str
    product_id: str
    code: str | None
    start: datetime
    end: datetime | None
    external_ids: tuple[str, ...]
    bill_epoch: date | None = None


@dataclass(frozen=True, slots=True)
class CustomerCase:
    """All a rule needs to decide one customer: desired, known, found.

    ``subscriptions`` are those read in this run (changed ones, or all in a full read); ``known_plans`` are all of the
    customer's and of these subscriptions', changed or not, ended ones included. ``changed_at`` gives a subscription's
    change instant from the events, where one is known. ``known_mappings`` are the external_mapping keys that the ledger
    knows; ``known_children`` the accounts under the customer's that hold single subscriptions (customer_id is their
    key); ``similar`` the accounts of nobody that look like the customer's; ``prefix`` what stands before new codes.
    ``due_starts`` gives, by (subscription, item price), when an account plan that is set aside should have started.
    """

    customer: Customer
    subscriptions: tuple[Subscription, ...]
    targets: Mapping[str, PlanTarget]
    known_account: KnownAccount | None
    known_plans: tuple[KnownPlan, ...]
    found_accounts: tuple[FoundAccount, ...]
    found_plans: tuple[FoundPlan, ...]
    changed_at: Mapping[str, datetime]
    known_mappings: frozenset[Key] = frozenset()
    known_children: tuple[KnownAccount, ...] = ()
    similar: tuple[SimilarAccount, ...] = ()
    prefix: str = ""
    due_starts: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
